"""The Dynamic Alignment Unit as a convolutional layer."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.layers import factored, patches
from coda_keras.layers import rescale as rescaling
from coda_keras.layers.dynamic_linear import DynamicLinear, Pullback, ReceptiveField
from coda_keras.layers.windows import MAX_STRIDES, output_size, zero_pad
from coda_keras.utils.arguments import one_of, positive_int
from coda_keras.utils.registration import PACKAGE

Initializer = keras.initializers.Initializer | str | dict[str, Any] | None
Regularizer = keras.regularizers.Regularizer | str | dict[str, Any] | None

IMPLEMENTATIONS = {"factored": factored.respond, "patches": patches.respond}


@keras.saving.register_keras_serializable(PACKAGE)
class DAUConv2D(DynamicLinear):
    """Convolutional Dynamic Alignment Units (Section 3.1, eq. 1-3 and Algorithm 1).

    For every patch p (length `d = kernel_size^2 * C`) unit j computes

        w_j(p) = g(A_j B p + b_j),    o_j = w_j(p) . p,    so |o_j| <= ||p||

    where B is shared by all units of the layer and g bounds the norm by 1. Inputs are padded by
    `(kernel_size - 1) // 2` zeros on each side.

    Args:
        filters: int, number of DAUs.
        rank: int, rank r of the matrices `A_j B`.
        kernel_size: odd int.
        strides: int, at most 512.
        rescale: `"squash"`: `g(u) = u ||u|| / (1 + ||u||^2)`, or `"l2"`: `g(u) = u / ||u||`.
        implementation: `"factored"`, which is fast and never holds w in memory, or `"patches"`,
            the paper's Algorithm 1 as printed. Both compute the same numbers up to rounding.
        use_bias: bool, whether the units have a bias b_j, which is a part of the weights w_j and
            adds nothing to the outputs by itself.
        projection_initializer, kernel_initializer, bias_initializer: initialisers of B, A and b.
            None takes the authors' initial values: uniform in `±1/sqrt(d)` for B and
            `±1/sqrt(r)` for A and b.
        projection_regularizer, kernel_regularizer, bias_regularizer: regularisers of B, A and b.
        **kwargs: `name`, `dtype`, `trainable`, ... of `keras.layers.Layer`.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, h, w, filters)` with `h = (H + 2 ((k - 1) // 2) - k) // strides + 1`.

    Raises:
        ValueError: if an argument is out of range or the input is not of rank 4.

    Example:

    >>> layer = DAUConv2D(filters=8, rank=4, kernel_size=3)
    >>> outputs, pullback = layer.linearize(np.ones((2, 6, 6, 3), "float32"))
    >>> ops.shape(outputs), ops.shape(pullback(ops.ones_like(outputs)))
    ((2, 6, 6, 8), (2, 6, 6, 3))
    """

    def __init__(
        self,
        filters: int,
        rank: int,
        kernel_size: int,
        strides: int = 1,
        rescale: str = "squash",
        implementation: str = "factored",
        use_bias: bool = True,
        projection_initializer: Initializer = None,
        kernel_initializer: Initializer = None,
        bias_initializer: Initializer = None,
        projection_regularizer: Regularizer = None,
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = positive_int("filters", filters)
        self.rank = positive_int("rank", rank)
        self.kernel_size = positive_int("kernel_size", kernel_size)
        self.strides = positive_int("strides", strides, MAX_STRIDES)
        if self.kernel_size % 2 == 0:
            raise ValueError(
                f"`kernel_size` must be odd, so that the same number of zeros goes on each side. "
                f"Received: kernel_size={kernel_size}."
            )
        self.rescale = rescale
        self.implementation = one_of("implementation", implementation, sorted(IMPLEMENTATIONS))
        self.use_bias = use_bias
        self.projection_initializer = keras.initializers.get(projection_initializer)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.projection_regularizer = keras.regularizers.get(projection_regularizer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self._alpha = rescaling.get(rescale)

    def build(self, input_shape: Sequence[int | None]) -> None:
        if len(input_shape) != 4 or input_shape[-1] is None:
            raise ValueError(
                "`DAUConv2D` expects inputs (batch, height, width, channels) with a known number "
                f"of channels. Received shape {tuple(input_shape)}."
            )
        window = (self.kernel_size, self.kernel_size, input_shape[-1])
        by_depth = _uniform(math.prod(window))
        by_rank = _uniform(self.rank)

        def add(name, shape, default):
            # Never autocast: the norm is computed from the full-precision values.
            return self.add_weight(
                name=name,
                shape=shape,
                initializer=getattr(self, f"{name}_initializer") or default,
                regularizer=getattr(self, f"{name}_regularizer"),
                autocast=False,
            )

        self.projection = add("projection", (*window, self.rank), by_depth)
        self.kernel = add("kernel", (*window, self.filters, self.rank), by_rank)
        self.bias = add("bias", (*window, self.filters), by_rank) if self.use_bias else None
        self.built = True

    @property
    def receptive_field(self) -> ReceptiveField:
        return ReceptiveField(self.kernel_size, self.strides, -((self.kernel_size - 1) // 2))

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        response = self._respond(self.prepare(inputs))
        dtype = self.compute_dtype
        alpha = self._alpha(response.squared_norm)
        outputs = ops.cast(alpha * ops.cast(response.dot, alpha.dtype), dtype)

        def pullback(cotangent):
            scaled = alpha * ops.cast(cotangent, alpha.dtype)
            return response.transpose(ops.cast(scaled, dtype))

        return outputs, pullback

    def alignment(self, inputs: Tensor) -> Tensor:
        """Returns the cosine between w(p) and p for every position and unit.

        Training makes it large for units that matter: the alignment of Section 3.2.

        Args:
            inputs: `(B, H, W, C)`.

        Returns:
            `(B, h, w, filters)` in [-1, 1]; 0 where the patch or w is zero.
        """
        inputs = self.prepare(inputs)
        response = self._respond(inputs)
        exact = ops.cast(inputs, self._norm_dtype)
        energy = ops.sum(ops.square(exact), axis=-1, keepdims=True)
        energy = zero_pad(energy, self.kernel_size)
        ones = ops.ones((self.kernel_size, self.kernel_size, 1, 1), energy.dtype)
        energy = ops.conv(energy, ones, self.strides, "valid", "channels_last")
        dot = ops.cast(response.dot, self._norm_dtype)
        cosine = dot * rescaling.l2(response.squared_norm) * rescaling.l2(energy)
        return ops.clip(cosine, -1.0, 1.0)

    def dynamic_weights(self, inputs: Tensor) -> Tensor:
        """Returns the weights w(p) of every position and unit, to look at.

        They take `filters * d` floats for every position, whatever the `implementation`.

        Args:
            inputs: `(B, H, W, C)`.

        Returns:
            `(B, h, w, filters, k, k, C)`.
        """
        inputs = self.prepare(inputs)
        unfolded = patches.extract_patches(inputs, self.kernel_size, self.strides)
        projection, kernel = (ops.cast(v, inputs.dtype) for v in (self.projection, self.kernel))
        bias = None if self.bias is None else ops.cast(self.bias, inputs.dtype)
        vectors = patches.dynamic_vectors(unfolded, projection, kernel, bias)
        exact = ops.cast(vectors, self._norm_dtype)
        alpha = self._alpha(ops.sum(ops.square(exact), axis=-2, keepdims=True))
        by_unit = ops.swapaxes(alpha * exact, -1, -2)
        return ops.reshape(by_unit, (*ops.shape(by_unit)[:-1], *self.kernel.shape[:3]))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        sizes = (output_size(n, self.kernel_size, self.strides) for n in input_shape[1:3])
        return (input_shape[0], *sizes, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "rank": self.rank,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "rescale": self.rescale,
            "implementation": self.implementation,
            "use_bias": self.use_bias,
            "projection_initializer": keras.initializers.serialize(self.projection_initializer),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "projection_regularizer": keras.regularizers.serialize(self.projection_regularizer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }

    @property
    def _norm_dtype(self):
        return "float64" if self.compute_dtype == "float64" else "float32"

    def _respond(self, inputs):
        respond = IMPLEMENTATIONS[self.implementation]
        return respond(
            inputs, self.projection, self.kernel, self.bias, self.strides, self._norm_dtype
        )


def _uniform(fan_in):
    limit = 1.0 / math.sqrt(fan_in)
    return keras.initializers.RandomUniform(-limit, limit)
