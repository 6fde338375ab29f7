"""The explorer in JupyterLab, in a real browser, with a kernel behind it."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from browser import Page
from conftest import set_weights
from PIL import Image
from test_explorer import NAMES, numbers, view

from coda_keras import CoDANet, DAUConv2D, explorer

pytestmark = pytest.mark.tensorflow
ROOT = Path(__file__).resolve().parents[1]
SIZE = (12, 16)

CODE = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from test_explorer_notebook import NAMES, make
net, images = make()
explanation = net.explain(images, "all")
"""
STATIC = "explanation.show(images, NAMES)"
LIVE = "explanation.show(images, NAMES, net=net, title='with a model')"


def make():
    """A net and images, the same in the kernel and here."""
    net = CoDANet([DAUConv2D(4, 3, 3), DAUConv2D(5, 4, 1)], temperature=2, image_size=SIZE)
    set_weights(net, np.random.default_rng(0))
    return net, (numbers(0)[0] / 255).astype("float32")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab with a notebook; its address."""
    pytest.importorskip("jupyterlab")
    pytest.importorskip("anywidget")
    folder = tmp_path_factory.mktemp("lab")
    code = CODE.format(tests=str(ROOT / "tests"), root=str(ROOT))
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "source": source, "outputs": []}
        for i, source in enumerate((code, STATIC, LIVE))
    ]
    for cell in cells:
        cell["execution_count"] = None
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4}
    (folder / "look.ipynb").write_text(json.dumps({**notebook, "nbformat_minor": 5}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {name: str(folder / "jupyter") for name in JUPYTER_FOLDERS}
    command = ["-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += [f"--ServerApp.port={port}", "--IdentityProvider.token=", "--ip=127.0.0.1"]
    command += [f"--ServerApp.root_dir={folder}", "--LabApp.news_url=None"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *command], env={**os.environ, **own}, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}/"
    try:
        wait_for(f"{url}api", process, folder / "log")
        yield url
    finally:
        process.terminate()
        process.wait()


JUPYTER_FOLDERS = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")


def wait_for(url, process, log):
    deadline = time.monotonic() + 120
    while True:
        try:
            return urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


def test_both_outputs_show_the_numbers_and_the_model_answers(driver, lab):
    page = Page(driver)
    driver.get(f"{lab}lab/tree/look.ipynb")
    try:
        # JupyterLab has its own complaints in the console, so it is not read here.
        page.until("return globalThis.jupyterapp?.shell.currentWidget?.context?.isReady")
        page.until("return jupyterapp.shell.currentWidget.sessionContext.isReady")
        page.js("jupyterapp.commands.execute('notebook:run-all-cells')")
        frames = "return [...document.querySelectorAll('iframe')]"
        page.until(f"{frames}.filter(f => f.contentWindow?.codaExplorer).length === 2", seconds=180)
        net, images = make()
        found = net.explain(images, "all").numpy()
        static, live = page.js(f"{frames}.filter(f => f.contentWindow?.codaExplorer)")

        driver.switch_to.frame(static)
        page.ready().js("codaExplorer.set({class: 2, selection: {rect: [1, 2, 5, 9]}})")
        account = page.ready().account()
        inside = found.contribution_map[0, 2, 1:6, 2:10].sum()
        assert account["inside"] == pytest.approx(inside, abs=6e-4)
        assert account["total"] == pytest.approx(found.logits[0, 2], abs=6e-4)
        assert NAMES[1] in page.texts(".classes .name")
        assert "net=net" in page.text(".removal")

        driver.switch_to.default_content()
        driver.switch_to.frame(live)
        page.ready().js("codaExplorer.set({image: 1, selection: {rect: [0, 0, 3, 15]}})")
        page.ready().click(".removal [data-value=selected]")
        page.click(".removal .primary")
        page.until("return codaExplorer.removed")
        encoded = np.concatenate([images[1:2], 1 - images[1:2]], axis=-1)
        encoded[:, :4] = 0
        answer = page.js("return codaExplorer.sides[0].removal.after")
        np.testing.assert_allclose(answer, np.asarray(net(encoded))[0], atol=1e-5)
        assert page.js("return document.querySelectorAll('.layer').length") == 2
    finally:
        driver.switch_to.default_content()
        # Leaves without a question about unsaved changes.
        page.js("window.onbeforeunload = null; jupyterapp?.serviceManager.sessions.shutdownAll()")
        driver.get("about:blank")


def test_front_ends_without_html_get_a_picture():
    net, images = make()
    bundle = net.explain(images).show(images, NAMES)._repr_mimebundle_()
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert Image.open(io.BytesIO(bundle["image/png"])).width > 300
    assert bundle["text/plain"] == "<explorer of 4 images: Explanations>"
    assert bundle["text/html"].startswith("<iframe srcdoc=")
    # The document is an attribute, which nothing in it can end.
    assert bundle["text/html"].count('"') == 2 * 4


def test_without_anywidget_the_viewer_is_shown_all_the_same(monkeypatch):
    from coda_keras.explorer import notebook

    monkeypatch.setattr(notebook, "find_spec", lambda name: None)
    net, images = make()
    shown = net.explain(images).show(images, NAMES, net=net)
    assert "anywidget" in shown._repr_mimebundle_()["text/html"]


def test_a_removal_answers_what_it_cannot_by_a_sentence():
    removal = explorer.Removal([view()], lambda images, removed: np.zeros((len(images), 5)))
    pixels = base64.b64encode(bytes(12 * 16)).decode()
    good = {"view": 0, "image": 3, "removed": pixels}
    assert removal(good) == {"before": [0.0] * 5, "after": [0.0] * 5}
    for wrong in ({"view": 1}, {"image": 4}, {"image": True}, {"removed": "AA=="}, {"removed": 3}):
        assert list(removal({**good, **wrong})) == ["error"]
    assert list(removal([])) == ["error"]


def test_pixels_that_are_gone_are_zero_in_all_channels():
    seen = []
    predict = explorer.without_pixels(lambda encoded: seen.append(np.asarray(encoded)) or encoded)
    images = np.full((1, 2, 2, 3), 0.25, "float32")
    removed = np.array([[[True, False], [False, False]]])
    predict(images, removed)
    assert seen[0][0, 0, 0].tolist() == [0] * 6
    assert seen[0][0, 1, 1].tolist() == [0.25] * 3 + [0.75] * 3
