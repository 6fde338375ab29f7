"""SavedModels: the signatures of a servable, and the one graph that other formats are made of."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from coda_keras.exporting import graph, signatures
from coda_keras.exporting.metadata import metadata

ENDPOINT = "serving_default"
# Where model servers leave files alone.
EXTRA = "assets.extra"


def write(net: Any, path: Path, outputs: Sequence[str]) -> None:
    """Writes a net with the signatures of a servable, and `serve` as Keras has it: the logits.

    Raises:
        ValueError: if not all outputs are wanted.
    """
    if tuple(outputs) != graph.OUTPUTS:
        raise ValueError(
            "A SavedModel has signatures, which choose outputs. Leave out `outputs`; see "
            "`coda_keras.exporting.signatures`."
        )
    signatures.save(net, path, getattr(net, "class_names", None), serve=True)
    (path / EXTRA).mkdir(exist_ok=True)
    for name, text in metadata(net).items():
        (path / EXTRA / f"{name}.json").write_text(text, encoding="utf-8")


def write_graph(net: Any, path: str | os.PathLike, outputs: Sequence[str]) -> None:
    """Writes the one graph as a SavedModel of one signature.

    The archive tracks TensorFlow's own variables. Of a SavedModel that tracks those of Keras, which
    hold them, LiteRT's converter keeps the graph and none of the weights, and all answers are NaN.
    """
    archive = keras.export.ExportArchive()
    archive.add_endpoint(ENDPOINT, graph.function(net, outputs), graph.specs(net, outputs))
    archive.write_out(str(path), verbose=False)
