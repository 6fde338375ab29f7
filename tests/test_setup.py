"""What an installed package consists of."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def metadata(monkeypatch):
    setuptools = pytest.importorskip("setuptools")
    found = {}
    monkeypatch.setattr(setuptools, "setup", lambda **values: found.update(values))
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    return found


def test_every_module_is_in_a_package(metadata):
    folders = {path.parent for path in (ROOT / "coda_keras").rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(metadata["packages"]) == names


def test_every_data_file_is_shipped(metadata):
    package = ROOT / "coda_keras"
    shipped = {
        path for pattern in metadata["package_data"]["coda_keras"] for path in package.glob(pattern)
    }
    there = {
        path
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert shipped == there
    assert package / "py.typed" in shipped


def test_tensorboard_is_one_that_starts_beside_a_new_setuptools(metadata):
    # 2.20 imports pkg_resources, which setuptools 82 no longer has.
    requirements = pytest.importorskip("packaging.requirements")
    required = [requirements.Requirement(text) for text in metadata["install_requires"]]
    (tensorboard,) = [item for item in required if item.name == "tensorboard"]
    assert "2.20.0" not in tensorboard.specifier
    assert "2.21.0" in tensorboard.specifier
