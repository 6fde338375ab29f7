"""Looking into a model while it runs: the outputs of a layer seen, or replaced."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras


@contextmanager
def intercepted(layer: keras.layers.Layer, change: Callable[[Any], Any]) -> Iterator[None]:
    """While it lasts, `layer` returns `change(outputs)`; works for any kind of Keras model.

    Blocks can be nested, also about one layer: the inner change is applied to what the outer one
    returns.

    Args:
        layer: a layer of a model that is called inside the block.
        change: takes the outputs of the layer's `call` and returns what takes their place.
    """
    own = vars(layer).get("call")
    original = layer.call
    layer.call = lambda *args, **kwargs: change(original(*args, **kwargs))
    try:
        yield
    finally:
        if own is None:
            del layer.call
        else:
            layer.call = own
