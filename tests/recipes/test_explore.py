"""recipes/explore.py as a user runs it: models as files, several of them, and served ones."""

import base64
import importlib
import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from serving import LIMIT, Server

from coda_keras.explorer import local_server

pytestmark = pytest.mark.tensorflow

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def recipe():
    return importlib.import_module("coda_keras_recipes.explore")


@pytest.fixture
def command(recipe, monkeypatch, capsys):
    """Runs the command in this process; returns exit code, stdout and stderr."""

    def run(*flags):
        monkeypatch.setattr(sys, "argv", ["explore.py", *map(str, flags)])
        code = 0
        try:
            recipe.main()
        except SystemExit as end:
            code = end.code
        return (code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def pictures(quarters, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{index}.png" for index in range(3)]
    for path, image in zip(paths, quarters.test_images):
        Image.fromarray(image).save(path)
    return paths


def data_of(path):
    """What a page holds, before its blobs."""
    text = Path(path).read_text()
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_a_page_of_two_models_has_the_numbers_of_both(
    command, nets, quarters, pictures, tmp_path, browser
):
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(quarters.class_names))
    flags = ["--model", nets["t2"], "--model", nets["t4"], "--labels", labels]
    code, out, err = command(*flags, "--output", tmp_path / "page.html", *pictures)
    assert code == 0, err
    assert str(tmp_path / "page.html") in out
    fragment = f"b={nets['t4']}@1&image=1&class=2&selection=rect.0.0.3.3"
    page = browser.open(f"{(tmp_path / 'page.html').as_uri()}#{fragment}")
    images = quarters.test_images[:3].astype("float32") / 255
    for side, name in (("a", "t2"), ("b", "t4")):
        explanation = keras.models.load_model(nets[name]).explain(images, 2).numpy()
        account = page.account(side)
        inside = explanation.contribution_map[1, :4, :4].sum()
        assert account["inside"] == pytest.approx(inside, abs=6e-4)
        assert account["total"] == pytest.approx(explanation.logits[1, 2], abs=6e-4)
    assert page.text(".classes .name") == "north-west"


def test_names_of_classes_come_from_the_servable_beside_the_model(
    command, nets, pictures, tmp_path
):
    folder = tmp_path / "run"
    (folder / "servables/x/1/assets.extra").mkdir(parents=True)
    (folder / "servables/x/1/assets.extra/labels.txt").write_text("a\nb\nc\nd\n")
    (folder / "model.keras").write_bytes(nets["t2"].read_bytes())
    output = tmp_path / "page.html"
    flags = ["--model", folder / "model.keras", "--output", output, "--classes", 2]
    assert command(*flags, pictures[0])[0] == 0
    (view,) = data_of(output)["views"]
    assert view["classes"] == ["a", "b", "c", "d"]
    (image,) = view["images"]
    assert list(map(int, image["maps"])) == sorted(np.argsort(image["logits"])[-2:])
    assert len(image["layers"]) == 1


def test_a_live_page_has_the_net_and_images_that_nobody_explained(
    command, nets, pictures, tmp_path
):
    output = tmp_path / "live.html"
    models = ["--model", nets["t2"], "--model", nets["t4"]]
    code, out, err = command("--live", *models, "--output", output, *pictures)
    assert code == 0, err
    megabytes = output.stat().st_size / 1e6
    assert out == f"explorer  {output}, {megabytes:.1f} MB with the net in it\n"
    for view in data_of(output)["views"]:
        assert [layer["strides"] for layer in view["net"]["layers"]] == [2, 1]
        assert view["images"][2] == {"name": "2.png", "picture": 2}


def test_the_ten_images_that_come_along_are_for_nets_that_know_them():
    from coda_keras_recipes.explored_images import example_files

    from coda_keras import CoDANet, examples

    files = examples.paths("cifar10")
    net = CoDANet.from_preset("s_coda_cifar10")
    assert example_files(net) == files
    net.class_names = net.class_names[::-1]
    with pytest.raises(ValueError, match="at least one image file"):
        example_files(net)


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "arguments are required: images"),
        (["--live", "--serve"], "goes without --server, --serve"),
        (["--live", "--classes", "3"], "goes without"),
    ],
)
def test_options_that_exclude_each_other_are_refused(flags, message, command):
    code, _, err = command("--model", "no.keras", *flags)
    assert code == 2 and message in err


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--model", "no.keras"], "no.keras"),
        (["--model", "{baseline}"], "no CoDA-Net"),
        (["--server", "localhost:1", "--timeout", "1", "--model", "x"], "localhost:1"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(flags, message, command, nets, pictures, tmp_path):
    flags = [flag.format(**nets) for flag in flags]
    code, _, err = command(*flags, "--output", tmp_path / "page.html", pictures[0])
    assert code == 2 and message in err.strip().splitlines()[-1]
    assert not (tmp_path / "page.html").exists()


def test_images_of_another_size_say_how_to_fit_them(command, nets, tmp_path):
    Image.new("RGB", (20, 10)).save(tmp_path / "wide.png")
    flags = ["--model", nets["t2"], "--output", tmp_path / "page.html", tmp_path / "wide.png"]
    code, _, err = command(*flags)
    assert code == 2 and "--resize" in err
    assert command("--resize", *flags)[0] == 0


def test_nothing_is_written_over_unless_asked(command, nets, pictures, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("mine")
    flags = ["--model", nets["t2"], "--output", page, pictures[0]]
    code, _, err = command(*flags)
    assert code == 2 and "page.html exists. Give --overwrite" in err
    assert page.read_text() == "mine"
    assert command("--overwrite", *flags)[0] == 0 and page.read_text() != "mine"
    image = pictures[0].read_bytes()
    for output in (tmp_path, pictures[0]):
        code, _, err = command("--overwrite", "--model", nets["t2"], *pictures, "--output", output)
        assert code == 2 and "another file with --output" in err
    assert pictures[0].read_bytes() == image


def test_a_process_serves_photographs_resized(nets, tmp_path):
    """It says nothing but its own two lines."""
    Image.new("RGB", (50, 30), "green").save(tmp_path / "photo.jpg")
    command = [sys.executable, "-m", "coda_keras", "explore", "--model", nets["t2"]]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "KERAS_"))}
    with subprocess.Popen(
        [*command, "--serve", "photo.jpg", "--resize"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        lines = [process.stdout.readline() for _ in range(2)]
        try:
            assert lines[0] == "explorer  explorer.html\n", lines
            serving = r"serving   (http://127.0.0.1:\d+/) \(Ctrl-C ends it\)\n"
            url = re.fullmatch(serving, lines[1])[1]
            with urllib.request.urlopen(url, timeout=600) as answer:
                assert "photo.jpg" in answer.read().decode()
        finally:
            process.terminate()
        assert process.communicate() == ("", "")
    assert data_of(tmp_path / "explorer.html")["views"][0]["size"] == [8, 8]


def test_ctrl_c_ends_serving_in_silence(command, nets, pictures, tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", interrupted)
    flags = ["--model", nets["t2"], "--serve", "--output", tmp_path / "page.html", pictures[0]]
    code, out, err = command(*flags)
    assert code == 0 and "serving   http://127.0.0.1:" in out and err == ""


@pytest.fixture
def serving():
    """A local server in a thread; its address."""
    servers = []

    def start(page, answer):
        server = local_server(page, answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_served_page_takes_pixels_away(recipe, nets, pictures, serving, browser, monkeypatch):
    flags = ["explore.py", "--model", str(nets["t2"]), "--serve", *map(str, pictures)]
    monkeypatch.setattr(sys, "argv", flags)
    args = recipe.parse()
    shown = browser.open(
        serving(*recipe.served_page(args, *recipe.explained(args)))
        + "/#image=2&selection=rect.0.0.3.7"
    )
    shown.click(".removal [data-value=others]")
    shown.click(".removal .primary")
    shown.until("return codaExplorer.removed")
    image = np.asarray(Image.open(pictures[2]), "float32")[None] / 255
    encoded = np.concatenate([image, 1 - image], axis=-1)
    before = keras.models.load_model(nets["t2"])(encoded)
    encoded[:, 4:] = 0
    after = keras.models.load_model(nets["t2"])(encoded)
    removal = shown.js("return codaExplorer.sides[0].removal")
    np.testing.assert_allclose(removal["before"], np.asarray(before)[0], atol=1e-5)
    np.testing.assert_allclose(removal["after"], np.asarray(after)[0], atol=1e-5)
    shown.click(".removal .primary ~ button")
    assert shown.js("return codaExplorer.removed") is None


def test_most_and_least_important_pixels_are_those_of_the_map(
    recipe, nets, pictures, serving, browser, monkeypatch
):
    asked = []

    def answer(request):
        asked.append(request)
        return {"before": [0, 1, 2, 3], "after": [3, 2, 1, 0]}

    flags = ["explore.py", "--model", str(nets["t2"]), "--serve", str(pictures[0])]
    monkeypatch.setattr(sys, "argv", flags)
    args = recipe.parse()
    page, _ = recipe.served_page(args, *recipe.explained(args))
    shown = browser.open(serving(page, answer) + "/#class=1")
    image = np.asarray(Image.open(pictures[0]), "float32")[None] / 255
    contributions = (
        keras.models.load_model(nets["t2"]).explain(image, 1).numpy().contribution_map.ravel()
    )
    for order, expected in (
        ("most", np.argsort(-contributions)[:16]),
        ("least", np.argsort(contributions)[:16]),
    ):
        shown.click(f".removal [data-value={order}]")
        shown.js(
            "const s = document.querySelector('.removal input'); s.value = 25;"
            "s.dispatchEvent(new Event('input'))"
        )
        shown.click(".removal .primary")
        shown.until("return !codaExplorer.removing && codaExplorer.removed")
        gone = np.frombuffer(base64.b64decode(asked[-1]["removed"]), "uint8")
        assert sorted(np.flatnonzero(gone)) == sorted(expected)


def test_a_served_model_is_asked_by_grpc(command, recipe, nets, pictures, tmp_path, monkeypatch):
    from coda_keras_export.package import package

    net = keras.models.load_model(nets["t2"])
    package(net, tmp_path / "servables", "quarters", labels=["a", "b", "c", "d"])
    # As of a net whose images are large.
    monkeypatch.setattr("coda_keras_recipes.explored_nets.max_images", lambda *_: 1)
    server = Server(tmp_path / "servables", "--max-batch-size", "1")
    try:
        output = tmp_path / "page.html"
        flags = ["--server", server.address, "--model", "quarters", "--output", output]
        flags += ["--timeout", LIMIT]
        code, _, err = command(*flags, *pictures)
        assert code == 0, err
        (view,) = data_of(output)["views"]
        images = np.stack([np.asarray(Image.open(path), "float32") for path in pictures]) / 255
        explanation = net.explain(images, "all").numpy()
        logits = [image["logits"] for image in view["images"]]
        np.testing.assert_allclose(logits, explanation.logits, rtol=1e-5)
        assert view["classes"] == ["a", "b", "c", "d"] and view["weights"] == "int16"
        monkeypatch.setattr(sys, "argv", ["explore.py", *map(str, flags), str(pictures[0])])
        (shown,), (predict,) = recipe.explained(recipe.parse())
        order = shown.class_ids[0]
        np.testing.assert_allclose(shown.maps[0], explanation.contribution_map[0, order], atol=1e-5)
        removed = images[..., 0] > 0.5
        encoded = np.concatenate([images, 1 - images], axis=-1) * ~removed[..., None]
        np.testing.assert_allclose(predict(images, removed), net(encoded), atol=1e-5)
    finally:
        server.end()


@pytest.mark.parametrize(
    "path, headers, data, code",
    [
        ("/", {"Host": "evil.example"}, None, 403),
        ("/../setup.py", {}, None, 404),
        ("/page.html", {}, None, 404),
        ("/predict", {"Content-Type": "text/plain"}, b"{}", 415),
        ("/predict", JSON, b"{", 400),
        ("/other", JSON, b"{}", 404),
        ("/predict", {**JSON, "Content-Length": "²"}, b"{}", 413),
        ("/predict", {**JSON, "Content-Length": "9" * 5000}, b"{}", 413),
    ],
)
def test_the_local_server_answers_nothing_else(serving, path, headers, data, code):
    url = serving("page", dict)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=600)
    with raised.value as answer:
        assert answer.code == code and json.load(answer)["error"]
