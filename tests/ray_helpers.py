"""What Ray's workers import in tests, and what happens to them meanwhile."""

import os
import signal
import threading
import time
from dataclasses import dataclass, replace

import numpy as np
import psutil

from coda_keras.explained.records import Records

GENERATOR = 5


@dataclass(frozen=True)
class SlowImages:
    """Random images that take a while to be read; some of them are broken."""

    size: int
    start: int
    stop: int
    seconds: float = 0.05

    def __len__(self):
        return self.stop - self.start

    def __getitem__(self, rows):
        start, stop, _ = rows.indices(len(self))
        return replace(self, start=self.start + start, stop=self.start + stop)

    def read(self, size):
        time.sleep(self.seconds)
        numbers = range(self.start, self.stop)
        images = np.stack([self.image(number) for number in numbers])
        errors = ["broken" if number % 17 == 3 else None for number in numbers]
        return Records(list(map(str, numbers)), [number % 4 for number in numbers], images, errors)

    def image(self, number):
        random = np.random.default_rng((GENERATOR, number))
        return random.integers(0, 255, (self.size, self.size, 3)).astype("uint8")

    def identity(self):
        return {"images": len(self)}

    def class_names(self):
        return None


def ray_processes(name):
    """Processes of Ray whose title holds a word."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline() and process.cmdline()[0].startswith("ray::"):
                found += [process] if name in process.cmdline()[0] else []
        except psutil.Error:
            continue
    return found


def kill_one(name):
    """Ends a process of Ray by SIGKILL, once there is one; returns its id."""
    while not (found := ray_processes(name)):
        time.sleep(0.1)
    os.kill(found[0].pid, signal.SIGKILL)
    return found[0].pid


def is_running(process):
    """Whether a process, by its id, is there and no zombie."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


class Meanwhile:
    """Does things one after the other, each once its condition holds, beside this thread.

    Args:
        *steps: pairs of functions, `(condition, action)`.
    """

    def __init__(self, *steps):
        self.done, self._steps = [], steps
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        for condition, action in self._steps:
            while not condition():
                if self._ended.wait(0.05):
                    return
            self.done.append(action())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join(60)
