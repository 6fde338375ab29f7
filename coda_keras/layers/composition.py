"""Layers made of layers: in turn, beside each other, and around a shortcut.

Products and sums of dynamic matrices are dynamic matrices, so all three are dynamic linear, and so
is whatever is made of them. Added constants of the layers inside are carried through.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.layers.dynamic_linear import (
    DynamicLinear,
    Pullback,
    ReceptiveField,
    linearize,
    receptive_field,
)
from coda_keras.layers.offset import OffsetPullback, pull
from coda_keras.utils.arguments import one_of
from coda_keras.utils.registration import PACKAGE

Layers = Any


@keras.saving.register_keras_serializable(PACKAGE)
class Chain(DynamicLinear):
    """Layers in turn, as one: `W(x) = W_n ... W_2 W_1`.

    Args:
        layers: list of layers with `linearize`; an empty one is the identity.

    Raises:
        ValueError: if a layer has no `linearize`.

    Example:

    >>> layer = Chain([DAUConv2D(8, 4, 3), DAUConv2D(5, 4, 1)])
    >>> ops.shape(layer(np.ones((2, 6, 6, 3), "float32")))
    (2, 6, 6, 5)
    """

    def __init__(self, layers: Iterable[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.members = checked_members(layers)

    @property
    def receptive_field(self) -> ReceptiveField | None:
        return receptive_field(self.members)

    def build(self, input_shape: Sequence[int | None]) -> None:
        shape = tuple(input_shape)
        for layer in self.members:
            if not layer.built:
                layer.build(shape)
            shape = _output_shape(layer, shape)
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        outputs = reduce(lambda values, layer: layer(values), self.members, inputs)
        return ops.cast(outputs, self.compute_dtype)

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        outputs, pullback = linearize(self.members, self.prepare(inputs))
        dtype = outputs.dtype

        def pulled(cotangent):
            values, offset = pull(pullback, ops.cast(cotangent, dtype))
            return ops.cast(values, self.compute_dtype), offset

        return ops.cast(outputs, self.compute_dtype), OffsetPullback(pulled)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return reduce(
            lambda shape, layer: _output_shape(layer, shape), self.members, tuple(input_shape)
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layers": _serialized(self.members)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Chain":
        return cls(**{**config, "layers": _deserialized(config["layers"])})


@keras.saving.register_keras_serializable(PACKAGE)
class Parallel(DynamicLinear):
    """Branches that see the same input; their outputs are concatenated or added.

    Args:
        branches: list of branches. Each is a layer with `linearize`, or a list of such layers
            in turn; an empty list passes the input on.
        merge: `"concatenate"` along the channels, or `"sum"`.

    Output shape:
        That of the branches, but for the channels if these are concatenated.

    Raises:
        ValueError: if there is no branch, a layer has no `linearize`, or shapes do not fit.

    Example:

    >>> layer = Parallel([[], DAUConv2D(8, 4, 3)])
    >>> ops.shape(layer(np.ones((2, 6, 6, 3), "float32")))
    (2, 6, 6, 11)
    """

    def __init__(
        self, branches: Iterable[Layers], merge: str = "concatenate", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.branches = [self._branch(branch) for branch in branches]
        if not self.branches:
            raise ValueError("`branches` is empty. Expected at least one branch.")
        self.merge = one_of("merge", merge, ["concatenate", "sum"])

    @property
    def receptive_field(self) -> ReceptiveField | None:
        fields = [getattr(branch, "receptive_field", None) for branch in self.branches]
        known = [field for field in fields if field is not None]
        if len(known) < len(fields) or len({field.stride for field in known}) > 1:
            return None
        first = min(field.offset for field in known)
        last = max(field.offset + field.size for field in known)
        return ReceptiveField(last - first, known[0].stride, first)

    def build(self, input_shape: Sequence[int | None]) -> None:
        for branch in self.branches:
            if not branch.built:
                branch.build(input_shape)
        self.compute_output_shape(input_shape)
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        return self._merged([branch(inputs) for branch in self.branches])

    def linearize(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        inputs = self.prepare(inputs)
        outputs, pullbacks = zip(*(branch.linearize(inputs) for branch in self.branches))

        def pulled(cotangent):
            total: Any = 0.0
            offsets: Any = 0.0
            for part, values, pullback in zip(self._split(cotangent, outputs), outputs, pullbacks):
                values, offset = pull(pullback, ops.cast(part, values.dtype))
                total = total + ops.cast(values, self.compute_dtype)
                offsets = offsets + offset
            return total, offsets

        return self._merged(outputs), OffsetPullback(pulled)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        shapes = [_output_shape(branch, input_shape) for branch in self.branches]
        compared = [shape if self.merge == "sum" else shape[:-1] for shape in shapes]
        if len(set(compared)) > 1:
            raise ValueError(
                f"The branches of {self.name!r} return different shapes for inputs of shape "
                f"{tuple(input_shape)}: {shapes}."
            )
        if self.merge == "sum":
            return shapes[0]
        channels = [shape[-1] for shape in shapes]
        return (*shapes[0][:-1], None if None in channels else sum(channels))

    def get_config(self) -> dict[str, Any]:
        branches = _serialized(self.branches)
        return {**super().get_config(), "branches": branches, "merge": self.merge}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Parallel":
        return cls(**{**config, "branches": _deserialized(config["branches"])})

    def _branch(self, branch):
        if isinstance(branch, (list, tuple)):
            return Chain(branch, dtype=self.dtype_policy)
        return checked_members([branch])[0]

    def _merged(self, outputs):
        outputs = [ops.cast(values, self.compute_dtype) for values in outputs]
        if self.merge == "sum":
            return sum(outputs[1:], outputs[0])
        return ops.concatenate(outputs, axis=-1)

    def _split(self, cotangent, outputs):
        if self.merge == "sum":
            return [cotangent] * len(outputs)
        first, parts = 0, []
        for values in outputs:
            parts.append(cotangent[..., first : first + values.shape[-1]])
            first += values.shape[-1]
        return parts


@keras.saving.register_keras_serializable(PACKAGE)
class Residual(Parallel):
    """Layers in turn, and a shortcut around them that is added: `W(x) = W_layers + W_shortcut`.

    Args:
        layers: list of layers with `linearize`, or one layer.
        shortcut: layer or list of layers from the input to the sum; None for the identity.

    Raises:
        ValueError: if a layer has no `linearize`, or both ways return different shapes.

    Example:

    >>> layer = Residual([DAUConv2D(8, 4, 3), DAUConv2D(3, 4, 3)])
    >>> ops.shape(layer(np.ones((2, 6, 6, 3), "float32")))
    (2, 6, 6, 3)
    """

    def __init__(self, layers: Layers, shortcut: Layers | None = None, **kwargs: Any) -> None:
        super().__init__([layers, [] if shortcut is None else shortcut], merge="sum", **kwargs)
        self._identity = shortcut is None

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        layers, shortcut = config.pop("branches")
        del config["merge"]
        return {**config, "layers": layers, "shortcut": None if self._identity else shortcut}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Residual":
        (layers,) = _deserialized([config["layers"]])
        shortcut = config["shortcut"] and _deserialized([config["shortcut"]])[0]
        return cls(**{**config, "layers": layers, "shortcut": shortcut})


def checked_members(layers: Iterable[Any]) -> list[Any]:
    """The layers as a list; raises ValueError if one has no `linearize`."""
    layers = list(layers)
    for layer in layers:
        if not callable(getattr(layer, "linearize", None)):
            raise ValueError(
                f"Layer {layer!r} has no `linearize` method. Every layer of a CoDANet must "
                "return `(outputs, pullback)` from `linearize(inputs)`; see "
                "`coda_keras.DynamicLinear`."
            )
    return layers


def _output_shape(layer, input_shape):
    # Of a layer without `compute_output_shape` by tracing it.
    return tuple(layer.compute_output_spec(keras.KerasTensor(input_shape)).shape)


def _serialized(layers):
    return [keras.saving.serialize_keras_object(layer) for layer in layers]


def _deserialized(configs):
    return [keras.saving.deserialize_keras_object(config) for config in configs]
