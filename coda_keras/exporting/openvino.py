"""OpenVINO IR: an .xml file of the graph beside a .bin file of the weights."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coda_keras.exporting import graph, saved_model
from coda_keras.exporting.metadata import KEY, metadata

# OpenVINO computes in bfloat16 where it is let.
PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}
# Of the largest magnitude of an output.
TOLERANCE = 1e-3


def write(net: Any, path: Path, outputs: Sequence[str]) -> None:
    """Writes a net as OpenVINO reads it, with weights in float32.

    Raises:
        ValueError: if OpenVINO answers otherwise than the net.
    """
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        saved_model.write_graph(net, folder, outputs)
        # Not `convert_model`, which does the same and reports it to the makers of OpenVINO.
        model = openvino.Core().read_model(folder)
    for port in [*model.inputs, *model.outputs]:
        names = {*graph.OUTPUTS, "images", graph.TARGETS} & port.names
        port.set_names(names)
    for name, text in metadata(net).items():
        model.set_rt_info(text, [KEY, name])
    openvino.save_model(model, path, compress_to_fp16=False)
    _compare(openvino.Core().compile_model(model, "CPU", PRECISE), net, outputs)


def _compare(run, net, outputs):
    # OpenVINO 2026.4 has computed several graphs wrongly without an error; see docs/portability.md.
    images = np.random.default_rng(0).random((2, *net.image_size, 3), "float32")
    given = {"images": images, graph.TARGETS: np.full(2, graph.PREDICTED, "int32")}
    inputs = {spec.name: given[spec.name] for spec in graph.specs(net, outputs)}
    right = graph.function(net, outputs)(*inputs.values())
    answer = {port.any_name: values for port, values in run(inputs).items()}
    for name in outputs:
        # These are rounding, and follow from the others.
        if name in ("class_ids", "residual", "offset"):
            continue
        off = np.abs(answer[name] - right[name]).max() / max(np.abs(right[name]).max(), 1e-12)
        if not off <= TOLERANCE:
            raise ValueError(
                f"OpenVINO does not compute this net rightly: {name} is off by {off:.0e} of its "
                "largest value. Nothing was written. Choose another format."
            )
