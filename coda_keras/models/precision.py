"""Nets in another precision than they were trained in."""

from typing import Any

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
    copy = type(net).from_config(_changed(net.get_config(), image_size))
    if copy.image_size is None:
        raise ValueError(
            "A servable takes images of one size, and the net has none. "
            "Give `image_size`, to the net or here."
        )
    copy.set_weights(net.get_weights())
    return copy


def _changed(config: Any, image_size: Any) -> Any:
    """Replaces every dtype policy, and every image size if one is given, in a nested config."""
    if isinstance(config, (list, tuple)):
        return type(config)(_changed(value, image_size) for value in config)
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return "float32"
    changed = {key: _changed(value, image_size) for key, value in config.items()}
    if image_size is not None and "image_size" in changed:
        changed["image_size"] = image_size
    return changed
