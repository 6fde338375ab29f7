"""What is said where an extra is not installed."""

import pytest

from coda_keras.utils import extras


def test_an_absent_extra_is_told_with_what_to_type(monkeypatch):
    monkeypatch.setitem(extras.EXTRAS, "serve", ("keras", "no_such_module"))
    assert extras.missing("serve") == ["no_such_module"]
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'coda-keras\[serve\]'") as error:
        extras.require("serve")
    assert error.value.name == "no_such_module"
    extras.require("serve", "keras")
    monkeypatch.setitem(extras.EXTRAS, "serve", ("keras",))
    extras.require("serve")


def test_modules_inside_a_package_are_of_its_extra():
    assert "`train`" in extras.remedy("tensorflow_datasets.core")
    assert "`interpret`" in extras.remedy("shap") and "`demo`" in extras.remedy("sklearn.datasets")
    assert extras.remedy("elsewhere.keras_cv") is None and extras.remedy(None) is None
