"""Occlusion (Zeiler and Fergus, 2014), as the authors compute it."""

import numpy as np

from coda_keras.attribution.base import positive_int
from coda_keras.attribution.masking import MaskingAttribution


class Occlusion(MaskingAttribution):
    """Slides a window over the image and records by how much hiding it lowers the logit.

    Windows of `patch_size x patch_size` pixels stand around the pixels `0, stride, 2 stride, ...`
    and are cut off at the border. The drop of the logit is spread evenly over the hidden pixels
    and summed over all windows:

        map[y, x] = sum over windows w that hide (y, x) of (logit_c(x) - logit_c(x_w)) / |w|

    so that a map sums to the sum of all drops. Every masked image is evaluated once for all
    classes: `ceil(H / stride) ceil(W / stride) + 1` evaluations an image.

    Args:
        patch_size: positive int, K of the paper. An even one reaches one pixel further up and
            left.
        stride: positive int; the paper has 2 on CIFAR-10 and 4 on TinyImagenet.
        **kwargs: `fill` of `MaskingAttribution`, `batch_size`, `progress` of `Attribution`.
    """

    def __init__(self, patch_size=9, stride=2, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = positive_int("patch_size", patch_size)
        self.stride = positive_int("stride", stride)

    @property
    def label(self):
        return f"Occ{self.patch_size}"

    def attribute(self, images, class_ids):
        rows, columns = (self._windows(size) for size in images.shape[1:3])
        with self.bar(len(images) * (len(rows) * len(columns) + 1)) as bar:
            return np.stack(
                [
                    self._map(image, chosen, rows, columns, bar)
                    for image, chosen in zip(images, class_ids)
                ]
            )

    def _map(self, image, class_ids, rows, columns, bar):
        windows = len(rows) * len(columns)
        logits = np.empty((windows + 1, len(class_ids)))
        for start in range(0, windows + 1, self.batch_size):
            chosen = np.arange(start, min(start + self.batch_size, windows + 1))
            row, column = np.divmod(chosen % windows, len(columns))
            masks = 1 - rows[row][:, :, None] * columns[column][:, None, :]
            # The last one stands for the image as it is.
            masks[chosen == windows] = 1
            logits[chosen] = self.evaluated(image, masks)[:, class_ids]
            bar.update(len(chosen))
        drops = (logits[-1] - logits[:-1]).reshape(len(rows), len(columns), -1)
        hidden = rows.sum(1)[:, None] * columns.sum(1)
        return np.einsum("rcn,ry,cx->nyx", drops / hidden[..., None], rows, columns, optimize=True)

    def _windows(self, size):
        """Which pixels of an axis every window hides, `(windows, size)` of 0 and 1."""
        first = np.arange(0, size, self.stride)[:, None] - self.patch_size // 2
        pixels = np.arange(size)
        return ((pixels >= first) & (pixels < first + self.patch_size)).astype("float32")
