"""The tab of TensorBoard, in a real browser and by its routes."""

import gzip
import json
import os
import re
import struct
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from conftest import set_weights
from explorer_views import COUNT, numbers, view
from places import enter_tab, said, tensorboard

pytestmark = pytest.mark.tensorflow
ROOT = Path(__file__).resolve().parents[2]


def write(folder, tag, *views, **options):
    import tensorflow as tf

    from coda_keras.tensorboard.summaries import write_view

    with tf.summary.create_file_writer(str(folder)).as_default():
        for step, shown in enumerate(views):
            write_view(tag, shown, step, **options)


def write_strings(folder, tag, strings):
    write_tensor(folder, tag, strings, "string")


def write_tensor(folder, tag, values, dtype):
    """What a broken or foreign writer leaves."""
    import tensorflow as tf
    from tensorboard.compat.proto import summary_pb2

    metadata = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="explanations"),
        data_class=summary_pb2.DATA_CLASS_BLOB_SEQUENCE,
    )
    with tf.summary.create_file_writer(str(folder)).as_default():
        tf.summary.write(tag, tf.constant(values, dtype), step=0, metadata=metadata)


@pytest.fixture(scope="module")
def net():
    from coda_keras import CoDANet, DAUConv2D

    net = CoDANet([DAUConv2D(5, 4, 3)], temperature=2, image_size=(12, 16))
    set_weights(net, np.random.default_rng(0))
    return net


@pytest.fixture(scope="module")
def logs(tmp_path_factory, net):
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("logs")
    write(folder / "one", "contributions", view(0), view(1))
    write(folder / "two", "contributions", view(2, labels=[0, 0, 0, 0]))
    write(folder / "two", "GradCAM", view(3, bias=None, weights=None))
    write_strings(folder / "wrong", "nothing", [b"no json"])
    write_strings(folder / "wrong", "later", [json.dumps({"format": 99}).encode()])
    manifest = {**json.loads(stored_manifest()), "title": "<img src=x onerror=alert(1)>"}
    damaged = [json.dumps(manifest).encode()] + [b"damaged"] * 100
    write_strings(folder / "wrong", "<b>damaged</b>", damaged)
    # The pictures stand where the maps are said to be.
    described, blobs = json.loads(stored_manifest()), stored_blobs()
    for image in described["images"]:
        image["maps"] = dict.fromkeys(image["maps"], image["picture"])
    write_strings(folder / "wrong", "swapped", [json.dumps(described).encode(), *blobs])
    for image in described["images"]:
        image["maps"] = dict.fromkeys(image["maps"], 10**6)
    write_strings(folder / "wrong", "missing", [json.dumps(described).encode(), *blobs])
    write_tensor(folder / "wrong", "scalar", 0.5, "float32")
    write_tensor(folder / "wrong", "text", b"{}", "string")
    write_tensor(folder / "wrong", "numbers", [0.5, 1.5], "float32")
    with tf.summary.create_file_writer(str(folder / "old")).as_default():
        tf.summary.image("contribution_maps", np.zeros((1, 4, 4, 3), "uint8"), step=0)
    net.save(folder / "model.keras")
    return folder


def stored_manifest():
    from coda_keras.explorer.storage import encoded_view

    return json.dumps(encoded_view(view())[0])


def stored_blobs():
    from coda_keras.explorer.storage import encoded_view

    return encoded_view(view())[1]


@pytest.fixture(scope="module")
def url(logs):
    return tensorboard(logs, "--load_fast=false", f"--explanations_model={logs / 'model.keras'}")


