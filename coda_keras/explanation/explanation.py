"""Explanations: rows of W_{0->L}(x) and the contributions of every pixel (eq. 7 and 8).

Only the protocol is used here, no layer in particular.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic

import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.backend.types import Tensor
from coda_keras.explanation.class_ids import ClassIds
from coda_keras.explanation.computing import computed, computed_by_compiled, computed_in_parts
from coda_keras.explanation.tensors import Array, Tensors
from coda_keras.explanation.wrapped import parts
from coda_keras.layers.encoding import encode
from coda_keras.utils.arguments import positive_int

# Logits closer to the bias than this are taken for that far, in `completeness_error`.
COMPLETENESS_FLOOR = 0.01


def completeness_error(residual: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Returns `|residual| / max(|linear|, 0.01)`, how incomplete explanations are.

    Args:
        residual: NumPy array, logits minus bias minus the sum of the contributions.
        linear: array of the same shape, logits without the bias.
    """
    return np.abs(residual) / np.maximum(np.abs(linear), COMPLETENESS_FLOOR)


def is_inherent(model: Any) -> bool:
    """Whether a model has an `explain`, as a `CoDANet`, and so sees six-channel images."""
    return callable(getattr(model, "explain", None))


def require_inherent(model: Any) -> None:
    """Raises ValueError for a model that is no `CoDANet`."""
    if not is_inherent(model) or not hasattr(model, "linearize"):
        inner = [layer.name for layer in getattr(model, "layers", ()) if is_inherent(layer)]
        advice = "`coda_keras.attribution` has methods for any classifier."
        reason = f"whose logits are no sums of contributions. {advice}"
        if inner:
            reason = (
                f"which wraps one: give model.get_layer({inner[0]!r}), and images as it sees them."
            )
        raise ValueError(f"Expected a CoDANet. Received: {model!r}, {reason}")


# Arrays cannot be compared by `==`, so that explanations are equal if they are the same.
@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Tensors, Generic[Array]):
    """Logits and what every pixel contributed to them; notebooks show the first maps.

    `len(explanation)` is the number of images, and `explanation[2]`, `explanation[:8]` and
    `explanation[[5, 0]]` are explanations of some of them. `explanation.save("cat.npz")` and
    `Explanation.load("cat.npz")` keep one in a file. Code compiled by `tf.function`, `jax.jit` and
    `torch.compile` may take and return explanations.

    Shapes are for `class_ids` of shape `(B,)`; with n classes an image all arrays but `logits`
    and `bias` have an axis `n` after the batch.

    Attributes:
        logits: `(B, classes)`.
        class_ids: `(B,)`, the classes explained, int32.
        weights: `(B, H, W, 6)`, rows of `W_{0->L}(x)` (eq. 7).
        contributions: `(B, H, W, 6)`, weights times the encoded image (eq. 8), in logits.
        contribution_map: `(B, H, W)`, contributions summed over the channels.
        bias: scalar b_0.
        residual: `(B,)`, logit minus bias, offset and the sum of contributions: rounding only.
        offset: `(B,)`, what constants added inside of layers (see `with_offset`) contribute to the
            logit; 0 for nets of `DAUConv2D`.
        class_names: names of all classes, by class id; None where the net has none.

    Example:

    >>> net = CoDANet([DAUConv2D(2, 4, 3)], temperature=10, class_names=["cat", "dog"])
    >>> explanation = net.explain(np.zeros((5, 9, 9, 3), "float32"), 1).numpy()
    >>> len(explanation), explanation[:2].contribution_map.shape, explanation.names[0]
    (5, (2, 9, 9), 'dog')
    """

    axes: ClassVar[dict[str, str]] = {
        "logits": "BK",
        "class_ids": "B*",
        "weights": "B*HWC",
        "contributions": "B*HWC",
        "contribution_map": "B*HW",
        "bias": "",
        "residual": "B*",
        "offset": "B*",
    }

    logits: Array
    class_ids: Array
    weights: Array
    contributions: Array
    contribution_map: Array
    bias: Array
    residual: Array
    offset: Array | None = None
    class_names: tuple[str, ...] | None = None

    def numpy(self) -> "Explanation[np.ndarray]":
        """Returns the same with NumPy arrays instead of backend tensors; None stays None."""
        return super().numpy()

    @property
    def names(self) -> list[Any]:
        """Names of the classes explained, such as for titles: B strings, or B lists of n strings.

        Without `class_names` they are "class 3" and so on.
        """
        ids = ops.convert_to_numpy(self.class_ids)
        known = self.class_names or [f"class {i}" for i in range(ids.max(initial=-1) + 1)]
        return np.array(known, object)[ids].tolist()

    @property
    def completeness_error(self) -> np.ndarray:
        """`|residual| / max(|logit - b_0|, 0.01)`, a NumPy array of the shape of `residual`.

        Needs `logits`, `class_ids`, `bias` and `residual`.
        """
        logits, class_ids = map(ops.convert_to_numpy, (self.logits, self.class_ids))
        ids = class_ids.reshape(len(logits), -1)
        explained = np.take_along_axis(logits, ids, axis=1).reshape(class_ids.shape)
        bias = ops.convert_to_numpy(self.bias)
        return completeness_error(ops.convert_to_numpy(self.residual), explained - bias)

    def show(
        self,
        images: Tensor,
        class_names: Sequence[str] | None = None,
        net: Any = None,
        **options: Any,
    ) -> Any:
        """Returns the explorer of this explanation, which notebooks display.

        Args:
            images: the images explained, `(B, H, W, 3)` or `(B, H, W, 6)`.
            class_names: names of the classes, by class id; None for `self.class_names`, and
                without them for numbers.
            net: the net, to ask it again when pixels are taken away; needs the package anywidget.
            **options: `title` and `height` of `coda_keras.explorer.show`; `labels` and `names` of
                `coda_keras.explorer.View`.

        Raises:
            ValueError: if the images or names do not fit, or an option is unknown.
        """
        from coda_keras.explanation import display

        return display.show(self, images, class_names, net, **options)


