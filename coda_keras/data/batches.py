"""Batches of images to train and to test on: one contract, kept by NumPy and by TensorFlow.

Which images a batch holds, and how they are augmented, are functions of `(seed, epoch, image)`
alone: a run resumed at a step sees the very batches that an uninterrupted one sees. On TensorFlow
they are not the functions of other backends, since it draws other random numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from coda_keras import backend
from coda_keras.data.images import Images, steps_per_epoch

# From an image, uint8 (H, W, 3), and what its random numbers are drawn from, to an image.
Augment = Callable[[Any, Any], Any]

# What views are drawn from, as a stage beyond all of the augmentation.
VIEW = 1000


def framework() -> ModuleType:
    """The module that makes batches for the running backend: `tf_batches` or `numpy_batches`.

    Both have `train_batches`, which takes a `TrainBatches`, `test_batches` for all images in order,
    and `reporting_broken_images` for loops over them.
    """
    if backend.NAME == "tensorflow":
        from coda_keras.data import tf_batches

        return tf_batches
    from coda_keras.data import numpy_batches

    return numpy_batches


class Draws(Protocol):
    """The random numbers of an epoch.

    Attributes:
        arrays: module with NumPy's `where`, `reshape` and `pad` for the arrays of the framework.
    """

    arrays: ModuleType

    def permutation(self) -> Any:
        """The order of the images, all indices once."""

    def first_flip(self, index: Any) -> Any:
        """0 or 1 by chance, for an image the same in all epochs."""

    def of(self, index: Any, stage: int) -> Any:
        """What a stage of the augmentation of an image draws from."""

    def view(self, index: Any, shifts: int) -> Any:
        """Three integers: 0 or 1, then two below `shifts`, all equally likely."""


def cropped(
    arrays: ModuleType,
    images: Any,
    corner: Sequence[Any],
    padding: int,
    size: Sequence[int] | None = None,
    mode: Any = "reflect",
) -> Any:
    """Cuts images that are padded on all sides.

    Args:
        arrays: module of the images: NumPy or TensorFlow.
        images: `(..., H, W, C)`.
        corner: row and column of the padded images where the cut begins, both `padding` for the
            images as they are.
        padding: int, pixels on each side.
        size: height and width to cut; None for those of the images.
        mode: `"reflect"` for their reflection about their outermost pixels, `"constant"` for zeros.

    Returns:
        `(..., height, width, C)`.
    """
    *before, height, width, channels = images.shape
    around = [*((0, 0) for _ in before), (padding, padding), (padding, padding), (0, 0)]
    (row, column), (height, width) = corner, size or (height, width)
    padded = arrays.pad(images, around, mode)
    cut = padded[..., row : row + height, column : column + width, :]
    # TensorFlow knows no shape of what begins at a tensor.
    return arrays.reshape(cut, (*before, height, width, channels))


@dataclass(frozen=True, eq=False)
class TrainBatches:
    """The batches of a training, for the epochs `start_epoch` to `epochs`, one after the other.

    Seed, epoch, image and stage of the augmentation are hashed, so that no two share random
    numbers. The incomplete last batch of an epoch is dropped, since replicas given unequal shares
    would train to other weights. Images are read and augmented by several threads, a few batches
    ahead; the batches are the same whether they are in memory or not.

    A framework's `train_batches` makes them: float32 images in [0, 1] and labels, `N // batch_size`
    batches an epoch.

    Args:
        images: uint8 `(N, H, W, 3)`, in memory or not.
        labels: int32 `(N,)`.
        batch_size: int, over all replicas.
        epochs, start_epoch, seed: int.
        augment: functions for one uint8 image, as `coda_keras.data.augmentation` makes them.
        sizes: for each epoch the `(height, width)` to which augmented images are scaled, by the
            mean over areas; None to leave them as they are.
        start_step: int, batches of the first epoch that are left out.
        alternate_flip: bool, whether every image is flipped in every second epoch, half of them in
            the first one, before `augment` (Jordan, 2024): each is seen both ways in any two
            epochs, which independent flips do half the time.
        share: `(index, count)`, which of how many equal parts of every batch is wanted.
        targets: floats `(N, 2, S, S, classes)`, S odd, in place of the labels: a teacher's for
            every image as it is or flipped, after a shift by up to `S // 2` pixels. Images are
            shifted and flipped so, all views equally likely, before `augment`.

    Raises:
        ValueError: if there are fewer images than a batch holds, or a batch has no such parts.
    """

    images: Images
    labels: np.ndarray
    batch_size: int
    epochs: int
    start_epoch: int = 0
    seed: int = 0
    augment: Sequence[Augment] = ()
    sizes: Sequence[tuple[int, int]] | None = None
    start_step: int = 0
    alternate_flip: bool = False
    share: tuple[int, int] = (0, 1)
    targets: np.ndarray | None = None

    def __post_init__(self) -> None:
        steps_per_epoch(len(self.images), self.batch_size)
        part, parts = self.share
        if self.batch_size % parts or not 0 <= part < parts:
            raise ValueError(
                f"A batch of {self.batch_size} images has no part {part} of {parts} equal ones."
            )

    @property
    def share_size(self) -> int:
        """Images of a batch that are in this share."""
        return self.batch_size // self.share[1]

    @property
    def shifts(self) -> int:
        """S of `targets`; 1 without."""
        return 1 if self.targets is None else self.targets.shape[2]

    def order(self, epoch: Any, draws: Draws) -> Any:
        """Indices of the images of an epoch in their order: of this share, from `start_step` on.

        Args:
            epoch: integer, a tensor on TensorFlow.
            draws: of that epoch.
        """
        part, parts = self.share
        used = steps_per_epoch(len(self.images), self.batch_size) * self.batch_size
        first = self.start_step * self.batch_size
        skipped = draws.arrays.where(epoch == self.start_epoch, first, 0)
        shares = (-1, parts, self.share_size)
        batches = draws.arrays.reshape(draws.permutation()[skipped:used], shares)
        return draws.arrays.reshape(batches[:, part], (-1,))

    def view(self, epoch: Any, index: Any, draws: Draws) -> tuple[Any, Any, Any]:
        """Which of the views with `targets` an image is shown in: flip, row and column."""
        flip, row, column = draws.view(index, self.shifts)
        if self.alternate_flip:
            flip = (epoch + draws.first_flip(index) + 1) % 2
        return flip, row, column

    def augmented(self, image: Any, epoch: Any, index: Any, draws: Draws) -> Any:
        """An image as it is in an epoch.

        Args:
            image: uint8 `(H, W, 3)`.
            epoch, index: integers, tensors on TensorFlow.
            draws: of that epoch.
        """
        if self.targets is not None:
            flip, row, column = self.view(epoch, index, draws)
            image = cropped(draws.arrays, image, (row, column), self.shifts // 2)
            image = draws.arrays.where(flip == 1, image[:, ::-1], image)
        elif self.alternate_flip:
            flipped = (epoch + draws.first_flip(index)) % 2 == 0
            image = draws.arrays.where(flipped, image[:, ::-1], image)
        for stage, function in enumerate(self.augment):
            image = function(image, draws.of(index, stage))
        return image
