"""Averages of nets, whose explanations are averages too; test-time augmentation is one of them."""

import functools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import keras
from keras import ops

from coda_keras.backend.types import Tensor
from coda_keras.layers.composition import checked_members
from coda_keras.layers.encoding import encode
from coda_keras.layers.offset import OffsetPullback, Pullback, pull
from coda_keras.models import views
from coda_keras.models.dynamic_linear_net import DynamicLinearNet
from coda_keras.models.views import Flipped, Shifted
from coda_keras.utils.arguments import one_of
from coda_keras.utils.registration import PACKAGE

# A small file can name one net many times, each of which computes.
MAX_MEMBERS = 1024


@keras.saving.register_keras_serializable(PACKAGE)
class Ensemble(DynamicLinearNet):
    """The weighted mean of the logits of nets.

    `logits = sum_i s_i (b_i + W_i(x) x)`, which is `b + W(x) x` with the means of b_i and W_i. So
    it is one net with one exact contribution map. Probabilities are those of the mean logits.

    Args:
        members: list of nets with `linearize` and as many classes, such as `CoDANet`, `Flipped`
            and `Shifted`. One net may be in several of them; its weights are stored once.
        weights: list of numbers s_i that sum to 1, one for every member; None for equal ones.
        **kwargs: `name`, `dtype`, ... of `keras.Model`.

    Raises:
        ValueError: if there is no member, or more than 1024, members have other classes or image
            sizes, or the weights do not fit.

    Example:

    >>> net = CoDANet([DAUConv2D(5, 8, 3)], temperature=10, image_size=8)
    >>> both = Ensemble([net, Flipped(net)])
    >>> both.count_params() == net.count_params()
    True
    >>> both.explain(np.zeros((2, 8, 8, 3), "float32")).numpy().contribution_map.shape
    (2, 8, 8)
    """

    def __init__(
        self, members: Iterable[Any], weights: Sequence[float] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.members = checked_members(members)
        count = len(self.members)
        if not 0 < count <= MAX_MEMBERS:
            raise ValueError(
                f"`members` has {count} nets. Expected at least one and at most {MAX_MEMBERS}."
            )
        shares = [1 / count] * count if weights is None else [float(share) for share in weights]
        if len(shares) != count or not math.isclose(sum(shares), 1, abs_tol=1e-6):
            raise ValueError(
                f"`weights` must be {count} numbers that sum to 1. Received: weights={weights!r}."
            )
        self.shares = tuple(shares)
        self.adopt(self.shares)

    @property
    def parts(self) -> list[Any]:
        return list(self.members)

    def call(self, images: Tensor) -> Tensor:
        encoded = encode(images)
        return self._mean([member(encoded) for member in self.members])

    def linearize(self, images: Tensor) -> tuple[Tensor, Pullback]:
        encoded = encode(ops.convert_to_tensor(images))
        outputs, pullbacks = zip(*(member.linearize(encoded) for member in self.members))

        def pulled(cotangent: Tensor) -> tuple[Tensor, Tensor | float]:
            parts: Any = [
                pull(one, share * cotangent) for one, share in zip(pullbacks, self.shares)
            ]
            return _total(rows for rows, _ in parts), _total(offset for _, offset in parts)

        return self._mean(outputs), OffsetPullback(pulled)

    def _mean(self, outputs):
        return _total(share * values for share, values in zip(self.shares, outputs))

    def get_config(self) -> dict[str, Any]:
        # A net of several members is written once.
        nets, members = [], []
        for member in self.members:
            around, net = views.unwrapped(member)
            if not any(net is one for one in nets):
                nets.append(net)
            number = next(i for i, one in enumerate(nets) if net is one)
            members.append({"net": number, "views": views.serialized(around)})
        return {
            **self.base_config(),
            "nets": [keras.saving.serialize_keras_object(net) for net in nets],
            "members": members,
            "weights": list(self.shares),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Ensemble":
        config = dict(config)
        nets = [keras.saving.deserialize_keras_object(net) for net in config.pop("nets")]
        config["members"] = [
            views.deserialized(member["views"], nets[member["net"]]) for member in config["members"]
        ]
        return cls(**config)


def _with_flips(net):
    return Ensemble([net, Flipped(net)])


def _with_shifts(net):
    """The net, and it moved by a pixel along the diagonal either way; each flipped too."""
    members = [net, *(Shifted(net, by, by) for by in (1, -1))]
    shares = [0.25, 0.125, 0.125]
    return Ensemble([*members, *map(Flipped, members)], [*shares, *shares])


# What test-time augmentation makes of a net.
VIEWS = {"flip": _with_flips, "shifts": _with_shifts}


def with_views(net: Any, name: str) -> Ensemble:
    """The mean of what a net says about views of an image.

    Args:
        net: a net with `linearize`, such as a `CoDANet`.
        name: `"flip"` for the image and its mirror image; `"shifts"` for both, and both moved by a
            pixel along the diagonal either way, which together weigh as much.
    """
    return VIEWS[one_of("views", name, sorted(VIEWS))](net)


def _total(values: Iterable[Any]) -> Any:
    return functools.reduce(operator.add, values)
