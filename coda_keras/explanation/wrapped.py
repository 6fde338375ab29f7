"""Models of Keras that end in dynamic linear layers: wrapped nets, stacks of layers, heads."""

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import keras
from keras import ops

from coda_keras import backend
from coda_keras.backend.types import Tensor
from coda_keras.layers.dynamic_linear import Pullback, linearize


class End:
    """The dynamic linear layers at the end of a model, as `explain` sees a net.

    Attributes:
        chain: the layers in turn.
        classes: int.
        logit_bias: 0.0: layers without a net add no bias.
        variables: of the layers.
    """

    logit_bias = 0.0

    def __init__(self, chain: list[Any], classes: int) -> None:
        self.chain = chain
        self.classes = classes

    @property
    def variables(self) -> list[keras.Variable]:
        return [variable for layer in self.chain for variable in layer.variables]

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        return linearize(self.chain, inputs)


class Parts(NamedTuple):
    """A model in two parts.

    Attributes:
        features: function from the model's inputs to what the end sees.
        end: a `CoDANet`, or an `End`.
    """

    features: Callable[[Tensor], Tensor]
    end: Any


# Of every model, as long as it lives, with the output that was cut: a `Sequential` can change.
_parts: WeakKeyDictionary[Any, tuple[Any, Parts]] = WeakKeyDictionary()


def parts(model: Any) -> Parts:
    """Cuts a model before the dynamic linear layers at its end.

    Args:
        model: a built `keras.Sequential`, or a functional `keras.Model`, with one output.

    Raises:
        ValueError: if it does not end in such layers, or these are no classifier of feature maps.
    """
    output = (getattr(model, "outputs", None) or [None])[0]
    known = None if output is None else _parts.get(model)
    if known is None or known[0] is not output:
        known = _parts[model] = (output, _cut(model))
    return known[1]


def _cut(model):
    outputs = getattr(model, "outputs", None) if getattr(model, "built", False) else None
    if not outputs or len(outputs) != 1:
        raise ValueError(
            f"Expected a CoDANet, or a built Keras model with one output that ends in one or in "
            f"dynamic linear layers. Received: {model!r}. `coda_keras.attribution` has methods for "
            "any classifier."
        )
    chain, tensor = [], outputs[0]
    operation, inputs = _origin(tensor)
    while callable(getattr(operation, "linearize", None)) and len(inputs) == 1:
        chain.insert(0, operation)
        (tensor,) = inputs
        operation, inputs = _origin(tensor)
    if not chain:
        raise ValueError(
            f"Expected a CoDANet. Received: {model!r}, whose logits are no sums of contributions, "
            f"since its last operation {operation.name!r} is not dynamic linear. Let it end in a "
            "CoDANet, or in layers such as DAUConv2D and GlobalSumPooling2D; "
            "`coda_keras.attribution` has methods for any classifier."
        )
    nets = [layer for layer in chain if callable(getattr(layer, "explain", None))]
    if nets and len(chain) > 1:
        raise ValueError(
            f"The CoDANet {nets[0].name!r} has dynamic linear layers before or after it, which the "
            "logits' bias keeps apart. Give them to one CoDANet: CoDANet([*layers, *net.body])."
        )
    if not nets and (len(tensor.shape) != 4 or len(outputs[0].shape) != 2):
        raise ValueError(
            f"The dynamic linear layers of {model.name!r} take features of shape "
            f"{tuple(tensor.shape)} to outputs of shape {tuple(outputs[0].shape)}. Explained are "
            "those that take feature maps (batch, height, width, channels) to logits (batch, "
            "classes): let them begin before any pooling, and end in GlobalSumPooling2D."
        )
    end = nets[0] if nets else End(chain, outputs[0].shape[-1])
    front = keras.Model(model.inputs, tensor)
    compiled = backend.jit(lambda images: front(images, training=False), front)

    def features(images):
        images = ops.convert_to_tensor(images)
        known = backend.is_known(images)
        return compiled(images) if known else front(images, training=False)

    return Parts(features, end)


def _origin(tensor):
    """The operation that a symbolic tensor comes from, and its inputs."""
    operation, node, _ = tensor._keras_history
    inbound = operation._inbound_nodes
    return operation, inbound[node].input_tensors if inbound else []
