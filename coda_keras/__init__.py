"""Convolutional Dynamic Alignment Networks for Keras 3.

Nothing is imported before it is used: the public names stand in `__init__.pyi`, which type checkers
read too. Keras finds in files the classes that are registered, which happens as soon as both are
there, Keras and a public name of this package.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import lazy_loader

from coda_keras.utils import moved_modules

__version__ = "0.3.0"

# All classes that Keras may meet in a file.
_REGISTERED = (
    "layers",
    "losses",
    "models.coda_net",
    "models.resnet",
    "training.annealing",
    "training.confusion",
    "training.optimizers",
    "training.schedules",
)

_resolve, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        reason = moved_modules.message(f"{__name__}.{name}")
        raise AttributeError(reason or f"module {__name__!r} has no attribute {name!r}")
    value = _resolve(name)
    # Of the rooms some need no Keras.
    if "keras" in sys.modules or not isinstance(value, ModuleType):
        _register()
    return value


def _register() -> None:
    for module in _REGISTERED:
        import_module(f"{__name__}.{module}")


moved_modules.install()
if "keras" in sys.modules:
    _register()
