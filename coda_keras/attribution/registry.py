"""Every attribution method as a row of data: all that tables, charts and commands know of it.

The classes are imported when they are asked for, so that names and labels need no framework.
"""

import colorsys
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import numpy as np

from coda_keras.utils import arguments

if TYPE_CHECKING:
    from coda_keras.attribution.base import Attribution

PACKAGE = "coda_keras.attribution"

# The cost of a map, in evaluations of the model: a few for a batch of images, hundreds that fill
# batches from a single image, or so many random variants that a study affords few images.
COSTS = ("batched", "masking", "sampling")


@dataclass(frozen=True)
class Method:
    """A row.

    Attributes:
        name: str, by which `attribution.get` and commands know the method.
        target: str, module and class: `"gradcam:GradCAM"` is that of attribution/gradcam.py.
        label: str in tables and figures.
        colour: str, in every chart.
        cost: one of `COSTS`.
        published: the method's name in the results that the authors released, if they did.
        package: name of the package that it needs, of those the library does not require.
        same_on_coda: name of the method whose maps it has on a `CoDANet`, if there is one.
        inherent: bool, whether it needs a model that explains itself.
        signed: bool; maps of other methods have no zero that separates for from against.
        strong: bool, whether it is among the strongest, which Fig. 8 sets side by side.
        argument: name of the argument that a number at the end of the name sets (`occlusion_9`),
            which the label then ends with too.
        sizes: the numbers that a study of all methods takes.
        colours: dict from size to colour, for the sizes that have a colour of their own.
        published_sizes: dict from size to `published`, for the sizes that the authors released.
        arguments: dict of arguments of `make`.
        family: of a sized method of one size: its key in `METHODS`.
    """

    name: str
    target: str
    label: str
    colour: str
    cost: str = "batched"
    published: str | None = None
    package: str | None = None
    same_on_coda: str | None = None
    inherent: bool = False
    signed: bool = True
    strong: bool = False
    argument: str | None = None
    sizes: tuple[int, ...] = ()
    colours: Mapping[int, str] = field(default_factory=dict)
    published_sizes: Mapping[int, str] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    family: str | None = None

    @property
    def make(self) -> type["Attribution"]:
        """The `Attribution` class."""
        return resolve_name(f"{PACKAGE}.{self.target}")

    def of_size(self, size: int) -> "Method":
        """Returns the row of a sized method for one size."""
        return replace(
            self,
            name=f"{self.name}_{size}",
            label=f"{self.label}{size}",
            colour=self.colours.get(size) or _shade(size),
            published=self.published_sizes.get(size),
            arguments={**self.arguments, self.argument: size},
            argument=None,
            family=self.name,
        )


ROWS = (
    Method(
        "contributions",
        "contributions:Contributions",
        "Ours",
        "#d62728",
        published="Ours",
        inherent=True,
        strong=True,
    ),
    Method("gradient", "gradient:Gradient", "Grad", "#9467bd", published="Grad"),
    Method(
        "smooth_gradient",
        "smooth_gradient:SmoothGradient",
        "SmoothGrad",
        "#c5b0d5",
        cost="sampling",
    ),
    Method(
        "input_x_gradient", "input_x_gradient:InputXGradient", "IxG", "#17becf", published="IxG"
    ),
    Method(
        "integrated_gradients",
        "integrated_gradients:IntegratedGradients",
        "IntGrad",
        "#1f77b4",
        published="IntGrad",
    ),
    Method(
        "deeplift",
        "deeplift:DeepLIFT",
        "DeepLIFT",
        "#7f7f7f",
        published="DeepLIFT",
        package="shap",
        same_on_coda="input_x_gradient",
    ),
    Method("gradcam", "gradcam:GradCAM", "GradCAM", "#2ca02c", published="GCam", strong=True),
    Method("gradcam_plus_plus", "gradcam_plus_plus:GradCAMPlusPlus", "GradCAM++", "#98df8a"),
    Method(
        "occlusion",
        "occlusion:Occlusion",
        "Occ",
        "#ff9f40",
        cost="masking",
        strong=True,
        argument="patch_size",
        sizes=(5, 9),
        # Their code hides one pixel less along an axis than the name says (docs/attribution.md).
        published_sizes={4: "Occ5", 8: "Occ9"},
        colours={5: "#ff9f40", 9: "#a0522d"},
    ),
    Method("rise", "rise:RISE", "RISE", "#e377c2", cost="sampling", signed=False, strong=True),
    Method("lime", "lime:LIME", "LIME", "#a8a915", cost="sampling", package="lime", strong=True),
)

METHODS = {row.name: row for row in ROWS}

# What a study of all methods takes.
STUDIED = tuple(
    name for row in ROWS for name in ([f"{row.name}_{k}" for k in row.sizes] or [row.name])
)


def find(name: str) -> Method:
    """Returns the row of a method.

    Args:
        name: a key of `METHODS`, or that of a sized method with its size: `"occlusion_7"`.

    Raises:
        ValueError: if there is no such method.

    Example:

    >>> find("occlusion_7").label, find("gradient").label
    ('Occ7', 'Grad')
    """
    sized = re.fullmatch(r"(.+)_([1-9]\d*)", name)
    if sized and sized[1] in METHODS and METHODS[sized[1]].argument:
        return METHODS[sized[1]].of_size(int(sized[2]))
    if name not in METHODS:
        known = [f"{row.name}_K for any K" if row.argument else row.name for row in ROWS]
        raise ValueError(
            f"Unknown attribution method: {name!r}. Expected one of {', '.join(known)}."
        )
    return METHODS[name]


def label_of(method: "Attribution") -> str:
    """Returns the label of a method object: of its class, or of the one that it derives from."""
    rows = {f"{PACKAGE}.{row.target}": row for row in ROWS}
    for base in type(method).__mro__:
        row = rows.get(f"{base.__module__}:{base.__name__}")
        if row is not None:
            size = getattr(method, row.argument) if row.argument else ""
            return f"{row.label}{size}"
    return ""


def get(name: str, **kwargs: Any) -> "Attribution":
    """Makes a method by its name.

    Args:
        name: a key of `METHODS`, or `"occlusion_K"` for windows of K pixels.
        **kwargs: arguments of the method; their defaults are the paper's.

    Returns:
        An `Attribution`.

    Raises:
        ValueError: if there is no such method, or it has no such argument.

    Example:

    >>> get("integrated_gradients", steps=10).label
    'IntGrad'
    """
    row = find(name)
    arguments.check(name, row.make, kwargs)
    return row.make(**{**row.arguments, **kwargs})


def maps(
    model: Any, images: Any, class_ids: Any, method: str = "contributions", **kwargs: Any
) -> np.ndarray:
    """Explains logits of classes by a method given by its name, once.

    For many calls make the method by `get` and call it: it compiles once per model.

    Args:
        model: a `CoDANet`, or any Keras model `(B, H, W, 3) -> (B, classes)` logits.
        images: `(B, H, W, 3)` RGB, or `(B, H, W, 6)` already encoded for a `CoDANet`.
        class_ids: `(B,)` or `(B, n)` integers, or one integer for all images.
        method: a name as for `get`.
        **kwargs: arguments of the method.

    Returns:
        `(B, H, W)` or `(B, n, H, W)` signed float32 NumPy maps.
    """
    return get(method, **kwargs)(model, images, class_ids)


def _shade(size):
    # Muted, so that it is no other method's colour; the golden angle keeps neighbours apart.
    red, green, blue = colorsys.hls_to_rgb(size * 0.618 % 1, 0.38, 0.4)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
