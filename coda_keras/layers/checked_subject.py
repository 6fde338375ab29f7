"""What `check_dynamic_linear` looks at: a layer or net in one dtype, what it computes, its rows."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras.layers.encoding import encode
from coda_keras.layers.offset import pull

# Largest difference, relative to the sum of the magnitudes of what is added up.
TOLERANCE = {"float32": 2e-5, "mixed_bfloat16": 0.03, "float64": 1e-11}
# So many rows of the matrix are looked at one by one.
ROWS = 16


@dataclass(eq=False)
class Subject:
    """A layer or net in one dtype, and the inputs that it is checked with.

    Attributes:
        layer: a built layer or model with `linearize`.
        inputs: `(B, ...)`, float64.
        dtype: name of the dtype policy.
    """

    layer: Any
    inputs: np.ndarray
    dtype: str

    @cached_property
    def is_net(self) -> bool:
        return isinstance(self.layer, keras.Model)

    @cached_property
    def seen(self) -> np.ndarray:
        """What the matrix is applied to: the inputs, of nets encoded."""
        return array(encode(self.tensor)) if self.is_net else array(self.tensor)

    @cached_property
    def tensor(self) -> Any:
        dtype = "float64" if self.dtype == "float64" else "float32"
        if self.dtype == "mixed_bfloat16" and not self.is_net:
            dtype = "bfloat16"
        return ops.convert_to_tensor(self.inputs.astype("float32"), dtype)

    @cached_property
    def linearized(self) -> tuple[Any, Any]:
        return self.layer.linearize(self.tensor)

    @cached_property
    def outputs(self) -> np.ndarray:
        return array(self.linearized[0])

    @cached_property
    def tolerance(self) -> float:
        return TOLERANCE[self.dtype]

    def pull(self, cotangent: np.ndarray, pullback: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """`W(x)^T g`, and `g . o` of every image."""
        outputs, own = self.linearized
        given = ops.cast(ops.convert_to_tensor(cotangent.astype("float32")), outputs.dtype)
        pulled, offset = pull(own if pullback is None else pullback, given)
        return array(pulled), np.broadcast_to(array(offset), len(cotangent))

    def random(self, seed: int) -> np.ndarray:
        """A cotangent, of numbers that every dtype has exactly."""
        shape = self.outputs.shape
        return np.random.default_rng(seed).integers(-8, 9, shape).astype("float64") / 4

    @cached_property
    def rows(self) -> list[tuple[tuple[int, ...], np.ndarray, np.ndarray]]:
        """Some outputs by their place, with their rows `(B, ...)` and offsets `(B,)`."""
        shape = self.outputs.shape[1:]
        places = np.random.default_rng(5).permutation(int(np.prod(shape)))[:ROWS]
        found = []
        for place in (np.unravel_index(index, shape) for index in places):
            one = np.zeros(self.outputs.shape)
            one[(slice(None), *place)] = 1
            found.append((tuple(map(int, place)), *self.pull(one)))
        return found


def array(values: Any) -> np.ndarray:
    """Values as float64; NumPy has no bfloat16."""
    values = ops.convert_to_tensor(values)
    if keras.backend.standardize_dtype(values.dtype) == "bfloat16":
        values = ops.cast(values, "float32")
    return np.asarray(ops.convert_to_numpy(values), "float64")
