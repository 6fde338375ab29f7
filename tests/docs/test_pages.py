"""The documentation is built as `make docs` does: the API reference, and the notebooks run."""

import html
import importlib
import inspect
import os
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from conftest import library_modules

import coda_keras
from coda_keras.commands.table import COMMANDS
from coda_keras.models.pretrained import cards

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


def test_every_public_name_is_in_the_reference(site, anchors):
    public = [getattr(coda_keras, name) for name in coda_keras.__all__]
    documented = [value for value in public if hasattr(value, "__qualname__")]
    missing = [
        value
        for value in documented
        if not inspect.ismodule(value) and f"{value.__module__}.{value.__qualname__}" not in anchors
    ]
    assert len(documented) > 15 and not missing
    listed = (site / "reference/api.html").read_text()
    for value in documented:
        assert inspect.ismodule(value) or f'#{value.__module__}.{value.__qualname__}"' in listed


def test_every_module_is_in_the_reference(anchors):
    modules = {name for name in library_modules() if not name.endswith("__main__")}
    assert not modules - {"coda_keras"} - anchors


def text(page):
    """The words of a page."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text("utf-8")))


@pytest.fixture(scope="module")
def pages():
    pytest.importorskip("mkdocs")
    return importlib.import_module("docs.reference.pages")


def test_every_option_of_every_command_is_on_their_page(site, pages):
    shown = text(site / "reference/command-line.html")
    for command in COMMANDS:
        section = shown[shown.index(f"coda-keras {command.name}¶") :]
        printed = pages.helped(command, f"coda-keras {command.name}")
        flags = set(re.findall(r"^  (--[\w-]+)", printed, re.MULTILINE))
        assert flags or command.name in ("demo", "experiments", "accept")
        assert all(flag in section for flag in flags), command.name


def test_every_trained_preset_is_in_the_zoo(site):
    shown = text(site / "reference/presets.html")
    for name, card in cards().items():
        for fact in (name, f"{card.test_accuracy:.2%}", f"{card.localisation:.3f}", card.sha256):
            assert fact in shown
        assert f"presets/{name}.png" in (site / "reference/presets.html").read_text()
        assert (site / f"images/presets/{name}.png").exists()


@pytest.mark.parametrize("held_out", [True, False])
def test_a_card_says_which_images_a_teacher_was_scored_on(held_out, pages):
    scores = {"accuracy": 0.9, "six_view_accuracy": 0.91, "images": 5000, "held_out": held_out}
    times = {"training_seconds": 60.0, "seconds_of_logits": 120.0}
    recipe = "python recipes/teacher.py --epochs 3"
    facts = pages.teacher_facts({"recipe": recipe, **scores, **times})
    images = "training images held out from it" if held_out else "test images"
    assert facts == (
        f"`coda-keras train teacher --epochs 3`: 90.00% of 5,000 {images}, with six views 91.00%; "
        "1 minutes, and 2 for its logits"
    )


@pytest.mark.parametrize("address", [None, "https://github.com/someone/coda"])
def test_links_into_the_repository_need_its_address(address, pages, monkeypatch):
    monkeypatch.setattr(pages, "repository", lambda: address)
    included = {"metrics.md": True, "results/mnist.json": False}
    there = {
        uri: SimpleNamespace(inclusion=SimpleNamespace(is_included=lambda value=value: value))
        for uri, value in included.items()
    }
    files = SimpleNamespace(get_file_from_path=there.get)

    def shown(uri, markdown):
        page = SimpleNamespace(file=SimpleNamespace(src_uri=uri))
        return pages.on_page_markdown(markdown, page, None, files)

    link = shown(
        "explanation/faq.md", "[a](../../LICENSE), [b](../metrics.md#c), [d](https://e.org)"
    )
    place = f"[a]({address}/blob/main/LICENSE)" if address else "a (`LICENSE` in the repository)"
    assert link == f"{place}, [b](../metrics.md#c), [d](https://e.org)"
    assert ("colab" in shown("tutorials/index.md", "")) == bool(address)
    excluded = shown("mnist.md", "[e](results/mnist.json)")
    assert excluded.startswith(f"[e]({address}/blob/main/docs/results" if address else "e (`docs/")


def test_every_link_leads_to_a_page_and_a_place_on_it(site):
    pages = {page.relative_to(site).as_posix(): page.read_text() for page in site.rglob("*.html")}
    links = {
        (name, html.unescape(unquote(link)))
        for name, page in pages.items()
        # That page is shown at any address, so its links begin at the root.
        for link in re.findall(r'(?:href|src)="([^"]+)"', page if name != "404.html" else "")
        if not re.match("(https?|mailto|data):", link)
    }
    dead = []
    for name, link in links:
        path, _, place = link.partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path.partition("?")[0]))
        target = name if not path else target
        there = (site / target).exists()
        if not there or (place and target in pages and f'id="{place}"' not in pages[target]):
            dead.append((name, link))
    assert len(pages) > 50 and len(links) > 1000 and not dead


def test_pages_have_what_readers_use(site):
    page = (site / "index.html").read_text()
    for used in ('data-md-color-scheme="slate"', "search", "content.code.copy", "viewport"):
        assert used in page
    # Nothing is loaded from elsewhere.
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', page)


def test_docstrings_are_read_as_such(site):
    page = (site / "reference/layers.html").read_text()
    # The table of arguments, and one of its rows.
    assert "Parameters:" in page and "odd int." in page
    # Examples are code.
    assert 'class="gp"' in page


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
