"""Settings and the flags that are made of them."""

import pytest
from processes import run_in_new_python

from coda_keras import training

VALUES = {"epochs": 2, "batch_size": 4, "learning_rate": 0.1, "schedule": "steps", "halve_every": 3}


def test_a_recipe_takes_the_flags_that_it_has_values_for():
    parser = training.SettingsParser("", **VALUES)
    settings = parser.settings(["--epochs", "5", "--data", "there"])
    assert (settings.epochs, settings.batch_size, settings.data) == (5, 4, "there")
    for absent in ("--temperature", "--rank-scale", "--preset", "--randaugment"):
        with pytest.raises(SystemExit) as end:
            parser.parse_args([absent, "1"])
        assert end.value.code == 2


def test_a_value_without_a_flag_is_a_mistake_of_the_recipe():
    with pytest.raises(ValueError, match="no flag for temprature"):
        training.SettingsParser("", temprature=10.0)


def test_a_misspelt_setting_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"no flag for temprature\. Did you mean temperature\?"):
        training.Settings(temprature=10.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "`epochs`: expected a whole number from 1 to 1000000000, received '0'"),
        ({"temperature": -1.0}, "`temperature`: -1.0 is not a positive number"),
        ({"checkpoint_every": "soon"}, "`checkpoint_every`: soon is neither a number of steps"),
        ({"schedule": "cosines"}, "`schedule` as one of steps, cosine, trapezoid"),
        ({"cutout": 10**23}, "`cutout`: expected a whole number from 1 to 1000000000"),
        ({"seed": 1.5}, "`seed`: .*'1.5'"),
        ({"epochs": True}, "`epochs` as int. Received: True"),
        ({"epochs": None}, "`epochs` as int. Received: None"),
        ({"optimizer": None}, "`optimizer` as str. Received: None"),
        ({"data": False}, r"`data` as str \| None. Received: False"),
        ({"grow": 0}, "`grow` as bool. Received: 0"),
        ({"alternate_flip": "no"}, "`alternate_flip` as bool. Received: 'no'"),
    ],
)
def test_values_that_a_flag_would_not_take_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        training.Settings(**values)


def test_a_run_is_recorded_with_the_settings_of_its_recipe():
    settings = training.SettingsParser("", **VALUES, output="there").settings([])
    assert {"epochs", "output", "seed"} < settings.as_dict().keys()
    assert "temperature" not in settings.as_dict()
    assert "temperature" in training.Settings().as_dict()


def ask_for_help():
    import sys

    try:
        training.SettingsParser("", **VALUES).settings(["--help"])
    except SystemExit:
        assert "keras" not in sys.modules


def test_help_needs_no_keras():
    run_in_new_python(ask_for_help)
