"""The explorer in JupyterLab, in a real browser, with a kernel behind it."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from browser import Page
from explorer_views import NAMES, tiny_net, view
from PIL import Image
from places import jupyter_lab, leave_notebook, run_notebook

from coda_keras import explorer

pytestmark = pytest.mark.tensorflow
TESTS = Path(__file__).resolve().parents[1]

CODE = """
from explorer_views import NAMES, tiny_net
net, images = tiny_net()
explanation = net.explain(images, "all")
"""
STATIC = "explanation.show(images, NAMES)"
LIVE = "explanation.show(images, NAMES, net=net, title='with a model')"


def test_both_outputs_show_the_numbers_and_the_model_answers(driver, tmp_path, monkeypatch):
    pytest.importorskip("jupyterlab")
    pytest.importorskip("anywidget")
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    page = Page(driver)
    net, images = tiny_net()
    explanation = net.explain(images, "all").numpy()
    # JupyterLab has its own complaints in the console, so it is not read here.
    with jupyter_lab(tmp_path, [CODE, STATIC, LIVE]) as url:
        static, live = run_notebook(page, url, viewers=2)
        driver.switch_to.frame(static)
        page.ready().js("codaExplorer.set({class: 2, selection: {rect: [1, 2, 5, 9]}})")
        account = page.ready().account()
        inside = explanation.contribution_map[0, 2, 1:6, 2:10].sum()
        assert account["inside"] == pytest.approx(inside, abs=6e-4)
        assert account["total"] == pytest.approx(explanation.logits[0, 2], abs=6e-4)
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
        leave_notebook(page)


def test_front_ends_without_html_get_a_picture():
    net, images = tiny_net()
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
    net, images = tiny_net()
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
