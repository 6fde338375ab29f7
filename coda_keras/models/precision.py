"""Nets in another precision than they were trained in."""

from typing import Any

from coda_keras.layers.configs import in_dtype
from coda_keras.models.dynamic_linear_net import DynamicLinearNet


def float32_copy(net: Any, image_size: int | tuple[int, int] | None = None) -> Any:
    """Rebuilds a net with every layer in float32 and copies its weights.

    Explanations are exact in float32 only: in bfloat16 the residual is about 4e-3 of the logit.

    Args:
        net: a built `CoDANet`, `Ensemble` or other `DynamicLinearNet`.
        image_size: int or `(height, width)`; None for the net's own.

    Returns:
        A net of the same class on one device, with an `image_size`.

    Raises:
        ValueError: if `net` is no built `CoDANet`, or no image size is known.
    """
    if not isinstance(net, DynamicLinearNet):
        raise ValueError(f"Expected a CoDANet. Received: {type(net).__name__}.")
    if not net.built:
        raise ValueError("The net has no weights yet. Call it once on images, or train it.")
    config = in_dtype(net.get_config(), "float32")
    copy = type(net).from_config(config if image_size is None else _sized(config, image_size))
    if copy.image_size is None:
        raise ValueError(
            "A servable takes images of one size, and the net has none. "
            "Give `image_size`, to the net or here."
        )
    copy.set_weights(net.get_weights())
    return copy


def _sized(config: Any, image_size: int | tuple[int, int]) -> Any:
    """Replaces the image size of every net in a nested config."""
    if isinstance(config, (list, tuple)):
        return type(config)(_sized(value, image_size) for value in config)
    if not isinstance(config, dict):
        return config
    return {
        key: image_size if key == "image_size" else _sized(value, image_size)
        for key, value in config.items()
    }
