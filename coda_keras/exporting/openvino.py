"""OpenVINO IR: an .xml file of the graph beside a .bin file of the weights."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coda_keras.exporting import graph, saved_model
from coda_keras.exporting.metadata import KEY, metadata


def write(net: Any, path: Path, outputs: Sequence[str]) -> None:
    """Writes a net as OpenVINO reads it, with weights in float32."""
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
