"""What changes while a net trains: the temperature of the loss, the size of the images."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.losses import OneVsAllCrossentropy
from coda_keras.utils.registration import PACKAGE

# From which fraction of the epochs on the images have which fraction of their size.
GROWTH = ((0.0, 0.5), (0.4, 0.75), (0.6, 1.0))


def growing_sizes(size: int, epochs: int) -> list[int]:
    """A side of the images in every epoch, in pixels: small ones first.

    Sum pooling takes any size, and an epoch on images of half the size costs a quarter.

    >>> growing_sizes(32, 5)
    [16, 16, 24, 32, 32]
    """
    sizes = []
    for epoch in range(epochs):
        scales = [scale for start, scale in GROWTH if epoch >= start * epochs]
        sizes.append(max(1, round(size * scales[-1])))
    # However few epochs there are, the last one is of whole images.
    return [*sizes[:-1], size]


@keras.saving.register_keras_serializable(PACKAGE)
class AnnealedCrossentropy(OneVsAllCrossentropy):
    """One-vs-all cross-entropy at a temperature that rises to the net's own.

    The net keeps its T, so that its logits and maps are always those of T. The loss sees them as
    if the temperature at step n was `T(n) = start (T / start)^min(n / steps, 1)`: as
    `b_0 + (logits - b_0) T / T(n)`. Low temperatures let gradients through while the weights are
    still far from aligned with their inputs.

    Images of another size give sums over another number of positions; `areas` makes up for that.

    Args:
        temperature: positive number, the net's T.
        start: positive number, the temperature of the first step.
        steps: int, steps after which it is T; 0 for T throughout.
        logit_bias: number b_0 of the net.
        areas: pairs `(first step, area)`, the area of the images from that step on, as a fraction
            of those that the net is for; the first for step 0.
        iterations: variable that counts the steps, such as `optimizer.iterations`, or a tensor; an
            attribute, which `coda_keras.training.objective.anneal` sets for training steps alone.
            Without it the loss is that of T for images of full size.
        reduction, name: as for `keras.losses.Loss`.
    """

    def __init__(
        self,
        temperature: float,
        start: float,
        steps: int,
        logit_bias: float,
        areas: Sequence[tuple[int, float]] = ((0, 1.0),),
        iterations: Any | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "one_vs_all_crossentropy",
    ) -> None:
        super().__init__(reduction=reduction, name=name)
        self.temperature, self.start, self.steps = float(temperature), float(start), int(steps)
        self.logit_bias = float(logit_bias)
        self.areas = [(int(step), float(area)) for step, area in areas]
        self.iterations = iterations

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if self.iterations is not None:
            factor = self.factor(ops.cast(self.iterations, y_pred.dtype))
            y_pred = self.logit_bias + factor * (y_pred - self.logit_bias)
        return super().call(y_true, y_pred)

    def factor(self, step: Tensor) -> Tensor:
        """What logits less b_0 are multiplied by at a step, a float tensor."""
        area = ops.ones_like(step)
        for first, fraction in self.areas:
            area = ops.where(step >= first, fraction, area)
        left = 1.0 - ops.minimum(step / self.steps, 1.0) if self.steps else 0.0
        return (self.temperature / self.start) ** left / area

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "start": self.start,
            "steps": self.steps,
            "logit_bias": self.logit_bias,
            "areas": self.areas,
            # Another process has no such variable.
            "iterations": None,
        }
