"""ONNX files, for onnxruntime in all its forms: Python, C++, Java, browsers."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coda_keras.exporting import graph
from coda_keras.exporting.metadata import metadata

# The newest that tf2onnx writes.
OPSET = 18


def write(net: Any, path: Path, outputs: Sequence[str]) -> None:
    """Writes a net as an ONNX file."""
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    model, _ = tf2onnx.convert.from_function(
        graph.function(net, outputs), graph.specs(net, outputs), opset=OPSET
    )
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(model, metadata(net))
    onnx.checker.check_model(model)
    onnx.save_model(model, path)
