"""Exported files in their runtimes, as functions of arrays."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from coda_keras.utils import extras

Arrays = dict[str, np.ndarray]
# Images, and class ids unless the file has no such input, to outputs by name.
Run = Callable[..., Arrays]


def onnx(path: Path) -> Run:
    """Loads an ONNX file in onnxruntime, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda **inputs: dict(zip(names, session.run(names, inputs)))


def openvino(path: Path) -> Run:
    """Loads OpenVINO IR on the CPU, where it computes in bfloat16 if it is let."""
    import openvino

    from coda_keras.exporting.openvino import PRECISE

    model = openvino.Core().compile_model(path, "CPU", PRECISE)

    def run(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        answer = model(inputs)
        return {output.any_name: answer[output] for output in model.outputs}

    return run


def litert(path: Path) -> Run:
    """Loads a .tflite file in LiteRT, by two threads."""
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path), num_threads=2).get_signature_runner()


RUNTIMES: dict[str, Callable[[Path], Run]] = {"onnx": onnx, "openvino": openvino, "litert": litert}


def load(path: Path, format: str) -> Run:
    """Loads an exported file in the runtime of its format, by a name in `RUNTIMES`.

    Raises:
        ModuleNotFoundError: if the runtime is not installed.
    """
    extras.require(format)
    return RUNTIMES[format](path)
