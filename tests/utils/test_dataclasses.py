"""Frozen dataclasses that hold arrays: the generated `==` would ask for the truth of an array."""

import importlib
import inspect
import re

import numpy as np
import pytest
from conftest import library_modules

from coda_keras.evaluation import Grids, Localisation, PixelRemoval, SanityCheck
from coda_keras.explanation.channels import ChannelContributions

ARRAYS = re.compile(r"^    \w+: .*(ndarray|Array\b|ArrayLike|Tensor)", re.MULTILINE)
ARRAY = np.zeros((2, 4))


def dataclasses_of_arrays():
    for name in library_modules():
        for cls in vars(importlib.import_module(name)).values():
            if not inspect.isclass(cls) or cls.__module__ != name:
                continue
            parameters = getattr(cls, "__dataclass_params__", None)
            if parameters and parameters.frozen and ARRAYS.search(inspect.getsource(cls)):
                yield cls


def test_none_compares_its_arrays():
    classes = {f"{cls.__module__}.{cls.__name__}": cls for cls in dataclasses_of_arrays()}
    assert len(classes) > 5
    assert [name for name, cls in classes.items() if cls.__eq__ is not object.__eq__] == []


@pytest.mark.parametrize(
    "arguments",
    [
        (Grids, ARRAY, ARRAY, ARRAY, 2),
        (Localisation, ARRAY),
        (PixelRemoval, ARRAY, {"least": ARRAY}),
        (SanityCheck, (), ARRAY, {}, {}),
        (ChannelContributions, (), ARRAY, ARRAY, ARRAY, ARRAY),
    ],
)
def test_they_are_the_same_only_as_the_same_object(arguments):
    cls, *values = arguments
    first, second = cls(*values), cls(*values)
    assert first == first and first != second
    assert len({first, second}) == 2