def ask(url, path, data=None, content_type="application/json"):
    """Status, type and bytes of an answer."""
    headers = {"Content-Type": content_type}
    request = urllib.request.Request(f"{url}data/plugin/explanations/{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read()


@pytest.fixture
def tab(browser, url):
    """Opens the tab, as `#explanations` of the page, and returns the viewer in its frame."""

    def open_tab(fragment="", address=url):
        driver = browser.driver
        driver.switch_to.default_content()
        driver.get("about:blank")
        link = urllib.parse.urlencode({"p.explanations.view": fragment})
        driver.get(f"{address}#explanations&{link}")
        return enter_tab(browser)

    yield open_tab
    browser.driver.switch_to.default_content()


def test_the_tab_shows_every_run_and_its_numbers(tab):
    page = tab().ready()
    assert [text.split(":")[0] for text in page.texts(".series[data-side=a] option")][1:3] == [
        "two",
        "two",
    ]
    page = tab("a=one/contributions@1").ready()
    page.click("[data-id='3'] .pick")
    page.drag([(2, 2), (7, 9)])
    _, _, maps, logits = numbers(1)
    account = page.account()
    assert account["inside"] == pytest.approx(maps[0, 3, 2:8, 2:10].sum(), abs=6e-4)
    assert account["total"] == pytest.approx(logits[0, 3], abs=5.1e-4)
    assert round(account["bias"] + account["inside"] + account["outside"], 3) == account["total"]


def test_steps_and_methods_are_compared(tab):
    page = tab("a=one/contributions@1&b=one/contributions@0&class=2&selection=rect.0.0.3.3").ready()
    for side, seed in (("a", 1), ("b", 0)):
        maps, logits = numbers(seed)[2:]
        assert page.account(side)["inside"] == pytest.approx(maps[0, 2, :4, :4].sum(), abs=6e-4)
        assert page.account(side)["total"] == pytest.approx(logits[0, 2], abs=5.1e-4)
    page = tab("a=two/contributions@0&b=two/GradCAM@0&class=2").ready()
    assert "bias" in page.account("a") and "bias" not in page.account("b")


def test_a_link_to_tensorboard_reopens_the_view(tab, browser):
    page = tab("a=two/contributions@0").ready()
    page.click("[data-id='3'] .pick")
    link = page.js("return codaExplorer.link.url()")
    browser.driver.switch_to.default_content()
    browser.driver.get("about:blank")
    browser.driver.get(link)
    state = enter_tab(browser).ready().js("return codaExplorer.state")
    assert (state["a"], state["class"]) == ("two/contributions@0", 3)


def test_reloading_keeps_the_view_and_one_pair_of_ears(tab):
    page = tab("a=one/contributions@0&class=2").ready()
    page.js("globalThis.before = codaExplorer; document.querySelector('.reload').click()")
    page.until("return codaExplorer !== before")
    page.ready().js("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))")
    assert page.js("return [codaExplorer.state.image, before.state.image]") == [1, 0]
    state = page.js("return codaExplorer.state")
    assert (state["a"], state["class"]) == ("one/contributions@0", 2)


def test_pixels_are_taken_away_by_the_model(tab, net):
    from keras import ops

    page = tab("a=one/contributions@0&image=1&selection=rect.2.2.5.5").ready()
    page.click(".removal [data-value=selected]")
    page.click(".removal .primary")
    page.until("return codaExplorer.removed")
    images = numbers(0)[0][1:2] / 255
    encoded = np.concatenate([images, 1 - images], axis=-1).astype("float32")
    encoded[:, 2:6, 2:6] = 0
    answer = page.js("return codaExplorer.sides[0].removal.after")
    np.testing.assert_allclose(answer, ops.convert_to_numpy(net(encoded))[0], atol=1e-5)
    assert "16 of 192 pixels are gone" in page.text(".result")


@pytest.mark.parametrize(
    "series, sentence",
    [
        ("wrong/nothing@0", "it has no description"),
        ("wrong/later@0", "reads format 1"),
        ("wrong/<b>damaged</b>@0", "damaged"),
        ("wrong/swapped@0", "map is not among them"),
        ("wrong/missing@0", "There is no such explanation"),
        ("wrong/scalar@0", "as scalar at step 0 is no explanation, or damaged"),
        ("wrong/text@0", "as text at step 0 is no explanation, or damaged"),
        ("wrong/numbers@0", "as numbers at step 0 is no explanation, or damaged"),
    ],
)
def test_broken_tensors_end_in_a_sentence_and_others_can_be_chosen(tab, series, sentence):
    page = tab(urllib.parse.urlencode({"a": series}))
    page.until("return document.querySelector('.message:not([hidden])')")
    page.until(
        "return document.querySelector('.message').innerText.includes(arguments[0])", sentence
    )
    assert page.js("return document.querySelectorAll('img, .message b').length") == 0
    page.js("codaExplorer.choose('a', 'one/contributions', 1)")
    page.until("return document.querySelector('.message[hidden]') && codaExplorer.sides.length")
    assert page.ready().account()["total"]
    # Browsers tell of every refusal.
    assert all("data/plugin/explanations/" in error["message"] for error in page.errors())


def test_old_runs_and_empty_folders_say_what_to_do(tab, logs, tmp_path):
    empty = tab("", tensorboard(tmp_path, "--load_fast=false"))
    assert "callbacks.ExplanationBoard" in empty.text(".message")
    old = tab("", tensorboard(logs / "old", "--load_fast=false"))
    assert "pictures only" in old.text(".message")


def test_only_its_own_assets_are_served(url):
    assert ask(url, "index.js")[:2] == (200, "application/javascript; charset=utf-8")
    assert ask(url, "style.css")[0] == 200
    for path in ("../../../setup.py", "page.html", "..%2f..%2fsetup.py", "index.js/../view.py"):
        assert ask(url, path)[0] == 404, path
        # TensorBoard answers unknown paths by its own page; nothing of ours.
        assert b"coda" not in ask(url, path)[2]


@pytest.mark.parametrize(
    "path",
    [
        "view",
        "view?run=one&tag=contributions&step=77",
        "view?run=one&tag=contributions&step=-1",
        "view?run=../one&tag=contributions&step=0",
        "blob?run=one&tag=contributions&step=0&index=9999",
        "blob?run=one&tag=contributions&step=0&index=x",
        "predict",
    ],
)
def test_wrong_requests_are_answered_by_a_sentence(url, path):
    status, content_type, body = ask(url, path)
    assert status in (400, 404) and content_type.startswith("application/json")
    assert json.loads(body)["error"]


@pytest.mark.parametrize(
    "request_",
    [b"[]", b"{", b"{}", b'{"run": "one", "tag": "contributions", "step": 0, "image": 0}'],
)
def test_wrong_removals_are_answered_by_a_sentence(url, request_):
    status, _, body = ask(url, "predict", request_)
    assert status in (400, 404) and json.loads(body)["error"]
    assert ask(url, "predict", request_, "text/plain")[0] == 400


@pytest.fixture(scope="module")
def command(logs, tmp_path_factory):
    """TensorBoard as the command that users start, with its own loader; the URL."""
    packages = tmp_path_factory.mktemp("packages")
    if not entry_points(group="tensorboard_plugins", name="explanations"):
        # As `pip install` would.
        about = packages / "coda_keras-0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: coda-keras\nVersion: 0\n")
        (about / "entry_points.txt").write_text(f"[tensorboard_plugins]\n{declared()}\n")
    path = os.pathsep.join([str(packages), str(ROOT), os.environ.get("PYTHONPATH", "")])
    log = packages / "log"
    with log.open("w") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "tensorboard.main", "--logdir", logs, "--port=0"],
            env={**os.environ, "PYTHONPATH": path},
            stderr=written,
        )
    yield said(process, log, r"http://localhost:\d+/")
    process.terminate()
    process.wait()


