"""Network sizes of the paper (Table C.1), as data."""

from typing import NamedTuple


class Preset(NamedTuple):
    """One column of Table C.1: per layer the number of DAUs, rank, kernel size and stride."""

    image_size: int
    filters: tuple
    ranks: tuple
    kernel_sizes: tuple
    strides: tuple


_CIFAR = {
    "image_size": 32,
    "filters": (16, 16, 32, 32, 32, 64, 64, 64, 10),
    "kernel_sizes": (3,) * 8 + (1,),
    "strides": (1, 1, 2, 1, 1, 2, 1, 1, 1),
}

PRESETS = {
    "s_coda": Preset(ranks=(32, 32) + (64,) * 7, **_CIFAR),
    "m_coda": Preset(ranks=(64, 64) + (128,) * 3 + (256,) * 4, **_CIFAR),
    "l_coda": Preset(
        image_size=240,
        filters=(16, 32, 32, 64, 64, 64, 64, 64, 100),
        ranks=(64,) * 3 + (128,) * 3 + (256,) * 3,
        kernel_sizes=(7,) + (3,) * 8,
        strides=(3, 1, 1, 2, 1, 1, 2, 1, 1),
    ),
    "xl_coda": Preset(
        image_size=64,
        filters=(16, 32, 32, 64, 64, 64, 64, 64, 200),
        ranks=(64, 64) + (128,) * 3 + (256,) * 4,
        kernel_sizes=(5,) + (3,) * 8,
        strides=(1, 1, 2, 1, 1, 2, 1, 1, 2),
    ),
}


def get(name):
    """Returns the `Preset` called `name`."""
    if name not in PRESETS:
        raise ValueError(f"Unknown preset: {name!r}. Expected one of {sorted(PRESETS)}.")
    return PRESETS[name]
