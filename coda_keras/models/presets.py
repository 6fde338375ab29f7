"""The presets: network sizes of the paper (Table C.1) as data, and trained weights by name."""

import math
from typing import NamedTuple

import numpy as np

from coda_keras.models import pretrained


class Preset(NamedTuple):
    """One network of Table C.1.

    Attributes:
        label: str, its name in the paper.
        image_size: int, height and width of its images in pixels.
        filters: number of DAUs of every layer; of the last one, number of classes.
        ranks: rank of every layer.
        kernel_sizes: kernel size of every layer.
        strides: stride of every layer.
        parameters: number of parameters of these layers.
        note: str, where the paper contradicts itself, and what is used here; empty otherwise.
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


class Summary(NamedTuple):
    """What `CoDANet.presets()` says about a preset.

    Attributes:
        description: a sentence.
        parameters: int.
        image_size: int, height and width of its images in pixels.
        classes: int.
        test_accuracy, localisation: scores of trained weights, from 0 to 1; None without weights.
    """

    description: str
    parameters: int
    image_size: int
    classes: int
    test_accuracy: float | None = None
    localisation: float | None = None


class Plan(NamedTuple):
    """Everything that makes a net of a preset.

    Attributes:
        name: the preset's, or that of its architecture if it gets another last layer.
        layers: for each layer filters, rank, kernel size and strides.
        rescale, temperature, image_size: as `CoDANet.from_preset` takes them.
        class_names: tuple of str, or None.
        weights: for the first layers, each a list of arrays; none for initial values.
    """

    name: str
    layers: list[tuple[int, int, int, int]]
    rescale: str
    temperature: float
    image_size: int
    class_names: tuple[str, ...] | None
    weights: list[list[np.ndarray]]


def get(name: str) -> Preset:
    """Returns the `Preset` called `name`, such as `"s_coda"`; ValueError if there is none."""
    if name not in PRESETS:
        expected = sorted([*PRESETS, *pretrained.cards()])
        raise ValueError(f"Unknown preset: {name!r}. Expected one of {expected}.")
    return PRESETS[name]


def summaries() -> dict[str, Summary]:
    """A `Summary` of every preset by name: Table C.1 first, then the trained ones."""
    sizes = {
        name: Summary(
            f"{preset.label} of Table C.1, initial weights",
            preset.parameters,
            preset.image_size,
            preset.filters[-1],
        )
        for name, preset in PRESETS.items()
    }
    weights = {
        name: Summary(
            card.description,
            card.parameters,
            PRESETS[card.architecture].image_size,
            len(card.class_names),
            card.test_accuracy,
            card.localisation,
        )
        for name, card in pretrained.cards().items()
    }
    return {**sizes, **weights}


def plan(
    preset: str,
    classes: int | None = None,
    rescale: str | None = None,
    temperature: float | None = None,
    rank_scale: float | None = None,
) -> Plan:
    """Returns what `CoDANet.from_preset` builds, whose arguments these are.

    Raises:
        ValueError: if there is no such preset, `rank_scale` is not positive or not finite, or
            trained weights have another `rescale` or `rank_scale`.
    """
    card = pretrained.cards().get(preset)
    if card is not None:
        for name, given in (("rescale", rescale), ("rank_scale", rank_scale)):
            used = getattr(card, name)
            if given not in (None, used):
                raise ValueError(
                    f"The weights of {preset!r} were trained with {name}={used!r}. Received: "
                    f"{name}={given!r}. For untrained layers use the preset {card.architecture!r}."
                )
        rescale, rank_scale = card.rescale, card.rank_scale
        temperature = card.temperature if temperature is None else temperature
    sizes = get(preset if card is None else card.architecture)
    rank_scale = 1.0 if rank_scale is None else rank_scale
    if not 0 < rank_scale < math.inf:
        raise ValueError(
            f"`rank_scale` must be a finite positive number. Received: rank_scale={rank_scale!r}."
        )
    own = sizes.filters[-1] if card is None else len(card.class_names)
    filters = [*sizes.filters[:-1], own if classes is None else classes]
    ranks = [max(1, round(rank * rank_scale)) for rank in sizes.ranks]
    layers = list(zip(filters, ranks, sizes.kernel_sizes, sizes.strides))
    weights = []
    if card is not None:
        # A DAU layer has B, A and b. The last one is for these classes only.
        arrays = pretrained.load(card)
        weights = [arrays[start : start + 3] for start in range(0, len(arrays), 3)]
        weights = weights if classes is None else weights[:-1]
    return Plan(
        preset if card is None or classes is None else card.architecture,
        layers,
        "squash" if rescale is None else rescale,
        1000.0 if temperature is None else temperature,
        sizes.image_size,
        card.class_names if card is not None and classes is None else None,
        weights,
    )
