"""Learning rates over the steps of a training."""

from typing import Any

import keras
from keras import ops

from coda_keras.dynamic_linear import PACKAGE, Tensor


@keras.saving.register_keras_serializable(PACKAGE)
class Trapezoid(keras.optimizers.schedules.LearningRateSchedule):
    """Up in a line, constant, down to 0 in a line.

    Until the decay begins the rate does not depend on how long the training will be: it can be
    prolonged, and cooled down whenever a finished net is wanted (Zhai et al., 2022).

    Args:
        peak: float, the constant rate.
        warmup: int, steps over which it is reached.
        decay: int, the step at which it begins to fall.
        total: int, the step at which it is 0, beyond `decay`.

    Raises:
        ValueError: if the steps do not come in this order.
    """

    def __init__(
        self, peak: float, warmup: int, decay: int, total: int, name: str = "trapezoid"
    ) -> None:
        if not 0 <= warmup <= decay < total:
            raise ValueError(
                "Expected 0 <= warmup <= decay < total. Received: "
                f"warmup={warmup}, decay={decay}, total={total}."
            )
        super().__init__()
        self.name = name
        self.peak, self.warmup, self.decay, self.total = float(peak), warmup, decay, total

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "float32")
        up = (step + 1) / max(1, self.warmup)
        down = (self.total - step) / (self.total - self.decay)
        return self.peak * ops.clip(ops.minimum(up, down), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "warmup": self.warmup,
            "decay": self.decay,
            "total": self.total,
            "name": self.name,
        }
