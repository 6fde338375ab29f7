"""What every net has whose logits are sums of per-pixel contributions."""

from collections.abc import Sequence
from typing import Any

import keras

from coda_keras.backend.types import Tensor
from coda_keras.explanation.class_ids import ClassIds
from coda_keras.explanation.explanation import Explanation, explain
from coda_keras.layers.offset import Pullback
from coda_keras.models.image_classifier import ImageClassifier
from coda_keras.utils.text import listed


class DynamicLinearNet(ImageClassifier):
    """Base class of classifiers with `logits = b_0 + W(x) x`, x an encoded image.

    Subclasses implement `linearize`, `call` by layers or nets, and `get_config`. Whatever takes a
    `CoDANet` takes them too: `explain` and `explain_dataset`, metrics, the explorer, servables.

    Attributes:
        logit_bias: float b_0.
        class_names: list of str in the order of the logits, or None.
        image_size: `(height, width)` that servables take, or None for any.
    """

    logit_bias: float = 0.0
    class_names: list[str] | None = None
    image_size: tuple[int, int] | None = None

    @property
    def classes(self) -> int:
        """Number of classes.

        Raises:
            ValueError: if the net is not built yet.
        """
        self.require_built("its number of classes")
        return self._classes

    @property
    def parts(self) -> list[Any]:
        """The nets that this one is made of."""
        return []

    def adopt(self, shares: Sequence[float] = (1.0,)) -> None:
        """Takes bias, names of classes and image size from the nets that this one is made of.

        Args:
            shares: the weight of each of them, which sum to 1.

        Raises:
            ValueError: if they have different names of classes or image sizes.
        """
        for name in ("class_names", "image_size"):
            values = [getattr(net, name, None) for net in self.parts]
            known = [value for value in values if value is not None]
            if any(value != known[0] for value in known):
                raise ValueError(f"The nets have different `{name}`: {listed(known)}.")
            setattr(self, name, known[0] if known else None)
        biases = [getattr(net, "logit_bias", 0.0) for net in self.parts]
        self.logit_bias = sum(share * bias for share, bias in zip(shares, biases))
        if self.image_size is not None:
            self.build((None, *self.image_size, 3))

    def build(self, input_shape: Sequence[int | None]) -> None:
        for net in self.parts:
            if not net.built:
                net.build(input_shape)
        counts = sorted({net.classes for net in self.parts if hasattr(net, "classes")})
        if len(counts) > 1:
            raise ValueError(f"The nets have different numbers of classes: {listed(counts)}.")
        images = keras.Input(input_shape[1:], dtype=self.variable_dtype)
        outputs = self.call(images)
        self._classes = outputs.shape[-1]
        self.connect(images, outputs)
        self.built = True

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (input_shape[0], self._classes)

    def linearize(self, images: Tensor) -> tuple[Tensor, Pullback]:
        """Applies the net, and returns the transpose of the matrix that it applied.

        Args:
            images: `(B, H, W, 3)` in [0, 1], or `(B, H, W, 6)` encoded.

        Returns:
            `(logits - b_0, pullback)`; `pullback` maps a cotangent `(B, classes)` to
            `W(x)^T cotangent`, `(B, H, W, 6)`. Constants that layers add are in the logits, and
            declared by `with_offset`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must implement `linearize(images)` and return "
            "`(logits - b_0, pullback)`."
        )

    def base_config(self) -> dict[str, Any]:
        """The part of a config that all nets have."""
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "trainable": self.trainable,
        }

    def explain(
        self, images: Tensor, class_ids: ClassIds = None, batch_size: int | None = None
    ) -> Explanation[Tensor]:
        """Explains logits by contribution maps. See `coda_keras.explain`."""
        return explain(self, images, class_ids, batch_size)
