"""Methods and metrics made by name say which arguments they take."""

import pytest

from coda_keras import attribution, evaluation
from coda_keras.utils import arguments


@pytest.mark.parametrize("name", [*attribution.METHODS, "occlusion_5"])
def test_unknown_arguments_of_methods_are_told_with_those_there_are(name):
    with pytest.raises(ValueError, match=f"'{name}' has no argument mask. Expected .*batch_size"):
        attribution.get(name, mask=3)


@pytest.mark.parametrize("name", evaluation.METRICS)
def test_unknown_arguments_of_metrics_are_told_with_those_there_are(name):
    with pytest.raises(ValueError, match=f"'{name}' has no argument mask. Expected .*seed"):
        evaluation.get(name, mask=3)


def test_every_argument_of_a_method_is_known():
    assert set(arguments.names(attribution.RISE)) == {
        *("num_masks", "grid_size", "keep_probability", "activation", "seed"),
        *("fill", "batch_size", "progress"),
    }
    assert attribution.get("rise", num_masks=3, fill="black", progress=False).num_masks == 3
