"""Configurations of Keras layers and models, with something replaced wherever it is nested."""

from typing import Any


def in_dtype(config: Any, dtype: str) -> Any:
    """Returns a config with every dtype policy in it replaced by one of the name `dtype`."""
    if isinstance(config, (list, tuple)):
        return type(config)(in_dtype(value, dtype) for value in config)
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return dtype
    return {key: in_dtype(value, dtype) for key, value in config.items()}
