"""Convolutional Dynamic Alignment Networks for Keras 3.

    import coda_keras

    net = coda_keras.CoDANet.from_preset("s_coda_cifar10")
    explanation = net.explain(images)       # (B, 32, 32, 3) in [0, 1]
    explanation.contribution_map            # (B, 32, 32): what each pixel adds to the logit

The public names are those of `__init__.pyi`. A name is imported when it is first used, so that
`import coda_keras` imports neither Keras nor a backend. The classes that `.keras` files name are
registered in Keras as soon as a public name is used and Keras is imported.
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
    "models.airbench",
    "models.coda_net",
    "models.ensemble",
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
