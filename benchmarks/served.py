"""What the benchmarks of serving share: a servable, a server of its own, and requests to it."""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
from coda_keras_export.api import arrays, serving_pb2
from coda_keras_export.api.connection import PREDICT

from coda_keras.utils import provenance

ROOT = Path(__file__).resolve().parents[1]
MODEL = "load"
# Of the largest magnitude: batches of other sizes may run by other kernels.
TOLERANCE = 1e-4


class Server:
    """`export/serve.py` in a process of its own, as `running` starts it.

    Attributes:
        address: `host:port`.
    """

    def __init__(self, process: subprocess.Popen, address: str):
        self._process, self.address = process, address

    def mib(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024

    def peak_mib(self) -> float:
        """The most resident memory since the last call."""
        proc = Path(f"/proc/{self._process.pid}")
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", (proc / "status").read_text())[1]) / 1024
        (proc / "clear_refs").write_text("5")
        return peak

    def alive(self) -> bool:
        return self._process.poll() is None


@contextmanager
def running(models: Path, arguments: Sequence[str] = ()) -> Iterator[Server]:
    """Starts a server on a folder of servables, and ends it.

    Raises:
        OSError: if it does not start.
    """
    command = [sys.executable, "export/serve.py", "--models", str(models), "--port", "0"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*command, "--embedded", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        with process:
            try:
                line = process.stdout.readline()
                if not line:
                    log.seek(0)
                    raise OSError(f"The server did not start: {log.read().strip()}")
                yield Server(process, line.split()[-1])
            finally:
                process.terminate()


def conditions(args: argparse.Namespace) -> dict[str, object]:
    """What figures depend on: arguments, code, packages, machine and its other load."""
    packages = ("coda-keras", "tensorflow", "grpcio", "protobuf", "numpy")
    paths = "coda_keras", "export", "benchmarks"
    return provenance.conditions(vars(args), ROOT, *paths, packages=packages)


@contextmanager
def servables(*nets) -> Iterator[Path]:
    """A folder with the model `MODEL` in as many versions as nets, from 1."""
    from coda_keras_export.package import package

    with tempfile.TemporaryDirectory() as folder:
        for net in nets:
            package(net, folder, MODEL, labels=[str(number) for number in range(net.classes)])
        yield Path(folder)


def publish(source: Path, target: Path) -> None:
    """Copies a version; it appears complete."""
    hidden = target.with_name(f".tmp-{target.name}")
    shutil.copytree(source, hidden)
    hidden.rename(target)


def channel(address: str) -> grpc.Channel:
    """A connection of its own, not one that others in this process use too."""
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.insecure_channel(address, options)


def request(inputs: dict[str, np.ndarray], signature: str = "serving_default") -> bytes:
    """A request for the model, as it is sent."""
    made = serving_pb2.PredictRequest()
    made.model_spec.name, made.model_spec.signature_name = MODEL, signature
    for name, values in inputs.items():
        arrays.fill(made.inputs[name], values)
    return made.SerializeToString()


def predict(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable:
    """A call that takes what `request` returns, and answers a `PredictResponse`."""
    return channel.unary_unary(PREDICT, None, serving_pb2.PredictResponse.FromString)


def differs(response, expected: dict[str, np.ndarray]) -> bool:
    """Whether an answer is another than expected, in any output."""
    if response.outputs.keys() != expected.keys():
        return True
    for name, values in expected.items():
        answered = arrays.read(response.outputs[name])
        if answered.shape != values.shape:
            return True
        if not np.abs(answered - values).max() <= TOLERANCE * max(np.abs(values).max(), 1e-6):
            return True
    return False
