"""What TensorFlow writes when it is imported, and what of it arrives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.tensorflow

pytestmark = pytest.mark.once
ROOT = Path(__file__).resolve().parents[2]
KNOWN = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\\n"
    "I0000 00:00:1700000000.000001   1 port.cc:153] oneDNN custom operations are on.\\n"
)
PACKAGE = f"""
import os
os.write(2, b"{KNOWN}W0000 00:00 odd.cc:1] This is odd.\\nAnd this.\\n")
"""
DEATH = """
os.write(2, b"F0000 00:00 end.cc:1] This is the end.")
os.abort()
"""
START = "from coda_keras.backend import startup_lines; startup_lines.leave_out()"
IMPORT = f"{START}; import tensorflow; print(tensorflow.__loader__.get_filename(), end='')"


@pytest.fixture
def run(tmp_path):
    """Runs code where the package `tensorflow` is another; returns what became of the process."""
    (tmp_path / "tensorflow").mkdir()
    package = tmp_path / "tensorflow/__init__.py"

    def start(code=IMPORT, source=PACKAGE, command='exec "$@"', **variables):
        package.write_text(source)
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", **variables}
        return subprocess.run(
            ["sh", "-c", command, "sh", sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
        )

    return start


def test_start_up_lines_are_left_out_and_others_arrive(run, tmp_path):
    done = run()
    assert done.stderr == "W0000 00:00 odd.cc:1] This is odd.\nAnd this.\n"
    assert (done.returncode, done.stdout) == (0, str(tmp_path / "tensorflow/__init__.py"))


def test_what_it_says_when_it_dies_arrives(run):
    done = run(source=PACKAGE + DEATH)
    assert done.returncode != 0
    assert done.stderr.endswith("And this.\nF0000 00:00 end.cc:1] This is the end.")


def test_an_error_of_the_import_has_its_traceback(run):
    done = run(source=PACKAGE + "raise ImportError('No such library.')")
    assert done.returncode == 1 and "oneDNN" not in done.stderr
    assert done.stderr.endswith("ImportError: No such library.\n")


def test_later_lines_are_not_touched(run):
    line = "I0000 00:00 later.cc:1] Later."
    done = run(f"{IMPORT}; import os; os.write(2, b'{line}')")
    assert done.stderr.endswith(line)


def test_it_may_be_looked_for_before_it_is_imported(run):
    done = run(f"{START}; import importlib.util as u; u.find_spec('tensorflow'); {IMPORT}")
    assert done.returncode == 0 and "oneDNN" not in done.stderr


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (IMPORT, 'exec "$@" 2>&-'),
        (f"import os; os.close(2); {IMPORT}", 'exec "$@"'),
        (f"import sys; sys.stderr = None; {IMPORT}", 'exec "$@"'),
        (f"import io, sys; sys.stderr = io.StringIO(); {IMPORT}", 'exec "$@"'),
        (f"import sys; sys.executable = None; {IMPORT}", 'exec "$@"'),
    ],
)
def test_it_is_imported_whatever_the_standard_error_is(code, command, run, tmp_path):
    done = run(code, source="", command=command)
    assert (done.returncode, done.stdout) == (0, str(tmp_path / "tensorflow/__init__.py"))
