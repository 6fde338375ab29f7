"""What Keras leaves to its backend: compiling, gradients, patches, devices.

Every module here has the same functions; the one of the running backend is taken, and Keras
imported, when one is first asked for. Nothing else in the library asks which backend it runs on.

    NAME                                        of the running backend, such as "tensorflow"
    compiled(function, model, strategy=None)    NumPy arrays in and out, compiled where it can be
    jit(function, model)                        the same, tensors in and out
    gradient(function, inputs)                  of the sum of the function's outputs
    argmax(values, axis)                        int32, by what other runtimes have too
    extract_patches(images, size, strides)      (B, H, W, C) to (B, h, w, k*k*C), no padding
    is_known(tensor)                            whether it has values; not while compiled
    keeping_variables(model)                    within which errors leave a model its variables
    known_value(tensor)                         NumPy array, or None while a function is compiled
    register_tree(cls)                          its instances may enter and leave compiled code
    require(condition, message, given)          fails in compiled code, where that can be
    accelerators()                              names of the GPUs and TPUs in use
    native_bfloat16()                           the same, and whether each multiplies bfloat16
    use_xla(strategy=None)                      whether Keras' steps are compiled by XLA
    use_full_precision()                        float32 products in float32
"""

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

_FUNCTIONS = (
    "accelerators",
    "argmax",
    "compiled",
    "extract_patches",
    "gradient",
    "is_known",
    "jit",
    "keeping_variables",
    "known_value",
    "native_bfloat16",
    "register_tree",
    "require",
    "use_full_precision",
    "use_xla",
)

if TYPE_CHECKING:
    from coda_keras.backend.tensorflow import accelerators as accelerators
    from coda_keras.backend.tensorflow import argmax as argmax
    from coda_keras.backend.tensorflow import compiled as compiled
    from coda_keras.backend.tensorflow import extract_patches as extract_patches
    from coda_keras.backend.tensorflow import gradient as gradient
    from coda_keras.backend.tensorflow import is_known as is_known
    from coda_keras.backend.tensorflow import jit as jit
    from coda_keras.backend.tensorflow import keeping_variables as keeping_variables
    from coda_keras.backend.tensorflow import known_value as known_value
    from coda_keras.backend.tensorflow import native_bfloat16 as native_bfloat16
    from coda_keras.backend.tensorflow import register_tree as register_tree
    from coda_keras.backend.tensorflow import require as require
    from coda_keras.backend.tensorflow import use_full_precision as use_full_precision
    from coda_keras.backend.tensorflow import use_xla as use_xla

    NAME: str
else:

    def __getattr__(name: str) -> Any:
        if name == "NAME":
            return _name()
        if name in _FUNCTIONS:
            return getattr(_module(), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _name() -> str:
    import keras

    return keras.backend.backend()


@cache
def _module() -> ModuleType:
    # Keras' other backends infer only, like NumPy.
    name = _name() if _name() in ("jax", "tensorflow", "torch") else "numpy"
    return import_module(f"coda_keras.backend.{name}")
