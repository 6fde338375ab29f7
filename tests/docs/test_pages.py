"""The documentation is built as `make docs` does: the API reference, and the notebooks run."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import library_modules

import coda_keras

pytestmark = [pytest.mark.tensorflow, pytest.mark.process]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs_jupyter")
    folder = tmp_path_factory.mktemp("site")
    (line,) = re.findall(r"-m (mkdocs build .+)", (ROOT / "Makefile").read_text())
    done = subprocess.run(
        [sys.executable, "-m", *line.split(), "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def anchors(site):
    pages = (site / "reference").glob("*.html")
    return {anchor for page in pages for anchor in re.findall(r'id="([^"]+)"', page.read_text())}


def test_every_public_name_is_in_the_reference(anchors):
    public = [getattr(coda_keras, name) for name in coda_keras.__all__]
    documented = [value for value in public if hasattr(value, "__qualname__")]
    missing = [
        value
        for value in documented
        if not inspect.ismodule(value) and f"{value.__module__}.{value.__qualname__}" not in anchors
    ]
    assert len(documented) > 15 and not missing


def test_every_module_is_in_the_reference(anchors):
    modules = {name for name in library_modules() if not name.endswith("__main__")}
    assert not modules - {"coda_keras"} - anchors


def test_docstrings_are_read_as_such(site):
    page = (site / "reference/layers.html").read_text()
    # The table of arguments, and one of its rows.
    assert "Parameters:" in page and "odd int." in page


@pytest.mark.parametrize(
    ("name", "pictures", "said"),
    [("explain", 4, "completeness error at most"), ("study", 2, "localisation, Ours")],
)
def test_notebooks_ran_and_show_their_pictures(name, pictures, said, site):
    page = (site / f"tutorials/{name}.html").read_text()
    assert page.count('src="data:image/png;base64,') == pictures
    assert said in page
    # Neither errors nor log lines of the framework.
    assert "Traceback" not in page and "E0000" not in page and "oneDNN" not in page


def test_notebooks_are_stored_without_what_they_printed():
    for path in (ROOT / "docs/tutorials").glob("*.ipynb"):
        assert '"outputs": []' in path.read_text() and '"output_type"' not in path.read_text()