def declared():
    """The entry point that pyproject.toml declares."""
    text = (ROOT / "pyproject.toml").read_text()
    name, target = re.search(r'(explanations) = "([\w.:]+)"', text).groups()
    return f"{name} = {target}"


def test_the_installed_command_finds_the_tab_and_reads_the_same(command, url):
    with urllib.request.urlopen(f"{command}data/plugins_listing") as answer:
        listing = json.load(answer)["explanations"]
    assert listing["tab_name"] == "Explanations" and listing["enabled"]
    place = "run=one&tag=contributions&step=1"
    for path in ("entries", f"view?{place}", f"blob?{place}&index=3"):
        ours, theirs = (ask(address, path) for address in (command, url))
        if path == "entries":  # Of which one tells of a model.
            ours, theirs = (
                [entry for entry in json.loads(answer[2])["entries"] if entry["run"] != "wrong"]
                for answer in (ours, theirs)
            )
        assert ours == theirs, path


def test_event_files_of_0_2_0_are_read():
    from coda_keras.explorer.packing import unpack

    url = tensorboard(ROOT / "tests/fixtures/0.2.0/tensorboard", "--load_fast=false")
    (entry,) = json.loads(ask(url, "entries")[2])["entries"]
    (step,) = entry["steps"]
    place = urllib.parse.urlencode({"run": entry["run"], "tag": entry["tag"], "step": step})
    manifest = json.loads(ask(url, f"view?{place}")[2])
    (image,) = manifest["images"]
    for class_id, logit in enumerate(image["logits"]):
        blob = ask(url, f"blob?{place}&index={image['maps'][str(class_id)]}")[2]
        total = manifest["bias"] + unpack(blob)["map"].sum()
        assert total == pytest.approx(logit, rel=1e-4, abs=1e-4)


