"""Servers in processes of their own, and what tests ask them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

ROOT = Path(__file__).resolve().parents[1]
LOADING, AVAILABLE, END = 20, 30, 50


class Server:
    """`export/serve.py` in a process of its own."""

    def __init__(self, models, *arguments, env=None, script="export/serve.py", wait=True):
        command = [sys.executable, str(script), "--models", str(models), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # Otherwise a full pipe would stop the server.
        self.errors = []
        self.reader = threading.Thread(target=lambda: self.errors.extend(self.process.stderr))
        self.reader.start()
        self.line = self.address = None
        if wait:
            self.wait()

    def wait(self):
        """Waits until all that was there at its start has been tried."""
        self.line = self.process.stdout.readline()
        self.address = self.line.split()[-1] if self.line else None

    def listening(self):
        """Waits until it listens, be anything loaded or not; returns the address."""
        said = "listening on "
        eventually(lambda: any(said in line for line in self.errors) or not self.reader.is_alive())
        return next(line.split()[-1] for line in self.errors if said in line)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        code = self.process.wait(timeout=120)
        self.reader.join(timeout=60)
        self.process.stdout.close()
        self.process.stderr.close()
        return code


def status(channel, name, version=None):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request)
    return {state.version: state for state in answer.model_version_status}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def eventually(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def publish(source, target):
    hidden = target.with_name(".tmp-copy")
    shutil.copytree(source, hidden)
    hidden.rename(target)


def refusal(call, *arguments, **keywords):
    with pytest.raises(grpc.RpcError) as error:
        call(*arguments, **keywords)
    assert "\n" not in error.value.details()
    return error.value.code(), error.value.details()
