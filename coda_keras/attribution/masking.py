"""Masked images, shared by the methods that hide parts of an image."""

from typing import Any

import numpy as np
from keras import ops

from coda_keras.attribution.base import Attribution
from coda_keras.backend.types import Tensor
from coda_keras.explanation.explanation import is_inherent
from coda_keras.utils.arguments import one_of

FILLS = {"black": (0.0, 0.0, 0.0, 1.0, 1.0, 1.0), "no_evidence": (0.0,) * 6}


class MaskingAttribution(Attribution):
    """A method that evaluates images `mask * image + (1 - mask) * fill`.

    Args:
        fill: what a hidden pixel becomes: `"black"`, which is multiplying RGB by the mask, or
            `"no_evidence"`, all six channels zero (of a `CoDANet` only).
        **kwargs: `batch_size`, `progress` of `Attribution`.

    Raises:
        ValueError: if there is no such `fill`; on a call, if the model does not fit it.
    """

    def __init__(self, fill: str = "black", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fill = one_of("fill", fill, sorted(FILLS))

    def prepare(self, model: Any, images: np.ndarray) -> None:
        if self.fill == "no_evidence" and not is_inherent(model):
            raise ValueError(
                'fill="no_evidence" needs the six channels of a CoDANet. '
                f'Use fill="black" for {type(model).__name__}.'
            )

    def masked(self, image: Tensor, masks: Tensor) -> Tensor:
        """One image `(H, W, C)` under masks `(m, H, W)`, as tensors `(m, H, W, C)`."""
        fill = ops.convert_to_tensor(FILLS[self.fill][: image.shape[-1]], "float32")
        return fill + masks[..., None] * (image - fill)