def test_a_bound_leaves_out_classes_then_images(tmp_path):
    from coda_keras.explorer.storage import encoded_view, fitted

    whole = view()
    pixels = 12 * 16
    cases = [(10**9, COUNT, 5), (COUNT * pixels * (3 + 3 * 10), COUNT, 3), (pixels * 23, 1, 2)]
    for bound, images, classes in cases:
        kept = fitted(whole, bound, "int8")
        assert kept.maps.shape[:2] == (images, classes)
        manifest, _ = encoded_view(kept, "int8")
        assert len(manifest["images"]) == images
        raw = images * pixels * (3 + classes * 10)
        assert raw <= bound


def test_eight_bits_say_their_error():
    from coda_keras.explorer.packing import unpack
    from coda_keras.explorer.storage import encoded_view

    _, weights, maps, _ = numbers(0)
    manifest, blobs = encoded_view(view(), "int8")
    arrays = unpack(blobs[manifest["images"][2]["maps"]["4"]])
    np.testing.assert_array_equal(arrays["map"], maps[2, 4])
    error = np.abs(arrays["weights"] - weights[2, 4]).max()
    assert 0 < error <= manifest["error"] * (1 + 1e-4)
    assert manifest["error"] <= np.abs(weights).max() / 254 * (1 + 1e-4)


def test_bytes_of_others_are_refused(monkeypatch):
    from coda_keras.explorer.packing import MAGIC, pack, unpack

    packed = pack({"a": np.arange(6, dtype="int32").reshape(2, 3)})
    np.testing.assert_array_equal(unpack(packed)["a"], [[0, 1, 2], [3, 4, 5]])
    far = json.dumps({"a": {"dtype": "int8", "shape": [1], "offset": 2**70}}).encode()
    far = gzip.compress(MAGIC + struct.pack("<I", len(far)) + far)
    for data in (b"", b"abc", packed[:-9], packed[:20], far):
        with pytest.raises(ValueError, match="Expected packed arrays"):
            unpack(data)
    monkeypatch.setattr("coda_keras.explorer.packing.MAX_BYTES", 2**10)
    with pytest.raises(ValueError, match="inflate to more than 1024 bytes"):
        unpack(pack({"a": np.zeros(2**10, "int8")}))
