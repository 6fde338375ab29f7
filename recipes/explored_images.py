"""Image files for pages of the explorer, and nets that explain them in the page."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from coda_keras_export.images import open_image

from coda_keras import explorer
from coda_keras.data import examples


def pictures(files: Sequence[Path], size: Sequence[int], resize: bool) -> np.ndarray:
    """Image files as a model takes them, uint8 `(B, H, W, 3)`."""
    height, width = size
    images = [open_image(file, height, width, resize)[0] for file in files]
    return np.stack([np.asarray(image) for image in images])


def example_files(net: Any) -> list[Path]:
    """The ten images that come along, if a `CoDANet` takes such."""
    files = examples.paths("cifar10")
    shown = [file.stem.partition("-")[0] for file in files]
    if net.image_size != (32, 32) or list(net.class_names or ()) != shown:
        raise ValueError(
            "Name at least one image file: those that come along are of CIFAR-10's classes, which "
            "this net does not know."
        )
    return files


def live_view(source: Any, args: argparse.Namespace) -> explorer.LiveView:
    """The images as a net sees them, and the net, which explains them in the page.

    Args:
        source: a `Local` of `coda_keras_recipes.explored_nets`.
        args: of `coda-keras explore`.
    """
    from coda_keras.explanation.in_page import network

    files = args.images or example_files(source.net)
    return explorer.LiveView(
        network(source.net, source.labels(args.labels)),
        pictures(files, source.size, args.resize),
        names=[file.name for file in files],
        title=source.name,
    )
