"""Gradient of a logit (Simonyan et al., 2014)."""

from typing import Any

from keras import ops

from coda_keras.attribution.base import PairwiseAttribution, class_logits
from coda_keras.backend import gradient
from coda_keras.backend.types import Tensor


class Gradient(PairwiseAttribution):
    """`d logit_c / d x`, signed, summed over the channels.

    On a `CoDANet` x is the six-channel encoding, else RGB. The gradient includes the change of
    the dynamic weights W(x) with x, unlike the contributions.

    Args:
        **kwargs: `batch_size`, `progress` of `Attribution`.
    """

    def on_device(self, model: Any, images: Tensor, class_ids: Tensor) -> Tensor:
        gradients = gradient(lambda x: class_logits(model, x, class_ids), images)
        return ops.sum(gradients, axis=-1)