backend.register_tree(Explanation)


def explain(
    net: Any, images: Tensor, class_ids: ClassIds = None, batch_size: int | None = None
) -> Explanation[Tensor]:
    """Explains logits of a `CoDANet`.

    Like `predict` of Keras an eager call compiles at the first call for a net and a shape, unless
    the net was compiled with `run_eagerly=True`. Inside code that is compiled (`tf.function`,
    `jax.jit`) it becomes part of that.

    A Keras model, `Sequential` or functional, that ends in a `CoDANet` is explained as that net is,
    by the images that reach it. One that ends in dynamic linear layers, such as a stack of
    `DAUConv2D` or a head of them on a backbone, is explained down to what the first of them takes
    and no further: `weights` and `contributions` have the channels of those features, and a map
    has their height and width. Its bias is 0.

    Args:
        net: a `CoDANet`, an `Ensemble` or another `DynamicLinearNet`, or such a model.
        images: `(B, H, W, 3)` in [0, 1], or `(B, H, W, 6)` encoded; what such a model takes.
        class_ids: the classes to explain: `(B,)` or `(B, n)` integers, one integer for all images,
            `"all"`, or None for the predicted class.
        batch_size: int, how many images are explained at a time, which bounds the memory; None
            for all at once, as in compiled code.

    Returns:
        An `Explanation`; for every image and class
        `logits[class] = bias + sum(contributions) + offset + residual`. Where compiled code meets a
        class id out of range, the weights, contributions and residual of that id are NaN; graphs
        of TensorFlow raise `InvalidArgumentError` unless compiled by XLA.

    Raises:
        ValueError: if the net is no `CoDANet` and does not end as said, the images are no batch
            with values in [0, 1], or the class ids do not fit them or are out of range. Values are
            checked in eager calls; see `unchecked`.

    Example:

    >>> net = CoDANet([DAUConv2D(2, 4, 3)], temperature=10)
    >>> images = np.random.default_rng(0).uniform(size=(5, 9, 9, 3)).astype("float32")
    >>> explanation = explain(net, images).numpy()
    >>> sums = explanation.bias + explanation.contribution_map.sum(axis=(1, 2))
    >>> np.allclose(sums, explanation.logits.max(axis=1), atol=1e-5)
    True
    """
    model = net
    if hasattr(net, "linearize"):
        inputs = encoded_batch(net, images)
    else:
        features, net = parts(model)
        inputs = features(images)
        if is_inherent(net):
            inputs = encoded_batch(net, inputs)
    known = backend.is_known(inputs)
    compute = computed if model.run_eagerly or not known else computed_by_compiled
    if batch_size is not None and positive_int("batch_size", batch_size) and known:
        tensors = computed_in_parts(compute, net, inputs, class_ids, batch_size)
    else:
        tensors = compute(net, inputs, class_ids)
    return Explanation(**tensors, class_names=known_class_names(net))


def known_class_names(net: Any) -> tuple[str, ...] | None:
    """The names of a built net's classes; None where it does not have one for each."""
    names = getattr(net, "class_names", None)
    return tuple(names) if names is not None and len(names) == net.classes else None


def encoded_batch(net: Any, images: Tensor) -> Tensor:
    """Images as a net explains them, `(B, H, W, 6)`; builds a net that is not built yet.

    Raises:
        ValueError: if the net is no `CoDANet`, or the images are no batch of at least one.
    """
    require_inherent(net)
    images = ops.convert_to_tensor(images)
    if len(images.shape) != 4:
        single = len(images.shape) == 3 and images.shape[-1] in (3, 6)
        advice = " Give a single image as image[None]." if single else ""
        raise ValueError(
            "Expected a batch of images (batch, height, width, 3 or 6). "
            f"Received shape {tuple(images.shape)}.{advice}"
        )
    if images.shape[0] == 0:
        raise ValueError(f"Expected at least one image. Received shape {tuple(images.shape)}.")
    encoded = encode(images)
    if not net.built:
        net.build(images.shape)
    return encoded
