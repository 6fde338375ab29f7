"""Occlusion (Zeiler and Fergus, 2014), as the authors compute it."""

from typing import Any

import numpy as np
from keras import ops

from coda_keras.attribution.locality import evidence, period, receptive_field, sees
from coda_keras.attribution.masking import MaskingAttribution
from coda_keras.backend.types import Tensor
from coda_keras.utils.arguments import positive_int

# Pixels; more than any image has.
LARGEST = 10**9


class Occlusion(MaskingAttribution):
    """Slides a window over the image and records by how much hiding it lowers the logit.

    Windows of `patch_size x patch_size` pixels stand around the pixels `0, stride, 2 stride, ...`
    and are cut off at the border. The drop of the logit is spread evenly over the hidden pixels
    and summed over all windows:

        map[y, x] = sum over windows w that hide (y, x) of (logit_c(x) - logit_c(x_w)) / |w|

    so that a map sums to the sum of all drops. Every masked image is evaluated once for all
    classes: at most `ceil(H / stride) ceil(W / stride) + 1` evaluations per image. On a `CoDANet`
    windows so far apart that no position of its last layer sees two of them are hidden in the
    same evaluation, which gives the same numbers and saves most evaluations of large images.

    Args:
        patch_size: positive int, K of the paper. An even one reaches one pixel further up and
            left.
        stride: positive int; the paper has 2 on CIFAR-10 and 4 on TinyImagenet.
        **kwargs: `fill` of `MaskingAttribution`, `batch_size`, `progress` of `Attribution`.

    Raises:
        ValueError: if `patch_size` or `stride` is no positive integer of at most 10^9.
    """

    def __init__(self, patch_size: int = 9, stride: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patch_size = positive_int("patch_size", patch_size, LARGEST)
        self.stride = positive_int("stride", stride, LARGEST)

    def prepare(self, model: Any, images: np.ndarray) -> None:
        super().prepare(model, images)
        self._field = receptive_field(model)

    def on_device(self, model: Any, image: Tensor, masks: Tensor) -> Tensor:
        return ops.cast(evidence(model, self.masked(image, masks)), "float32")

    def on_host(self, images: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        height, width = images.shape[1:3]
        intact = np.ones((1, height, width), "float32")
        positions = self.run_on_device(images[0], intact).shape[1:3]
        rows = _Windows(height, self.patch_size, self.stride, self._field, positions[0])
        columns = _Windows(width, self.patch_size, self.stride, self._field, positions[1])
        maps = np.empty((*class_ids.shape, height, width))
        with self.bar(len(images) * (rows.groups * columns.groups + 1)) as bar:
            for index, (image, chosen) in enumerate(zip(images, class_ids)):
                drops = self._drops(image, chosen, rows, columns, bar)
                shares = drops / (rows.hides.sum(1)[:, None] * columns.hides.sum(1))[..., None]
                maps[index] = np.einsum(
                    "rcn,ry,cx->nyx", shares, rows.hides, columns.hides, optimize=True
                )
        return maps

    def _drops(self, image, class_ids, rows, columns, bar):
        """Drops of the logits by every window, `(rows, columns, n)`."""
        groups = rows.groups * columns.groups
        intact = None
        drops = np.empty((len(rows.hides), len(columns.hides), len(class_ids)))
        # Number -1 is the image as it is.
        for start in range(-1, groups, self.batch_size):
            numbers = np.arange(start, min(start + self.batch_size, groups))
            row, column = np.divmod(numbers, columns.groups)
            masks = 1 - rows.hidden[row][:, :, None] * columns.hidden[column][:, None, :]
            masks[numbers == -1] = 1
            evidence_left = self.run_on_device(image, masks)[..., class_ids].astype("float64")
            bar.update(len(numbers))
            if intact is None:
                intact, evidence_left = evidence_left[0], evidence_left[1:]
                row, column = row[1:], column[1:]
            for change, r, c in zip(intact - evidence_left, row, column):
                seen = rows.seen[r :: rows.groups], columns.seen[c :: columns.groups]
                drops[r :: rows.groups, c :: columns.groups] = np.einsum(
                    "rh,hwn,cw->rcn", seen[0], change, seen[1], optimize=True
                )
        return drops


class _Windows:
    """The windows along an axis, every `groups`-th of which is hidden together.

    Attributes:
        hides: `(windows, size)`, 1 where a window hides a pixel.
        seen: `(windows, positions)`, whether a position of the evidence sees a window.
        groups: number of groups.
        hidden: `(groups, size)`, 1 where a group hides a pixel.
    """

    def __init__(self, size, patch_size, stride, field, positions) -> None:
        first = np.arange(0, size, stride) - patch_size // 2
        last = first + patch_size - 1
        pixels = np.arange(size)
        hides = (pixels >= first[:, None]) & (pixels <= last[:, None])
        self.hides = hides.astype("float32")
        self.seen = sees(field, positions, np.maximum(first, 0), np.minimum(last, size - 1))
        self.groups = period(self.seen)
        self.hidden = np.stack([self.hides[g :: self.groups].max(0) for g in range(self.groups)])
