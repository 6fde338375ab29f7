"""Networks by name: the paper's with initial weights, and trained ones."""

import math
from typing import TYPE_CHECKING, Any

from coda_keras.layers.dau import DAUConv2D
from coda_keras.models import presets

if TYPE_CHECKING:
    from typing_extensions import Self

LOGIT_BIAS = math.log(0.1 / 0.9)


class FromPreset:
    """What makes a class of nets have presets."""

    @classmethod
    def from_preset(
        cls,
        preset: str,
        classes: int | None = None,
        rescale: str | None = None,
        temperature: float | None = None,
        rank_scale: float | None = None,
        image_size: int | tuple[int, int] | None = None,
        implementation: str = "factored",
        logit_bias: float = LOGIT_BIAS,
        **kwargs: Any,
    ) -> "Self":
        """Builds a network of the paper, or a trained one that comes with the package.

        Args:
            preset: `"s_coda"`, `"m_coda"`, `"l_coda"` or `"xl_coda"` (Table C.1), with initial
                weights; or a name such as `"s_coda_cifar10"`, with trained ones. `presets()` lists
                them all.
            classes: int, number of classes; None for the preset's own (10, 10, 100, 200). A trained
                preset for which it is given keeps its other layers and gets a new last one; the
                net is then named after its architecture.
            rescale: `"squash"` or `"l2"`; None for the preset's own, `"squash"` by default.
            temperature: positive number T; None for the preset's own, 1000 by default.
            rank_scale: positive number by which all ranks are multiplied (Fig. B.2); None for the
                preset's own, 1 by default.
            image_size: int or `(height, width)`; None for the preset's (32, 32, 240, 64).
            implementation: see `DAUConv2D`.
            logit_bias: number b_0.
            **kwargs: `regularisation`, `grid_loss` of `CoDANet`; `name`, `dtype`, ... of
                `keras.Model`.

        Raises:
            ValueError: if there is no such preset, an argument is out of range, or weights were
                trained with another one.

        Example:

        >>> CoDANet.from_preset("s_coda", rank_scale=1 / 8).count_params()
        1076984
        """
        plan = presets.plan(preset, classes, rescale, temperature, rank_scale)
        layers = [
            DAUConv2D(
                *shape,
                rescale=plan.rescale,
                implementation=implementation,
                name=f"dau_{index}",
                dtype=kwargs.get("dtype"),
            )
            for index, shape in enumerate(plan.layers, start=1)
        ]
        kind: Any = cls
        net: Self = kind(
            layers,
            temperature=plan.temperature,
            logit_bias=logit_bias,
            image_size=plan.image_size if image_size is None else image_size,
            **{"name": plan.name, "class_names": plan.class_names, **kwargs},
        )
        for layer, weights in zip(layers, plan.weights):
            layer.set_weights(weights)
        return net

    @staticmethod
    def presets() -> dict[str, presets.Summary]:
        """All names that `from_preset` takes, with sizes and, of trained nets, scores.

        >>> CoDANet.presets()["s_coda"].parameters
        7782816
        """
        return presets.summaries()
