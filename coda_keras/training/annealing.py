"""A temperature that rises while a net trains."""

from typing import Any

import keras
from keras import ops

from coda_keras.dynamic_linear import PACKAGE, Tensor
from coda_keras.losses import OneVsAllCrossentropy


@keras.saving.register_keras_serializable(PACKAGE)
class AnnealedCrossentropy(OneVsAllCrossentropy):
    """One-vs-all cross-entropy at a temperature that rises to the net's own.

    The net keeps its T, so that its logits and maps are always those of T. The loss sees them as
    if the temperature at step n was `T(n) = start (T / start)^min(n / steps, 1)`: as
    `b_0 + (logits - b_0) T / T(n)`. Low temperatures let gradients through while the weights are
    still far from aligned with their inputs.

    Args:
        temperature: positive number, the net's T.
        start: positive number, the temperature of the first step.
        steps: positive int, steps after which it is T.
        logit_bias: number b_0 of the net.
        iterations: variable that counts the steps, such as `optimizer.iterations`; without it the
            loss is that of T.
        reduction, name: as for `keras.losses.Loss`.
    """

    def __init__(
        self,
        temperature: float,
        start: float,
        steps: int,
        logit_bias: float,
        iterations: Any | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "one_vs_all_crossentropy",
    ) -> None:
        super().__init__(reduction=reduction, name=name)
        self.temperature, self.start, self.steps = float(temperature), float(start), int(steps)
        self.logit_bias = float(logit_bias)
        self._iterations = iterations

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if self._iterations is not None:
            done = ops.cast(self._iterations, y_pred.dtype) / self.steps
            factor = (self.temperature / self.start) ** (1.0 - ops.minimum(done, 1.0))
            y_pred = self.logit_bias + factor * (y_pred - self.logit_bias)
        return super().call(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "start": self.start,
            "steps": self.steps,
            "logit_bias": self.logit_bias,
        }
