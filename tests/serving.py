"""Servers in processes of their own, and what tests ask them."""

import inspect
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
from processes import LIMIT, Forked
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

ROOT = Path(__file__).resolve().parents[1]
SERVE = ROOT / "export/serve.py"
LOADING, AVAILABLE, END = 20, 30, 50


class Server:
    """`export/serve.py` in a process of its own: a forked one, or a new Python."""

    def __init__(self, models, *arguments, env=None, script=SERVE, wait=True, new=False):
        command = [script, "--models", models, "--port", "0", *arguments]
        options = {"cwd": ROOT, "env": {**os.environ, **(env or {})}}
        if new:
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            self.process = subprocess.Popen([sys.executable, *command], **pipes, **options)
        else:
            self.process = Forked(*command, **options)
        # Otherwise a full pipe would stop the server.
        self.lines, self.errors = [], []
        self.readers = [
            threading.Thread(target=lines.extend, args=[stream], daemon=True)
            for lines, stream in (
                (self.lines, self.process.stdout),
                (self.errors, self.process.stderr),
            )
        ]
        for reader in self.readers:
            reader.start()
        self.line = self.address = None
        if wait:
            self.wait()

    def wait(self):
        """Waits until all that was there at its start has been tried."""
        self.line = self.says(self.lines, "serving ", "begun")
        self.address = self.line.split()[-1]

    def says(self, lines, *texts):
        """Waits for a line that has one of the texts; returns it."""

        def said():
            return next((line for line in lines if any(text in line for text in texts)), None)

        def said_or_ended():
            return said() or self.process.poll() is not None

        eventually(said_or_ended, f"a server to say {' or '.join(texts)}")
        # What it has said in the end may not be read yet.
        eventually(lambda: said() or not any(reader.is_alive() for reader in self.readers))
        assert said(), f"the server ended without {texts}: {self.errors}"
        return said()

    def listening(self):
        """Waits until it listens, be anything loaded or not; returns the address."""
        return self.says(self.errors, "listening on ").split()[-1]

    def metrics(self):
        """Where it tells metrics."""
        return f"http://{self.says(self.errors, 'metrics on ').split()[-1]}/metrics"

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        code = self.process.wait(timeout=LIMIT)
        for reader in self.readers:
            reader.join(timeout=LIMIT)
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


def eventually(condition, what=None):
    """Waits until a function returns something true, which it returns.

    A test that waits in vain says for what.
    """
    deadline = time.monotonic() + LIMIT
    while not (answer := condition()):
        if time.monotonic() > deadline:
            what = what or inspect.getsource(condition).strip()
            pytest.fail(f"waited {LIMIT} s in vain for {what}")
        time.sleep(0.05)
    return answer


def publish(source, target):
    hidden = target.with_name(".tmp-copy")
    shutil.copytree(source, hidden)
    hidden.rename(target)


def refusal(call, *arguments, **keywords):
    with pytest.raises(grpc.RpcError) as error:
        call(*arguments, **keywords)
    assert "\n" not in error.value.details()
    return error.value.code(), error.value.details()
