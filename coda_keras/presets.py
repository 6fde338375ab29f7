"""Network sizes of the paper (Table C.1), as data."""

from typing import NamedTuple


class Preset(NamedTuple):
    """One network of Table C.1.

    Attributes:
        label: what the paper calls it.
        image_size: int, height and width of its images in pixels.
        filters: number of DAUs of every layer; of the last one, number of classes.
        ranks: rank of every layer.
        kernel_sizes: kernel size of every layer.
        strides: stride of every layer.
        parameters: number of parameters of these layers.
        note: where the paper says something else, and why this is taken; empty otherwise.
    """

    label: str
    image_size: int
    filters: tuple[int, ...]
    ranks: tuple[int, ...]
    kernel_sizes: tuple[int, ...]
    strides: tuple[int, ...]
    parameters: int
    note: str = ""


_CIFAR = {
    "image_size": 32,
    "filters": (16, 16, 32, 32, 32, 64, 64, 64, 10),
    "kernel_sizes": (3,) * 8 + (1,),
    "strides": (1, 1, 2, 1, 1, 2, 1, 1, 1),
}

PRESETS = {
    "s_coda": Preset(
        label="S-CoDA",
        ranks=(32, 32) + (64,) * 7,
        parameters=7_782_816,
        **_CIFAR,
    ),
    "m_coda": Preset(
        label="M-CoDA",
        ranks=(64, 64) + (128,) * 3 + (256,) * 4,
        parameters=27_517_536,
        **_CIFAR,
    ),
    "l_coda": Preset(
        label="L-CoDA",
        image_size=240,
        filters=(16, 32, 32, 64, 64, 64, 64, 64, 100),
        ranks=(64,) * 3 + (128,) * 3 + (256,) * 3,
        kernel_sizes=(7,) + (3,) * 8,
        strides=(3, 1, 1, 2, 1, 1, 2, 1, 1),
        parameters=47_517_408,
    ),
    "xl_coda": Preset(
        label="XL-CoDA",
        image_size=64,
        filters=(16, 32, 32, 64, 64, 64, 64, 64, 200),
        ranks=(64, 64) + (128,) * 3 + (256,) * 4,
        kernel_sizes=(5,) + (3,) * 8,
        strides=(1, 1, 2, 1, 1, 2, 1, 1, 2),
        parameters=67_562_208,
        note=(
            "The text of the paper says 62M parameters; the sizes that its Table C.1 prints, "
            "which are these, count 67.6M."
        ),
    ),
}


def get(name: str) -> Preset:
    """Returns the `Preset` called `name`, such as `"s_coda"`; ValueError if there is none."""
    if name not in PRESETS:
        raise ValueError(f"Unknown preset: {name!r}. Expected one of {sorted(PRESETS)}.")
    return PRESETS[name]
