"""Functions and programs in processes of their own.

Of those that run on TensorFlow most need not import it: they are forked from a process that has
imported it and done no more, which saves the seconds of each import. What a program imports, or
says meanwhile, is tested in another Python.
"""

import inspect
import multiprocessing
import os
import runpy
import subprocess
import sys
from concurrent import futures
from pathlib import Path

TESTS = Path(__file__).parent
# Seconds that nothing takes, however busy the machine is.
LIMIT = 1200
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tensorflow", "keras", "matplotlib.pyplot"])
_PROGRAM = "import runpy, sys; runpy.run_path(sys.argv[1])[sys.argv[2]](*sys.argv[3:])"


class Forked:
    """A Python program, or a function of a file, in a forked process; like `subprocess.Popen`.

    Args:
        file: path of the program.
        arguments: its arguments.
        function: name of a function of the file, to be called with the arguments; None for the
            program itself.
        cwd: its folder; None for that of the tests.
        env: its environment; None for that of the tests.
    """

    def __init__(self, file, *arguments, function=None, cwd=None, env=None):
        command = [str(file), *map(str, arguments)]
        place = str(cwd or Path.cwd()), dict(os.environ if env is None else env)
        ends = [_FORKS.Pipe(duplex=False) for _ in range(2)]
        self._process = _FORKS.Process(
            target=_run, args=(command, function, *place, *(write for _, write in ends))
        )
        self._process.daemon = True
        self._process.start()
        for _, write in ends:
            write.close()
        self.stdout, self.stderr = (_text(read) for read, _ in ends)

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=LIMIT):
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self._process.exitcode

    def send_signal(self, number):
        if self._process.exitcode is None:
            os.kill(self._process.pid, number)

    def communicate(self):
        with self.stdout, self.stderr, futures.ThreadPoolExecutor(2) as pool:
            said = tuple(pool.map(lambda stream: stream.read(), (self.stdout, self.stderr)))
        self.wait()
        return said


def _text(connection):
    with connection:
        return os.fdopen(os.dup(connection.fileno()))


def _run(command, function, folder, environment, *connections):
    for number, connection in enumerate(connections, 1):
        os.dup2(connection.fileno(), number)
        connection.close()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    file, *arguments = command
    if function:
        runpy.run_path(file)[function](*arguments)
    else:
        sys.argv = command
        runpy.run_path(file, run_name="__main__")


def run_forked(file, *arguments, **options):
    """Runs a program as `Forked` does; returns what `subprocess.run` would, with the output."""
    process = Forked(file, *arguments, **options)
    out, err = process.communicate()
    return subprocess.CompletedProcess([file, *arguments], process.returncode, out, err)


def run_in_process(function, *arguments):
    """Calls a function of a test module in another process; returns what it prints.

    On TensorFlow it is forked. Fails with what the process says, if that fails.
    """
    # Not at the top: some functions are there to import no Keras.
    import keras

    if keras.backend.backend() != "tensorflow":
        return run_in_new_python(function, *arguments)
    done = run_forked(inspect.getsourcefile(function), *arguments, function=function.__name__)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run_in_new_python(function, *arguments):
    """Like `run_in_process` in a Python that has imported nothing."""
    file = inspect.getsourcefile(function)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, file, function.__name__, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
