"""The convolution of B-cos units."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.layers.bcos import Bcos
from coda_keras.layers.dau import Initializer, Regularizer
from coda_keras.layers.dynamic_linear import Pullback, ReceptiveField
from coda_keras.layers.windows import MAX_STRIDES, by_convolution, output_size, zero_pad
from coda_keras.utils.arguments import positive_int
from coda_keras.utils.registration import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class BcosConv2D(Bcos):
    """Convolution of B-cos units; the factor of every unit and position is held constant.

    With ||p|| = sqrt(sum p^2 + 1e-6) and cos = w . p / ||p||, the factor is |cos| for B = 2 and
    (|cos| + 1e-6)^(B - 1) for other B > 1. Inputs are padded by `(kernel_size - 1) // 2` zeros on
    each side.

    Args:
        filters: int, number of units.
        kernel_size: odd int.
        strides: int, at most 512.
        b: number B of at least 1; 1 is a convolution by weight vectors of norm 1.
        max_out: int, of how many weight vectors a unit takes the one with the largest product.
        kernel_initializer: initialiser of the weight vectors, of which only the direction counts.
            None takes the authors' initial values, uniform in `±1/sqrt(kernel_size^2 C)`.
        kernel_regularizer: regulariser of the weights before their norm is made 1.
        **kwargs: `name`, `dtype`, `trainable`, ... of `keras.layers.Layer`.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, h, w, filters)` with `h = (H + 2 ((k - 1) // 2) - k) // strides + 1`.

    Raises:
        ValueError: if an argument is out of range or the input is not of rank 4.

    Example:

    >>> layer = BcosConv2D(filters=8, kernel_size=3, strides=2)
    >>> ops.shape(layer(np.ones((2, 6, 6, 3), "float32")))
    (2, 3, 3, 8)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        b: float = 2.0,
        max_out: int = 1,
        kernel_initializer: Initializer = None,
        kernel_regularizer: Regularizer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(b, max_out, kernel_initializer, kernel_regularizer, **kwargs)
        self.filters = positive_int("filters", filters)
        self.kernel_size = positive_int("kernel_size", kernel_size)
        self.strides = positive_int("strides", strides, MAX_STRIDES)
        if self.kernel_size % 2 == 0:
            raise ValueError(
                f"`kernel_size` must be odd, so that the same number of zeros goes on each side. "
                f"Received: kernel_size={kernel_size}."
            )
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Sequence[int | None]) -> None:
        window = (self.kernel_size, self.kernel_size, input_shape[-1])
        self._add_kernel((*window, self.filters * self.max_out))
        self.built = True

    @property
    def receptive_field(self) -> ReceptiveField:
        return ReceptiveField(self.kernel_size, self.strides, -((self.kernel_size - 1) // 2))

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        inputs, kernel = self.prepare(inputs), self._unit_kernel()
        windows = by_convolution(inputs, self.kernel_size, self.strides)
        outputs, spread = self._respond(windows.convolve(kernel), inputs)
        return outputs, lambda cotangent: windows.fold(spread(cotangent), kernel)

    def dynamic_weights(self, inputs: Tensor) -> Tensor:
        """Returns the weights of every position and unit, to look at.

        Args:
            inputs: `(B, H, W, C)`.

        Returns:
            `(B, h, w, filters, k, k, C)`.
        """
        inputs, kernel = self.prepare(inputs), self._unit_kernel()
        windows = by_convolution(inputs, self.kernel_size, self.strides)
        outputs, spread = self._respond(windows.convolve(kernel), inputs)
        by_unit = ops.einsum("bhwn,ijcn->bhwnijc", spread(ops.ones_like(outputs)), kernel)
        shape = ops.shape(by_unit)
        by_unit = ops.reshape(by_unit, (*shape[:3], self.filters, self.max_out, *shape[4:]))
        return ops.sum(by_unit, axis=4)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        sizes = (output_size(n, self.kernel_size, self.strides) for n in input_shape[1:3])
        return (input_shape[0], *sizes, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
        }

    def _norms(self, exact):
        squares = zero_pad(ops.sum(ops.square(exact), axis=-1, keepdims=True), self.kernel_size)
        size = self.kernel_size
        means = ops.average_pool(squares, size, self.strides, "valid", "channels_last")
        return ops.sqrt(means * size**2 + 1e-6)
