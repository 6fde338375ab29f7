"""Learning rates over the steps of a training."""

from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.utils.registration import PACKAGE


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


@keras.saving.register_keras_serializable(PACKAGE)
class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """Up in a line to where another schedule is by then, which goes on from there.

    Args:
        schedule: the `keras.optimizers.schedules.LearningRateSchedule` that is joined.
        start: float, the rate of the first step.
        steps: int, the step from which on the rate is that of `schedule`.

    Raises:
        ValueError: if `steps` is negative.

    Example:

    >>> halved = keras.optimizers.schedules.ExponentialDecay(1.0, 3, 0.5, staircase=True)
    >>> [float(Warmup(halved, start=0.5, steps=2)(step)) for step in range(5)]
    [0.5, 0.75, 1.0, 0.5, 0.5]
    """

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        start: float,
        steps: int,
        name: str = "warmup",
    ) -> None:
        if steps < 0:
            raise ValueError(f"`steps` must not be negative. Received: steps={steps}.")
        super().__init__()
        self.name = name
        self.schedule, self.start, self.steps = schedule, float(start), steps

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "float32")
        end = self.schedule(float(self.steps))
        rising = self.start + (end - self.start) * step / max(1, self.steps)
        return ops.where(step < self.steps, rising, self.schedule(step))

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.optimizers.schedules.serialize(self.schedule),
            "start": self.start,
            "steps": self.steps,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Warmup":
        schedule = keras.optimizers.schedules.deserialize(config["schedule"])
        return cls(**{**config, "schedule": schedule})
