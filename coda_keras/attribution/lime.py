"""LIME (Ribeiro, Singh, Guestrin, 2016), through the package `lime`."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras.attribution.base import Attribution
from coda_keras.backend.types import Tensor
from coda_keras.utils import extras
from coda_keras.utils.arguments import positive_int


class LIME(Attribution):
    """The superpixels whose presence speaks most for the class, as a map of 0 and 1.

    Superpixels of the RGB image (quickshift) are hidden at random, by their mean colour; a
    weighted ridge regression on which of them are present gives each a coefficient. The map is 1
    on those of the `num_features` largest positive coefficients. Needs the extra `interpret`.

    All evaluations are shared between the classes of an image: `num_samples` an image.

    Args:
        num_samples: int, how many hidden variants are evaluated.
        num_features: int, superpixels shown.
        kernel_size, max_dist, ratio: of `skimage.segmentation.quickshift`. With the paper's
            kernel size 4 a 32x32 image has one or two superpixels; kernel size 1, the default of
            the authors' code, gives 11 to 16.
        activation: what turns logits into probabilities, by Keras' name for it.
        seed: int, of the hidden variants; every image sees the same.
        **kwargs: `batch_size`, `progress` of `Attribution`.

    Raises:
        ModuleNotFoundError: if the package `lime` is missing.
        ValueError: on a call, if six-channel images are no encoding of RGB.
    """

    def __init__(
        self,
        num_samples: int = 256,
        num_features: int = 3,
        kernel_size: float = 4,
        max_dist: float = 200,
        ratio: float = 0.2,
        activation: str | Callable[[Tensor], Tensor] = "sigmoid",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_samples = positive_int("num_samples", num_samples)
        self.num_features = positive_int("num_features", num_features)
        self.activation = keras.activations.get(activation)
        self.seed = seed
        extras.require("interpret", "lime")
        from lime.wrappers.scikit_image import SegmentationAlgorithm

        self._segmenter = SegmentationAlgorithm(
            "quickshift", kernel_size=kernel_size, max_dist=max_dist, ratio=ratio
        )

    def on_device(self, model: Any, images: Tensor) -> Tensor:
        return self.activation(ops.cast(model(images, training=False), "float32"))

    def on_host(self, images: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        rgb = images[..., :3]
        if images.shape[-1] == 6 and not np.allclose(images[..., 3:], 1 - rgb, atol=1e-5):
            raise ValueError(
                "LIME hides superpixels of RGB images, but the six channels given are not "
                "[rgb, 1 - rgb] everywhere. Pass RGB images."
            )
        with self.bar(len(images) * self.num_samples) as bar:
            return np.stack([self._maps(*pair, bar) for pair in zip(rgb, class_ids)])

    def _maps(self, image, class_ids, bar):
        def predict(samples):
            bar.update(len(samples))
            return self.run_on_device(np.asarray(samples, "float32"))

        explanation = _explainer(self.seed).explain_instance(
            # In double precision, as quickshift wants it.
            image.astype("float64"),
            predict,
            labels=sorted(set(class_ids.tolist())),
            top_labels=None,
            num_samples=self.num_samples,
            batch_size=self.batch_size,
            segmentation_fn=self._segmenter,
        )
        return [
            explanation.get_image_and_mask(
                class_id, positive_only=True, hide_rest=True, num_features=self.num_features
            )[1]
            for class_id in class_ids.tolist()
        ]


def _explainer(seed):
    from lime.lime_image import LimeImageExplainer

    class Explainer(LimeImageExplainer):
        """With the hidden variants made batch by batch, and no progress bar of its own."""

        def data_labels(
            self,
            image: np.ndarray,
            fudged_image: np.ndarray,
            segments: np.ndarray,
            classifier_fn: Callable[[np.ndarray], np.ndarray],
            num_samples: int,
            batch_size: int = 10,
        ) -> tuple[np.ndarray, np.ndarray]:
            names, segments = np.unique(segments, return_inverse=True)
            segments = segments.reshape(image.shape[:2])
            data = self.random_state.randint(0, 2, (num_samples, len(names)))
            data[0] = 1
            labels = []
            for start in range(0, num_samples, batch_size):
                present = data[start : start + batch_size, segments, None]
                labels.append(classifier_fn(np.where(present, image, fudged_image)))
            return data, np.concatenate(labels)

    return Explainer(random_state=seed)
