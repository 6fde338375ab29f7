"""The regularised linear map: `λ mean |W_{0->L}(x)|`, added to the loss (eq. 10)."""

from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.layers.dynamic_linear import Pullback
from coda_keras.models.loss_term import LossTerm, mean_absolute
from coda_keras.utils.labels import one_hot_labels


class MapPenalty(LossTerm, keras.layers.Layer):
    """`λ mean |W_{0->L}(x)|` over the rows of the true class and of one other class (eq. 10, C.1).

    The other class is drawn anew for every image and step. W is the map from the encoded image to
    the logits less b_0, as explanations show it, and so contains 1/T. It comes from the very
    `linearize` that gave the logits and consists of forward operations: two pullbacks are all that
    it adds to a forward pass, and gradients need no second derivative of autodiff.

    A `CoDANet` with a `regularisation` has one. Its random state lies in the net's `.keras` file,
    so that a training that goes on draws what an uninterrupted one draws.

    Args:
        strength: positive number λ.

    Raises:
        ValueError: if `strength` is not positive.
    """

    argument, needed = "regularisation", "pullback"

    def __init__(self, strength: float, **kwargs: Any) -> None:
        keras.layers.Layer.__init__(self, **kwargs)
        LossTerm.__init__(self, strength)
        self.draws = keras.random.SeedGenerator()
        self.built = True

    def loss(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Returns the penalty of the forward pass whose pullback was kept, a scalar.

        Args:
            labels: as `OneVsAllCrossentropy` takes them.
            logits: `(B, classes)`, outputs of that pass.

        Raises:
            ValueError: if there is only one class, or no pullback was kept.
        """
        pullback = self.taken()
        classes = logits.shape[-1]
        if classes < 2:
            raise ValueError("`regularisation` needs at least two classes. Received: one.")
        true = ops.argmax(one_hot_labels(labels, logits), axis=-1)
        steps = keras.random.randint(ops.shape(true), 1, classes, seed=self.draws)
        other = (ops.cast(true, steps.dtype) + steps) % classes
        return self.strength * mean_weights(pullback, [true, other], logits)

    def save_own_variables(self, store: dict) -> None:
        store["draws"] = ops.convert_to_numpy(self.draws.state)

    def load_own_variables(self, store: dict) -> None:
        self.draws.state.assign(store["draws"])


def mean_weights(pullback: Pullback, class_ids: list[Tensor], logits: Tensor) -> Tensor:
    """Mean absolute entry of rows of `W_{0->L}`; under replicas, their share of it.

    Args:
        pullback: of a net, from cotangents `(B, classes)` to `(B, H, W, 6)`.
        class_ids: list of integers `(B,)`, the rows of every image.
        logits: `(B, classes)`, for their shape and dtype.
    """
    cotangents = [ops.one_hot(ids, logits.shape[-1], dtype=logits.dtype) for ids in class_ids]
    rows = ops.cast(ops.stack([pullback(one) for one in cotangents]), logits.dtype)
    return mean_absolute(rows)
