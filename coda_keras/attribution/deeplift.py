"""DeepLIFT with the rescale rule (Shrikumar, Greenside, Kundaje, 2017)."""

from typing import Any

import numpy as np

from coda_keras import backend
from coda_keras.attribution.input_x_gradient import InputXGradient
from coda_keras.explanation.explanation import is_inherent


class DeepLIFT(InputXGradient):
    """DeepLIFT, rescale rule, summed over the channels; the baseline is zero.

    On a `CoDANet` the rule, as the authors used it, changes nothing, for it changes the gradient
    of activation functions only: the maps are those of Input×Gradient.
    On other models `shap`'s DeepExplainer computes it (the extra `interpret`; Keras on
    TensorFlow), in a process of its own because its failures leave TensorFlow's gradients
    broken. Starting that process takes seconds: give it many images at once. Maps of ReLU nets
    sum to `logit_c(x) - logit_c(0)`. There is no progress bar, and a model sees two images at once
    even with `batch_size=1`: the image and the baseline.

    Args:
        **kwargs: `batch_size`, `progress` of `Attribution`.

    Raises:
        ModuleNotFoundError: on a call, if `shap` is needed and missing.
        ValueError: on a call, if `shap` has no rule for an operation of the model.
    """

    def prepare(self, model: Any, images: np.ndarray) -> None:
        self._inherent = is_inherent(model)
        self._explained = model
        if not self._inherent and backend.NAME != "tensorflow":
            raise ValueError(
                "DeepLIFT on a model that is no CoDANet needs Keras on TensorFlow. "
                f"The backend is {backend.NAME!r}."
            )

    def on_host(self, images: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        if self._inherent:
            return super().on_host(images, class_ids)
        from coda_keras.attribution.tf_deeplift import rescale_rule

        return rescale_rule(self._explained, images, class_ids, self.batch_size)
