"""ONNX files, for onnxruntime in all its forms: Python, C++, Java, browsers."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from coda_keras.exporting import graph
from coda_keras.exporting.metadata import metadata

# The newest that tf2onnx writes.
OPSET = 18


def write(net: Any, path: Path, outputs: Sequence[str]) -> None:
    """Writes a net as an ONNX file."""
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    answer, inputs = graph.function(net, outputs).python_function, graph.specs(net, outputs)
    weights = {f"weight_{index}": weight for index, weight in enumerate(net.weights)}

    # tf2onnx copies constants dozens of times, so that it gets the weights as inputs.
    @tf.function(autograph=False)
    def of_weights(*tensors):
        count = len(inputs)
        values = list(zip(weights.values(), tensors[count:], strict=True))
        with keras.StatelessScope(state_mapping=values):
            return answer(*tensors[:count])

    given = [tf.TensorSpec(w.shape, w.dtype, name=name) for name, w in weights.items()]
    model, _ = tf2onnx.convert.from_function(of_weights, [*inputs, *given], opset=OPSET)
    kept = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(weight.numpy(), name) for name, weight in weights.items()
    )
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(model, metadata(net))
    onnx.checker.check_model(model)
    onnx.save_model(model, path)
