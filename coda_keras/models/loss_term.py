"""What a net adds to its loss, computed from the forward pass that gave the logits."""

import threading
from typing import Any, ClassVar

import keras
from keras import ops

from coda_keras.backend.types import Tensor


class LossTerm:
    """A number times what a forward pass leaves, from the pass until its loss is computed.

    Args:
        strength: positive number λ, the factor.

    Attributes:
        argument: the argument or attribute of `CoDANet` that asks for the term.
        needed: what a forward pass keeps for it, for messages.

    Raises:
        ValueError: if `strength` is not positive.
    """

    argument: ClassVar[str]
    needed: ClassVar[str]

    def __init__(self, strength: float) -> None:
        if not 0 < strength < float("inf"):
            raise ValueError(
                f"`{self.argument}` must be a positive number, or 0 for none. "
                f"Received: {self.argument}={strength!r}."
            )
        self.strength = float(strength)
        # Replicas trace in threads of their own.
        self._kept = threading.local()

    def keep(self, value: Any) -> None:
        """Keeps what a forward pass leaves until its loss is computed."""
        self._kept.value = value

    def loss(self, labels: Any, logits: Any) -> Any:
        """Returns the loss of the pass that was kept, a scalar.

        Args:
            labels: of the batch, as `OneVsAllCrossentropy` takes them.
            logits: `(B, classes)`, outputs of the batch.
        """
        raise NotImplementedError

    def taken(self) -> Any:
        """Returns what was kept, once.

        Raises:
            ValueError: if nothing was kept.
        """
        value, self._kept.value = getattr(self._kept, "value", None), None
        if value is None:
            raise ValueError(
                f"`{self.argument}` needs the {self.needed} of the logits' own forward pass. Call "
                "the net with `training=True` first; a subclass hands that on to `CoDANet.call`."
            )
        return value


def mean_absolute(values: Tensor) -> Tensor:
    """Mean absolute entry of `values` `(B, ...)`, a scalar; under replicas, their share of it."""
    # Keras divides its losses by the number of replicas, whose gradients are added up.
    return keras.losses.MeanAbsoluteError(dtype=values.dtype)(ops.zeros_like(values), values)
