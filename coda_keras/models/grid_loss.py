"""The localisation metric as a loss: contributions belong into the cell of their class (eq. 11)."""

from collections.abc import Callable

from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.layers.dynamic_linear import Pullback
from coda_keras.layers.encoding import encode
from coda_keras.models.loss_term import LossTerm, mean_absolute
from coda_keras.utils.labels import one_hot_labels

SIDE = 2  # images a side of a grid
# Of the images of a batch, those that are put into grids.
SHARE = 1 / 2


class GridLoss(LossTerm):
    """`λ (1 - positive contributions in the right cells / all positive contributions)`, a mean.

    The localisation metric (eq. 11) is differentiable, since the pullback consists of forward
    operations. The first half of a batch, rounded up to whole grids, is put together to grids of
    2×2 images. In grid i the class of cell `i mod 4` is explained; cells of images of the same
    class are right too. The idea is that of the energy loss of Rao et al. (ICCV 2023), which has
    boxes in place of cells.

    A `CoDANet` with a `grid_loss` has one. A net trained with it has learned the metric: its
    localisation must not stand beside that of nets that have not.

    Args:
        strength: positive number λ.

    Raises:
        ValueError: if `strength` is not positive.
    """

    argument, needed = "grid_loss", "grids"

    def keep_grids(
        self, linearize: Callable[[Tensor], tuple[Tensor, Pullback]], images: Tensor
    ) -> None:
        """Linearises the grids of a batch, and keeps them until its loss is computed.

        Args:
            linearize: that of a net.
            images: `(B, H, W, C)`, the batch.
        """
        encoded = encode(compose(ops.take(images, cells_of(images), axis=0)))
        self.keep((encoded, *linearize(encoded)))

    def loss(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Returns the loss of the grids that were kept, a scalar.

        Args:
            labels: of the batch, as `OneVsAllCrossentropy` takes them.
            logits: `(B, classes)`, outputs of the batch.

        Raises:
            ValueError: if no grids were kept.
        """
        encoded, outputs, pullback = self.taken()
        classes = ops.argmax(one_hot_labels(labels, logits), axis=-1)
        classes = ops.reshape(ops.take(classes, cells_of(logits), axis=0), (-1, SIDE**2))
        explained = ops.arange(ops.shape(classes)[0])[:, None] % SIDE**2
        explained = ops.take_along_axis(classes, explained, axis=1)
        cotangent = ops.one_hot(explained[:, 0], outputs.shape[-1], dtype=outputs.dtype)
        weights = ops.cast(pullback(cotangent), logits.dtype)
        maps = ops.sum(weights * ops.cast(encoded, logits.dtype), axis=-1)
        fractions = positive_fractions(maps, classes == explained)
        return self.strength * mean_absolute(1 - fractions)


def cells_of(batch: Tensor) -> Tensor:
    """Which images of a batch stand in the cells of its grids, grid by grid; at least 4 of them."""
    size = ops.shape(batch)[0]
    group = round(SIDE**2 / SHARE)
    return ops.arange((size + group - 1) // group * SIDE**2) % size


def compose(images: Tensor) -> Tensor:
    """Puts images `(4 G, H, W, C)` together to grids `(G, 2 H, 2 W, C)`, row by row.

    >>> ops.convert_to_numpy(compose(ops.reshape(ops.arange(4), (4, 1, 1, 1))))[0, :, :, 0]
    array([[0, 1],
           [2, 3]], dtype=int32)
    """
    height, width, channels = ops.shape(images)[1:]
    cells = ops.reshape(images, (-1, SIDE, SIDE, height, width, channels))
    cells = ops.transpose(cells, (0, 1, 3, 2, 4, 5))
    return ops.reshape(cells, (-1, SIDE * height, SIDE * width, channels))


def positive_fractions(maps: Tensor, right: Tensor) -> Tensor:
    """The share of a map's positive values that lies in the right cells; 0 without any.

    Args:
        maps: `(G, 2 H, 2 W)`.
        right: bool `(G, 4)`.

    Returns:
        `(G, 1)` in [0, 1].
    """
    height, width = (size // SIDE for size in ops.shape(maps)[1:])
    cells = ops.reshape(ops.relu(maps), (-1, SIDE, height, SIDE, width))
    cells = ops.reshape(ops.sum(cells, axis=(2, 4)), (-1, SIDE**2))
    inside = ops.sum(ops.where(right, cells, 0.0), axis=1, keepdims=True)
    total = ops.sum(cells, axis=1, keepdims=True)
    return inside / ops.where(total > 0, total, 1.0)
