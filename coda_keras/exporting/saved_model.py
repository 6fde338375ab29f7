"""SavedModels: the signatures of a servable, and the one graph that other formats are made of."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from coda_keras.exporting import graph, signatures
from coda_keras.exporting.metadata import metadata
from coda_keras.exporting.transposes import as_convolutions

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
    """Writes the one graph as a SavedModel of one signature, for converters to read.

    Weights are constants in it. Of a SavedModel of Keras' variables LiteRT's converter keeps the
    graph and none of the weights. Transposed convolutions are ordinary ones, see `transposes`.
    """
    traced = graph.function(net, outputs).get_concrete_function()
    frozen = convert_variables_to_constants_v2(traced)
    definition = as_convolutions(frozen.graph)

    @tf.function(autograph=False, input_signature=graph.specs(net, outputs))
    def run(*inputs):
        values = tf.graph_util.import_graph_def(
            definition,
            {tensor.name: given for tensor, given in zip(frozen.inputs, inputs)},
            [tensor.name for tensor in frozen.outputs],
            name="",
        )
        return dict(zip(sorted(traced.structured_outputs), values))

    module = tf.Module()
    module.run = run
    tf.saved_model.save(module, path, {ENDPOINT: run})
