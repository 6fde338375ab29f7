"""What Keras leaves to its backend: compiling, gradients, patches, devices.

Every module here has the same functions; the one of the running backend is taken. Nothing else in
the library asks which backend it runs on.

    compiled(function, model, strategy=None)    NumPy arrays in and out, compiled where it can be
    gradient(function, inputs)                  of the sum of the function's outputs
    extract_patches(images, size, strides)      (B, H, W, C) to (B, h, w, k*k*C), no padding
    is_known(tensor)                            whether it has values; not while compiled
    known_value(tensor)                         NumPy array, or None while a function is compiled
    require(condition, message, given)          fails in compiled code, where that can be
    accelerators()                              names of the GPUs and TPUs in use
    use_full_precision()                        float32 products in float32
"""

from importlib import import_module

import keras

NAME = keras.backend.backend()

# Keras' other backends infer only, like NumPy.
_backend = import_module(
    f"coda_keras.backend.{NAME if NAME in ('jax', 'tensorflow', 'torch') else 'numpy'}"
)

accelerators = _backend.accelerators
compiled = _backend.compiled
extract_patches = _backend.extract_patches
gradient = _backend.gradient
is_known = _backend.is_known
known_value = _backend.known_value
require = _backend.require
use_full_precision = _backend.use_full_precision
