"""Nets that see a view of every image: flipped, or shifted."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.layers import views
from coda_keras.layers.composition import checked_members
from coda_keras.layers.encoding import encode
from coda_keras.layers.offset import OffsetPullback, Pullback, pull
from coda_keras.models.dynamic_linear_net import DynamicLinearNet
from coda_keras.utils.arguments import one_of
from coda_keras.utils.registration import PACKAGE


class View(DynamicLinearNet):
    """Base class of nets that see a linear view of the encoded image.

    With V the matrix of the view, `logits = b_0 + W(V x) V x`. So the pullback is that of the net
    and then the transpose of the view: contributions are those of the pixels of the image itself.

    Args:
        net: a net with `linearize`, such as a `CoDANet`.
        **kwargs: `name`, `dtype`, ... of `keras.Model`.
    """

    def __init__(self, net: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        (self.net,) = checked_members([net])
        self.adopt()

    @property
    def parts(self) -> list[Any]:
        return [self.net]

    def see(self, encoded: Tensor) -> Tensor:
        """Returns the view of encoded images `(B, H, W, 6)`."""
        raise NotImplementedError

    def see_back(self, cotangent: Tensor) -> Tensor:
        """The transpose of `see`."""
        raise NotImplementedError

    def call(self, images: Tensor) -> Tensor:
        return self.net(self.see(encode(images)))

    def linearize(self, images: Tensor) -> tuple[Tensor, Pullback]:
        encoded = encode(ops.convert_to_tensor(images))
        outputs, pullback = self.net.linearize(self.see(encoded))

        def pulled(cotangent):
            values, offset = pull(pullback, cotangent)
            return self.see_back(values), offset

        return outputs, OffsetPullback(pulled)

    def get_config(self) -> dict[str, Any]:
        return {**self.base_config(), "net": keras.saving.serialize_keras_object(self.net)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "View":
        net = config["net"]
        if isinstance(net, dict):
            net = keras.saving.deserialize_keras_object(net)
        return cls(**{**config, "net": net})


@keras.saving.register_keras_serializable(PACKAGE)
class Flipped(View):
    """A net that sees images with left and right swapped.

    Args:
        net: a net with `linearize`, such as a `CoDANet`.
        **kwargs: `name`, `dtype`, ... of `keras.Model`.

    Example:

    >>> net = CoDANet([DAUConv2D(5, 8, 3)], temperature=10, image_size=8)
    >>> Flipped(net).explain(np.zeros((2, 8, 8, 3), "float32")).numpy().contribution_map.shape
    (2, 8, 8)
    """

    def see(self, encoded: Tensor) -> Tensor:
        return views.flip(encoded)

    def see_back(self, cotangent: Tensor) -> Tensor:
        return views.flip(cotangent)


@keras.saving.register_keras_serializable(PACKAGE)
class Shifted(View):
    """A net that sees images moved by some pixels.

    Args:
        net: a net with `linearize`, such as a `CoDANet`.
        rows, columns: int, by how many pixels down and to the right; up and left where negative.
        fill: what comes in at a border: `"reflect"`, the image reflected about its border pixels,
            or `"zeros"`, six zeros a pixel, which is no evidence.
        **kwargs: `name`, `dtype`, ... of `keras.Model`.

    Raises:
        ValueError: if an argument is out of range; on a call if the images are no larger than the
            shift.
    """

    def __init__(
        self, net: Any, rows: int = 0, columns: int = 0, fill: str = "reflect", **kwargs: Any
    ) -> None:
        for name, value in (("rows", rows), ("columns", columns)):
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise ValueError(f"`{name}` must be an integer. Received: {name}={value!r}.")
        self.rows, self.columns = int(rows), int(columns)
        self.fill = one_of("fill", fill, views.FILLS)
        super().__init__(net, **kwargs)

    def see(self, encoded: Tensor) -> Tensor:
        return views.shift(encoded, self.rows, self.columns, self.fill)

    def see_back(self, cotangent: Tensor) -> Tensor:
        return views.shift_transposed(cotangent, self.rows, self.columns, self.fill)

    def get_config(self) -> dict[str, Any]:
        own = {"rows": self.rows, "columns": self.columns, "fill": self.fill}
        return {**super().get_config(), **own}


def unwrapped(net: Any) -> tuple[list[View], Any]:
    """The views around a net, the outermost first, and the net inside of them."""
    around: list[View] = []
    while isinstance(net, View):
        around.append(net)
        net = net.net
    return around, net


def serialized(around: Sequence[View]) -> list[dict[str, Any]]:
    """Views without what they look at."""
    return [
        {
            "class_name": keras.saving.get_registered_name(type(view)),
            "config": {key: value for key, value in view.get_config().items() if key != "net"},
        }
        for view in around
    ]


def deserialized(configs: Sequence[dict[str, Any]], net: Any) -> Any:
    """The net inside of views as `serialized` describes them."""
    for view in reversed(configs):
        cls = keras.saving.get_registered_object(view["class_name"])
        net = cls.from_config({**view["config"], "net": net})
    return net
