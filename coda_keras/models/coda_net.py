"""Convolutional Dynamic Alignment Networks."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.explanation.layer import LayerExplanation, explain_layer
from coda_keras.layers.composition import checked_members
from coda_keras.layers.dynamic_linear import (
    GlobalSumPooling2D,
    Pullback,
    ReceptiveField,
    TemperatureScaling,
    linearize,
    receptive_field,
)
from coda_keras.layers.encoding import encode
from coda_keras.models.dynamic_linear_net import DynamicLinearNet
from coda_keras.models.from_preset import LOGIT_BIAS, FromPreset
from coda_keras.models.grid_loss import GridLoss
from coda_keras.models.loss_term import LossTerm
from coda_keras.models.map_penalty import MapPenalty
from coda_keras.models.map_teacher import MapTeacher
from coda_keras.utils.registration import PACKAGE

# Of an image: 8192 x 8192.
MAX_PIXELS = 2**26


@keras.saving.register_keras_serializable(PACKAGE)
class CoDANet(FromPreset, DynamicLinearNet):
    """A classifier whose logits are sums of per-pixel contributions (Sections 3.2 and 3.3).

    The encoded image runs through `layers`, is summed over all positions and divided by the
    temperature; `logit_bias` is added last:

        logits = sum_positions(layers(encode(images))) / T + b_0,   linear part = W_{0->L}(x) x

    Args:
        layers: list of dynamic linear layers, such as `DAUConv2D`, each with a method
            `linearize(inputs)` as that of `DynamicLinear`; the last one has a channel per class.
        temperature: positive number T.
        logit_bias: finite number b_0; with the default an untrained net predicts about 0.1 for
            every class.
        image_size: int, `(height, width)` or None. If given the net is built at once and servables
            made from it take images of this size; calling on other sizes works all the same.
        class_names: list of str, names of the classes in the order of the logits, or None.
        regularisation: non-negative number λ: `λ mean |W_{0->L}|` is added to the loss in training
            (eq. 10); see `coda_keras.models.map_penalty`. Predictions do not depend on it.
        grid_loss: non-negative number λ: what the contributions of grids of training images lack in
            localisation, times λ, is added to the loss; see `coda_keras.models.grid_loss`.
        **kwargs: `name`, `dtype`, ... of `keras.Model`.

    Attributes:
        map_teacher: `coda_keras.models.map_teacher.MapTeacher`, a net whose contribution maps this
            one learns, or None, as at first. It is to be set before `fit`, and not saved.

    Input shape:
        `(B, H, W, 3)` RGB in [0, 1], or `(B, H, W, 6)` already encoded.

    Output shape:
        `(B, classes)` logits, float32.

    Raises:
        ValueError: if a layer lacks `linearize`, or an argument is out of range.

    Example:

    >>> net = CoDANet([DAUConv2D(8, 4, 3, strides=2), DAUConv2D(5, 8, 1)], temperature=10)
    >>> ops.shape(net(np.zeros((2, 9, 9, 3), "float32")))
    (2, 5)
    """

    def __init__(
        self,
        layers: Iterable[Any],
        temperature: float = 1000.0,
        logit_bias: float = LOGIT_BIAS,
        image_size: int | tuple[int, int] | None = None,
        class_names: Sequence[str] | None = None,
        regularisation: float = 0.0,
        grid_loss: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.body = checked_members(layers)
        if not self.body:
            raise ValueError("`layers` is empty. Expected at least one dynamic linear layer.")
        # Sums over many positions and their division by T stay in full precision.
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        self.pooling = GlobalSumPooling2D(dtype=dtype, name="sum_pooling")
        self.scaling = TemperatureScaling(temperature, dtype=dtype, name="temperature")
        if not math.isfinite(logit_bias):
            raise ValueError(f"`logit_bias` must be a finite number. Received: {logit_bias!r}.")
        self.logit_bias = float(logit_bias)
        self.image_size = _pair(image_size)
        self.class_names = None if class_names is None else [str(name) for name in class_names]
        self.penalty = MapPenalty(regularisation) if regularisation else None
        self.grids = GridLoss(grid_loss) if grid_loss else None
        self.map_teacher: MapTeacher | None = None
        if self.image_size is not None:
            self.build((None, *self.image_size, 3))

    @property
    def chain(self) -> list[Any]:
        """List of the dynamic linear layers from the encoded image to the logits without b_0."""
        return [*self.body, self.pooling, self.scaling]

    @property
    def loss_terms(self) -> list[LossTerm]:
        """What is added to the loss in training."""
        terms = (self.penalty, self.grids, self.map_teacher)
        return [term for term in terms if term is not None]

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """Which pixels a position of `evidence` sees.

        None if a layer has no `receptive_field`, or a subclass overrides `call`.
        """
        if type(self).call is not CoDANet.call:
            return None
        return receptive_field([*self.body, self.scaling])

    @property
    def temperature(self) -> float:
        return self.scaling.temperature

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        if training and self.grids is not None:
            self.grids.keep_grids(self.linearize, images)
        if training and (self.penalty is not None or self.map_teacher is not None):
            # The loss needs rows of W_{0->L} of this pass.
            outputs, pullback = self.linearize(images)
            if self.penalty is not None:
                self.penalty.keep(pullback)
            if self.map_teacher is not None:
                self.map_teacher.keep_cosines(images, outputs, pullback)
            return outputs + self.logit_bias
        outputs = encode(images)
        for layer in self.chain:
            outputs = layer(outputs)
        return outputs + self.logit_bias

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if training:
            for term in self.loss_terms:
                loss = loss + ops.cast(term.loss(y, y_pred), loss.dtype)
        return loss

    def linearize(self, images: Tensor) -> tuple[Tensor, Pullback]:
        return linearize(self.chain, encode(ops.convert_to_tensor(images)))

    def evidence(self, images: Tensor) -> Tensor:
        """Outputs of the last layer over T, whose sum over positions is the logits without b_0.

        Args:
            images: `(B, H, W, 3)` in [0, 1], or `(B, H, W, 6)` encoded.

        Returns:
            `(B, h, w, classes)`, in logits.
        """
        outputs = encode(ops.convert_to_tensor(images))
        for layer in [*self.body, self.scaling]:
            outputs = layer(outputs)
        return outputs

    def explain_layer(
        self,
        images: Tensor,
        layer: int | str,
        channel: int | str | Sequence[int] | Sequence[str],
        position: tuple[int, int] | None = None,
        from_layer: int | str = 0,
    ) -> LayerExplanation[Tensor]:
        """Explains an activation of a layer, or a logit, by an earlier layer or the image.

        See `coda_keras.explain_layer`.
        """
        return explain_layer(self, images, layer, channel, position, from_layer)

    def get_config(self) -> dict[str, Any]:
        return {
            **self.base_config(),
            "layers": [keras.saving.serialize_keras_object(layer) for layer in self.body],
            "temperature": self.temperature,
            "logit_bias": self.logit_bias,
            "image_size": self.image_size,
            "class_names": self.class_names,
            "regularisation": 0.0 if self.penalty is None else self.penalty.strength,
            "grid_loss": 0.0 if self.grids is None else self.grids.strength,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "CoDANet":
        config = dict(config)
        config["layers"] = [
            keras.saving.deserialize_keras_object(layer, custom_objects=custom_objects)
            for layer in config["layers"]
        ]
        return cls(**config)


def _pair(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = tuple(size) if hasattr(size, "__iter__") else (size, size)
    whole = len(pair) == 2 and all(hasattr(n, "__index__") and n > 0 for n in pair)
    if not whole or math.prod(pair) > MAX_PIXELS:
        raise ValueError(
            "`image_size` must be a positive integer or a pair (height, width) of at most "
            f"{MAX_PIXELS} pixels. Received: image_size={size!r}."
        )
    return int(pair[0]), int(pair[1])
