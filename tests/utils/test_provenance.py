"""What results files say of where their numbers come from."""

import json
import os
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import keras
from conftest import BACKEND

from coda_keras.utils import provenance


def test_versions_name_what_is_installed_and_what_is_not():
    versions = provenance.versions(("keras", "no-such-package"))
    python = ".".join(map(str, sys.version_info[:3]))
    assert versions == {"python": python, "keras": keras.__version__, "no-such-package": None}


def test_now_is_utc_to_the_second():
    now = datetime.fromisoformat(provenance.now())
    assert now.tzinfo == timezone.utc and now.microsecond == 0
    assert abs((datetime.now(timezone.utc) - now).total_seconds()) < 60


def test_hardware_tells_processor_cores_and_accelerators(monkeypatch):
    monkeypatch.setattr(provenance.backend, "accelerators", lambda: ["A Card"])
    hardware = provenance.hardware()
    assert hardware["gpus"] == ["A Card"] and hardware["processor"]
    assert 1 <= hardware["cores"] <= os.cpu_count()


def test_the_processor_has_a_name_without_proc(monkeypatch):
    read = Path.read_text

    def without_proc(path, *args, **kwargs):
        if path.parts[:2] == ("/", "proc"):
            raise FileNotFoundError(path)
        return read(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", without_proc)
    assert provenance.hardware()["processor"]


def test_the_commit_and_what_is_not_in_it(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init")
    (tmp_path / "code.py").write_text("1")
    git("add", "code.py")
    git("commit", "-m", "Code")
    assert provenance.commit(tmp_path) == git("rev-parse", "HEAD")
    assert provenance.uncommitted(tmp_path, "code.py") == ""
    (tmp_path / "code.py").write_text("2")
    (tmp_path / "other.py").write_text("3")
    assert provenance.uncommitted(tmp_path, "code.py") == "M code.py"


def test_no_commit_outside_of_a_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit(tmp_path) is None
    assert provenance.uncommitted(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert provenance.commit(tmp_path) is None


def test_the_command_is_that_of_this_process(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["recipes/any.py", "--seed", "1"])
    assert provenance.command() == "python recipes/any.py --seed 1"
    monkeypatch.setattr(sys, "argv", ["coda-keras train any", "--seed", "1"])
    assert provenance.command() == "coda-keras train any --seed 1"
    monkeypatch.setattr(sys, "argv", ["my recipes/any.py", "--selection", "two words", "it's"])
    assert shlex.split(provenance.command()) == ["python", *sys.argv]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/coda-keras", "train", "any"])
    assert provenance.command() == "coda-keras train any"
    monkeypatch.setattr(sys, "argv", ["/packages/coda_keras/__main__.py", "train", "any"])
    assert provenance.command() == "python -m coda_keras train any"


def test_plain_values_are_what_json_holds():
    value = {
        "path": Path("a/b"),
        "sizes": (1, 2.5),
        "none": None,
        "flag": True,
        3: {"x": [Path()]},
    }
    values = provenance.plain(value)
    assert values == json.loads(json.dumps(values))
    assert values == {
        "path": str(Path("a/b")),
        "sizes": [1, 2.5],
        "none": None,
        "flag": True,
        "3": {"x": ["."]},
    }


def test_no_tensorflow_is_needed():
    code = (
        "import sys; sys.modules['tensorflow'] = None; from coda_keras.utils import provenance as p"
    )
    code += "; print(p.versions(), p.hardware())"
    environment = {**os.environ, "KERAS_BACKEND": "jax" if BACKEND == "tensorflow" else BACKEND}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
