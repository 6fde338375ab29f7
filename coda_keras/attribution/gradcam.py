"""GradCAM (Selvaraju et al., 2017)."""

from contextlib import ExitStack
from typing import Any

import numpy as np
from keras import ops

from coda_keras.attribution.base import PairwiseAttribution, class_logits
from coda_keras.attribution.interception import intercepted
from coda_keras.backend import gradient
from coda_keras.backend.types import Tensor
from coda_keras.utils.arguments import one_of

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


class GradCAM(PairwiseAttribution):
    """`relu(sum over k of a_k A_k)`, enlarged to the size of the image.

    A are the activations of a layer, a_k the mean over all positions of `d logit_c / d A_k`.
    The image goes through the model twice: once to see A, once with A in the place of what the
    layer returns.

    Args:
        layer: name of a layer with 4D output, or None for the last activation before the
            pooling; on a `CoDANet` that is the output of its last layer before the sum pooling.
        interpolation: `"nearest"` as by the authors, `"bilinear"` or `"bicubic"`.
        **kwargs: `batch_size`, `progress` of `Attribution`.

    Raises:
        ValueError: if there is no such `interpolation`; on a call, if the model has no such layer,
            or calls it several times.
    """

    def __init__(
        self, layer: str | None = None, interpolation: str = "nearest", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.layer = layer
        self.interpolation = one_of("interpolation", interpolation, INTERPOLATIONS)

    def prepare(self, model: Any, images: np.ndarray) -> None:
        sample = np.zeros((1, *images.shape[1:]), "float32")
        self._target = _find(model, sample, self.layer)

    def on_device(self, model: Any, images: Tensor, class_ids: Tensor) -> Tensor:
        seen = []
        with intercepted(self._target, lambda outputs: seen.append(outputs) or outputs):
            model(images, training=False)
        (activations,) = seen

        def rest(values):
            # What leads up to the replaced output is dead code, dropped by compilation.
            with intercepted(self._target, lambda outputs: values):
                return class_logits(model, images, class_ids)

        weights = self.channel_weights(activations, gradient(rest, activations))
        maps = ops.relu(ops.sum(weights * activations, axis=-1, keepdims=True))
        return ops.cast(maps, "float32")

    def channel_weights(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """Weights a_k of the channels, `(B, 1, 1, K)`.

        Args:
            activations: A, `(B, h, w, K)`.
            gradients: `d logit_c / d A`, `(B, h, w, K)`.
        """
        return ops.mean(gradients, axis=(1, 2), keepdims=True)

    def pair_maps(self, images: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        # Not compiled: resizing needs the size as numbers, which a graph for any size lacks.
        resized = ops.image.resize(
            self.run_on_device(images, class_ids),
            images.shape[1:3],
            interpolation=self.interpolation,
            data_format="channels_last",
        )
        return ops.convert_to_numpy(resized)[..., 0]


def _find(model, images, name):
    """The layer of that name, or the one that made the last 4D output that is no pooling."""
    made = []
    layers = model._flatten_layers(include_self=False)
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(
                intercepted(
                    layer, lambda outputs, layer=layer: made.append((layer, outputs)) or outputs
                )
            )
        model(ops.convert_to_tensor(images), training=False)
    spatial = [
        layer
        for layer, outputs in made
        if len(getattr(outputs, "shape", ())) == 4 and "Pooling" not in type(layer).__name__
    ]
    if name is not None:
        spatial = [layer for layer, _ in made if layer.name == name and layer in spatial]
    if not spatial:
        names = sorted({layer.name for layer in layers})
        raise ValueError(
            (f"No layer {name!r} with 4D output" if name else "No layer with 4D output")
            + f" was called by the model. Its layers: {', '.join(names)}."
        )
    target = spatial[-1]
    if sum(layer is target for layer, _ in made) > 1:
        raise ValueError(
            f"Layer {target.name!r} is called several times. Choose a layer called once."
        )
    return target
