"""Input times gradient (Shrikumar et al., 2017)."""

from keras import ops

from coda_keras.attribution.base import PairwiseAttribution, class_logits
from coda_keras.backend import gradient


class InputXGradient(PairwiseAttribution):
    """`x * d logit_c / d x`, signed, summed over the channels.

    On a `CoDANet` x is the six-channel encoding, else RGB.

    Args:
        **kwargs: `batch_size`, `progress` of `Attribution`.
    """

    label = "IxG"

    def on_device(self, model, images, class_ids):
        gradients = gradient(lambda x: class_logits(model, x, class_ids), images)
        return ops.sum(images * gradients, axis=-1)
