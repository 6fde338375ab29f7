"""Serving over gRPC: the server's answers and refusals, its start and end, and the client."""

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading
from concurrent import futures
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import grpc
import keras
import numpy as np
import pytest
import tensorflow as tf
import trustme
from coda_keras_export import client, serve
from coda_keras_export.api import acceptance, tls
from coda_keras_export.images import open_image
from coda_keras_export.package import package
from coda_keras_export.server import limits
from PIL import Image
from processes import run_forked
from serving import (
    AVAILABLE,
    END,
    LIMIT,
    ROOT,
    SERVE,
    Server,
    eventually,
    publish,
    refusal,
    status,
)
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from coda_keras import CoDANet, DAUConv2D

pytestmark = pytest.mark.tensorflow

HEIGHT, WIDTH, CLASSES = 8, 7, 3
NAMES = ["cat", "dog", "ship"]
CODE = grpc.StatusCode


def tiny_net(seed):
    keras.utils.set_random_seed(seed)
    layers = [DAUConv2D(4, 2, 3, strides=2), DAUConv2D(CLASSES, 4, 1)]
    return CoDANet(layers, temperature=0.1, image_size=(HEIGHT, WIDTH))


@pytest.fixture(scope="module")
def nets():
    plain, labelled = tiny_net(1), tiny_net(2)
    return {("other", 5): plain, ("tiny", 1): plain, ("tiny", 2): labelled}


@pytest.fixture(scope="module")
def models(nets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("servables")
    plain = package(nets["other", 5], folder, "other", 5)
    shutil.copytree(plain, folder / "tiny" / "1")
    package(nets["tiny", 2], folder, "tiny", labels=NAMES)
    return folder


@pytest.fixture(scope="module")
def server(models):
    server = Server(models, "--poll", "0.2", "--metrics-port", "0", new=True)
    yield server
    assert server.end() == 0
    assert not any("Traceback" in line for line in server.errors)


@pytest.fixture(scope="module")
def channel(server):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.address, options) as channel:
        yield channel


@pytest.fixture
def predict(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def call(inputs, signature="", outputs=(), timeout=LIMIT, **spec):
        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.signature_name = signature
        request.model_spec.name = spec.get("name", "tiny")
        if "version" in spec:
            request.model_spec.version.value = spec["version"]
        if "label" in spec:
            request.model_spec.version_label = spec["label"]
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        return stub.Predict(request, timeout=timeout)

    return call


@pytest.fixture
def images(rng):
    return rng.random((2, HEIGHT, WIDTH, 3), "float32")


def arrays(response):
    return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}


def test_it_says_where_it_serves(server):
    assert re.fullmatch(r"serving \S+ on 127\.0\.0\.1:\d+\n", server.line)


def test_every_model_and_version_answers_as_its_net(predict, nets, images):
    for (name, version), net in nets.items():
        response = predict({"images": images}, name=name, version=version)
        outputs, expected = arrays(response), net.explain(images).numpy()
        for field in ("logits", "class_ids", "contribution_map"):
            np.testing.assert_allclose(
                outputs[field], getattr(expected, field), rtol=1e-4, atol=1e-5
            )
        spec = response.model_spec
        assert (spec.name, spec.version.value) == (name, version)
        assert spec.signature_name == "serving_default"


def test_the_latest_version_is_the_default(predict, nets, images):
    response = predict({"images": images})
    assert response.model_spec.version.value == 2
    expected = np.asarray(nets["tiny", 2](images))
    np.testing.assert_allclose(arrays(response)["logits"], expected, rtol=1e-4, atol=1e-5)


def test_output_filter(predict, images):
    response = predict({"images": images}, outputs=["class_ids", "logits"])
    assert set(response.outputs) == {"class_ids", "logits"}


def test_refusals_have_the_stock_servers_codes(predict, images):
    good = {"images": images}
    for arguments, code, sentence in [
        (({"images": 2 * images},), CODE.INVALID_ARGUMENT, "in [0, 1]"),
        (({"images": images * np.nan},), CODE.INVALID_ARGUMENT, "NaN"),
        (({"images": images[0]},), CODE.INVALID_ARGUMENT, "must have shape (?, 8, 7, 3)"),
        (({"images": images[:, 1:]},), CODE.INVALID_ARGUMENT, "must have shape (?, 8, 7, 3)"),
        (({"images": images.astype("float64")},), CODE.INVALID_ARGUMENT, "must be float32"),
        (({},), CODE.INVALID_ARGUMENT, "missing: images"),
        (({"pictures": images},), CODE.INVALID_ARGUMENT, "unknown: pictures"),
        ((good, "explain"), CODE.INVALID_ARGUMENT, "missing: class_ids"),
        ((good, "", ["maps"]), CODE.INVALID_ARGUMENT, "unknown: maps"),
        ((good, "regress"), CODE.FAILED_PRECONDITION, '"regress" not found'),
        (({"image_bytes": [b"x"]}, "serving_bytes"), CODE.INVALID_ARGUMENT, "PNG or JPEG"),
    ]:
        answered, details = refusal(predict, *arguments)
        assert (answered, sentence in details) == (code, True), details
    for spec, code, sentence in [
        ({"name": "lion"}, CODE.NOT_FOUND, "no model 'lion'"),
        ({"version": 3}, CODE.NOT_FOUND, "no version 3 of model 'tiny'"),
        ({"name": ""}, CODE.INVALID_ARGUMENT, "has no name"),
        ({"label": "stable"}, CODE.INVALID_ARGUMENT, "label: 'stable'"),
    ]:
        answered, details = refusal(predict, good, **spec)
        assert (answered, sentence in details) == (code, True), details
    assert arrays(predict(good))["logits"].shape == (2, CLASSES)


def test_long_names_and_lists_are_cut_short(channel, predict, images):
    good, long = {"images": images}, "x" * 2**20
    many = {"\U0001f408" * 50 + str(number): images for number in range(3000)}
    for arguments, spec, code in [
        ((good,), {"name": long}, CODE.NOT_FOUND),
        ((good,), {"name": "\U0001f408" * 10**5}, CODE.NOT_FOUND),
        ((good,), {"label": long}, CODE.INVALID_ARGUMENT),
        ((good, long), {}, CODE.FAILED_PRECONDITION),
        ((good, "", [long]), {}, CODE.INVALID_ARGUMENT),
        ((many,), {}, CODE.INVALID_ARGUMENT),
        (({"a\nb": images, long: images},), {}, CODE.INVALID_ARGUMENT),
        (({"images": np.zeros([1] * 30 + [0], "float32")},), {}, CODE.INVALID_ARGUMENT),
    ]:
        answered, details = refusal(predict, *arguments, **spec)
        assert (answered, len(details) < 1000) == (code, True), details[:200]
    assert refusal(status, channel, long)[0] == CODE.NOT_FOUND
    assert refusal(metadata, channel, "tiny", *["x" * 1000] * 1000)[0] == CODE.INVALID_ARGUMENT


def test_a_deadline_ends_the_wait(predict, images):
    code, _ = refusal(predict, {"images": np.repeat(images, 200, 0)}, timeout=0.001)
    assert code == CODE.DEADLINE_EXCEEDED


def test_messages_may_be_larger_than_four_mebibytes(predict, images):
    many = np.tile(images, (4000, 1, 1, 1))
    assert many.nbytes > 5 * 2**20
    maps = arrays(predict({"images": many}))["contribution_map"]
    np.testing.assert_allclose(maps[-2:], maps[:2], rtol=1e-3, atol=1e-5)


def test_a_message_too_large_is_refused(predict, images):
    many = np.tile(images, (64 * 2**20 // images.nbytes + 1, 1, 1, 1))
    code, details = refusal(predict, {"images": many})
    assert (code, "larger than max" in details) == (CODE.RESOURCE_EXHAUSTED, True)
    assert arrays(predict({"images": images}))["logits"].shape == (2, CLASSES)


def test_a_small_message_for_a_large_array_is_refused(channel, predict, images):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "tiny"
    proto = request.inputs["images"]
    proto.CopyFrom(tf.make_tensor_proto(np.float32(0.5), shape=(10_000, HEIGHT, WIDTH, 3)))
    assert request.ByteSize() < 100
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    code, details = refusal(stub.Predict, request, timeout=LIMIT)
    assert (code, "holds 1 values" in details) == (CODE.INVALID_ARGUMENT, True)
    assert arrays(predict({"images": images}))["logits"].shape == (2, CLASSES)


def test_concurrent_requests_get_their_own_answers(predict, nets, rng):
    batches = rng.random((24, 1, HEIGHT, WIDTH, 3), "float32")

    def ask(batch):
        return arrays(predict({"images": batch}, "classify", version=1))["logits"]

    with futures.ThreadPoolExecutor(8) as pool:
        logits = list(pool.map(ask, batches))
    expected = np.asarray(nets["tiny", 1](batches[:, 0]))
    np.testing.assert_allclose(np.concatenate(logits), expected, rtol=1e-4, atol=1e-5)


def metadata(channel, name, *fields):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = name
    return stub.GetModelMetadata(request)


def test_metadata(channel):
    response = metadata(channel, "tiny", "signature_def")
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {
        "serving_default",
        "serving_bytes",
        "classify",
        "classify_without",
        "explain",
        "labels",
    }
    images = signatures.signature_def["classify"].inputs["images"]
    assert [dim.size for dim in images.tensor_shape.dim] == [-1, HEIGHT, WIDTH, 3]
    assert response.model_spec.version.value == 2
    assert refusal(metadata, channel, "tiny")[0] == CODE.INVALID_ARGUMENT
    assert refusal(metadata, channel, "tiny", "weights")[0] == CODE.INVALID_ARGUMENT
    assert refusal(metadata, channel, "lion", "signature_def")[0] == CODE.NOT_FOUND


def test_status(channel):
    assert {v: s.state for v, s in status(channel, "tiny").items()} == {1: AVAILABLE, 2: AVAILABLE}
    assert list(status(channel, "tiny", 1)) == [1]
    assert refusal(status, channel, "tiny", 9)[0] == CODE.NOT_FOUND
    assert refusal(status, channel, "lion")[0] == CODE.NOT_FOUND


def test_versions_come_and_go_while_it_serves(channel, predict, server, models, images):
    base = models / "other"
    # Half a version must not take the place of the good one.
    (base / "8").mkdir()
    shutil.copy(base / "5" / "saved_model.pb", base / "8")

    def ended():
        # Now and then it is tried again.
        state = status(channel, "other").get(8)
        return state if state and state.state == END else None

    incomplete = eventually(ended, "version 8 to fail")
    assert "variables.index" in incomplete.status.error_message
    assert predict({"images": images}, name="other").model_spec.version.value == 5
    shutil.rmtree(base / "8")
    publish(base / "5", base / "9")
    eventually(lambda: getattr(status(channel, "other").get(9), "state", None) == AVAILABLE)
    assert predict({"images": images}, name="other").model_spec.version.value == 9
    shutil.rmtree(base / "9")
    eventually(lambda: set(status(channel, "other")) == {5})
    assert predict({"images": images}, name="other").model_spec.version.value == 5
    assert sum("not served" in line for line in server.errors) == 1


@pytest.fixture
def files(tmp_path, rng):
    """A PNG and a JPEG of the right size, a larger picture and no picture."""
    right = rng.integers(0, 256, (HEIGHT, WIDTH, 3), "uint8")
    large = rng.integers(0, 256, (30, 40, 3), "uint8")
    (tmp_path / "b").mkdir()
    Image.fromarray(right).save(tmp_path / "a.png")
    Image.fromarray(right).save(tmp_path / "b" / "a.jpg", quality=95)
    Image.fromarray(large).save(tmp_path / "large.png")
    (tmp_path / "text.png").write_text("no picture")
    return tmp_path


@pytest.fixture
def run_client(server, files, monkeypatch):
    def run(*arguments, model="tiny"):
        common = ["--server", server.address, "--model", model, "--out", files / "maps"]
        common += ["--timeout", LIMIT]
        common += [] if "--out" in arguments else ["--overwrite"]
        client.main([*map(str, [*common, *arguments])])

    return run


def test_client_prints_classes_and_saves_maps(run_client, files, nets, capsys):
    run_client(files / "a.png", files / "b" / "a.jpg")
    lines = capsys.readouterr().out.splitlines()
    image = np.asarray(Image.open(files / "a.png"), "float32")[None] / 255
    logits = np.asarray(nets["tiny", 2](image))[0]
    best = int(np.argmax(logits))
    probability = 1 / (1 + np.exp(-logits[best]))
    first = f"{files / 'a.png'}: {NAMES[best]} {probability:.3f} (logit {logits[best]:.2f}), "
    assert lines[0].startswith(first)
    assert lines[0].endswith(f"why {NAMES[best]}: {files / 'maps' / 'a.png'}")
    assert len(lines) == 2
    for name in ("a.png", "a-2.png"):
        with Image.open(files / "maps" / name) as picture:
            assert picture.width > picture.height > 100


def test_client_explains_a_class_by_number_or_name(run_client, files, nets, capsys):
    image = np.asarray(Image.open(files / "a.png"), "float32")[None] / 255
    logits = np.asarray(nets["tiny", 2](image))[0]
    for chosen in (["--class-id", 2], ["--class-name", "ship"]):
        run_client("--version", 2, "--top", 1, *chosen, files / "a.png")
        line = capsys.readouterr().out
        assert "why ship: " in line
        assert f"(logit {logits.max():.2f})" in line


def test_client_maps_are_the_servers(server, files, nets):
    image, encoded = open_image(files / "a.png", HEIGHT, WIDTH, resize=False)
    with client.Client(server.address, "tiny", timeout=LIMIT) as connection:
        outputs, best = client.ask(connection, image, encoded)
        chosen, _ = client.ask(connection, image, encoded, class_id=1)
    values = np.asarray(image, "float32")[None] / 255
    for answer, class_id in ((outputs, best), (chosen, 1)):
        expected = nets["tiny", 2].explain(values, np.array([class_id])).numpy()
        for name in ("logits", "contribution_map", "weights"):
            np.testing.assert_allclose(
                answer[name], getattr(expected, name), rtol=1e-4, atol=1e-5, err_msg=name
            )


def test_client_asks_for_no_more_than_it_should(server, files):
    image, encoded = open_image(files / "a.png", HEIGHT, WIDTH, resize=False)
    with client.Client(server.address, "tiny", timeout=LIMIT) as connection:
        predicted, _ = client.ask(connection, image, encoded, weights=False)
        chosen, _ = client.ask(connection, image, encoded, class_id=1, weights=False)
    assert "weights" not in predicted
    assert set(chosen) == {"logits", "contribution_map"}


@pytest.mark.parametrize("chosen", [[], ["--class-id", 1]])
def test_client_draws_weights_where_servables_tell_them(run_client, files, monkeypatch, chosen):
    widths = {}
    signatures = client.Client.signatures

    def before(connection):
        described = signatures(connection)
        del described["explain"].outputs["weights"]
        return described

    for age in ("now", "before"):
        if age == "before":
            monkeypatch.setattr(client.Client, "signatures", before)
        run_client(files / "a.png", *chosen)
        with Image.open(files / "maps" / "a.png") as picture:
            widths[age] = picture.width
    # An image, its map and the weights, or without.
    assert widths["now"] > 1.3 * widths["before"]


def test_client_resizes_only_if_asked(run_client, files, capsys):
    run_client("--resize", files / "large.png")
    assert "large.png" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        run_client(files / "large.png")
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert "40x30 pixels" in error
    assert "7x8" in error
    assert "--resize" in error


def test_client_goes_on_after_images_that_are_none(run_client, files, capsys):
    with pytest.raises(SystemExit) as end:
        run_client(files / "none.png", files, files / "b")
    out, err = capsys.readouterr()
    assert end.value.code == 1
    missing, size, broken = err.splitlines()
    assert "no image file" in missing and "none.png" in missing
    assert "large.png has 40x30 pixels" in size and "text.png is no image" in broken
    assert [line.partition(": ")[0] for line in out.splitlines()] == [
        str(files / name) for name in ("a.png", "b/a.jpg")
    ]
    assert {path.name for path in (files / "maps").iterdir()} == {"a.png", "a-2.png"}


def test_client_writes_over_no_image(run_client, files, capsys):
    before = (files / "a.png").read_bytes()
    for overwrite in ([], ["--overwrite"]):
        with pytest.raises(SystemExit):
            run_client("--out", files, *overwrite, files / "a.png")
        assert "one of the images" in capsys.readouterr().err
    assert (files / "a.png").read_bytes() == before
    run_client("--out", files / "new", files / "a.png")
    with pytest.raises(SystemExit):
        run_client("--out", files / "new", files / "a.png")
    assert "--overwrite" in capsys.readouterr().err


def test_client_knows_a_model_that_is_none_of_ours(run_client, files, monkeypatch, capsys):
    monkeypatch.setattr(client.Client, "signatures", lambda _: {})
    with pytest.raises(SystemExit) as end:
        run_client(files / "a.png")
    assert end.value.code == 2
    assert "no signature serving_default" in capsys.readouterr().err


def test_client_without_labels_or_with_its_own(run_client, files, capsys):
    (files / "labels.txt").write_text("x\ny\nz\n")
    run_client(files / "a.png", model="other")
    assert re.search(r"why [012]: ", capsys.readouterr().out)
    run_client("--labels", files / "labels.txt", files / "a.png", model="other")
    assert re.search(r"why [xyz]: ", capsys.readouterr().out)


def test_client_errors_are_one_line(run_client, files, capsys):
    (files / "labels.txt").write_text("x\n")
    for arguments, sentence in [
        ([files / "none.png"], "no image file"),
        (["--class-id", 3, files / "a.png"], "INVALID_ARGUMENT: Expected class ids from 0 to 2"),
        (["--class-name", "lion", files / "a.png"], "cat, dog, ship"),
        (["--version", 4, files / "a.png"], "NOT_FOUND"),
        (["--labels", files / "labels.txt", files / "a.png"], "1 lines"),
        (["--server", "localhost:1", files / "a.png"], "UNAVAILABLE"),
        (["--bogus", files / "a.png"], "--bogus"),
    ]:
        with pytest.raises(SystemExit) as end:
            run_client(*arguments)
        error = capsys.readouterr().err
        assert (end.value.code, error.count("\n")) == (2, 1), error
        assert sentence in error


def test_the_guides_twenty_lines(server, files, nets, monkeypatch, capsys):
    guide = (ROOT / "docs" / "guides" / "client.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    for placeholder, actual in (
        ("localhost:8500", server.address),
        ("cat.png", "a.png"),
        ('"coda"', '"tiny"'),
        ("proto([3])", "proto([2])"),
        ("['logits'][3]", "['logits'][2]"),
        ("timeout=30", f"timeout={LIMIT}"),
    ):
        assert code.count(placeholder) == 1
        code = code.replace(placeholder, actual)
    monkeypatch.chdir(files)
    Path("guide.py").write_text(code)
    runpy.run_path("guide.py")
    logit, explained = re.findall(r"-?\d+\.\d+", capsys.readouterr().out)
    image = np.asarray(Image.open("a.png"), "float32")[None] / 255
    expected = np.asarray(nets["tiny", 2](image))[0, 2]
    assert abs(float(logit) - expected) < 2e-3
    assert abs(float(explained) - expected) < 2e-3
    assert (files / "map.png").exists()


def test_the_acceptance_script_accepts_this_server(server):
    flags = ["--metrics", server.metrics(), "--timeout", str(LIMIT)]
    done = subprocess.run(
        ["export/deploy/accept.sh", server.address, "tiny", *flags],
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert all(line.endswith(": ok") for line in lines)


class Lying(client.Client):
    """A connection to a server that answers otherwise than it should."""

    lie = None

    def answer(self, signature, inputs, outputs=()):
        try:
            answer, version = super().answer(signature, inputs, outputs)
        except OSError:
            return self.lie(signature, {}, 0)
        return self.lie(signature, answer, version)


def wrong_output(signature, output, change):
    def lie(asked, answer, version):
        if asked == signature and output in answer:
            answer[output] = change(answer[output])
        return answer, version

    return lie


LIES = [
    *(
        wrong_output(signature, output, change)
        for signature, outputs in {
            "serving_default": ("logits", "probabilities", "contribution_map"),
            "serving_bytes": ("logits", "probabilities", "contribution_map"),
            "classify": ("logits", "probabilities"),
            "explain": ("logits", "contribution_map", "contributions", "weights", "bias"),
        }.items()
        for output in outputs
        for change in [lambda values: values + 0.01 * np.abs(values).max()]
    ),
    wrong_output("explain", "residual", lambda values: values + 0.1),
    wrong_output("serving_default", "class_ids", lambda values: (values + 1) % CLASSES),
    wrong_output("serving_bytes", "class_ids", lambda values: (values + 1) % CLASSES),
    wrong_output("classify_without", "logits", lambda values: values + 0.1),
    wrong_output("labels", "labels", lambda values: values[:1].repeat(len(values))),
    # One row of a batch for another, as request batching might.
    wrong_output("serving_default", "logits", lambda values: values[::-1]),
    lambda signature, answer, version: (answer, version + 1),
]


@pytest.mark.parametrize("lie", LIES)
def test_the_acceptance_script_finds_what_is_wrong(server, monkeypatch, lie):
    monkeypatch.setattr(Lying, "lie", staticmethod(lie))
    connect = partial(Lying, server.address, "tiny", timeout=LIMIT)
    problems = dict(acceptance.Acceptance(connect(), connect).run())
    assert any(problems.values())
    # What answers to anything is no server of ours.
    assert "answered instead of" in problems["bad requests are refused"]


def test_the_acceptance_script_asks_for_no_more_images_than_servers_take(server, monkeypatch):
    sent = []

    class Counting(client.Client):
        def answer(self, signature, inputs, outputs=()):
            sent.append(len(inputs.get("images", ())))
            return super().answer(signature, inputs, outputs)

    monkeypatch.setattr("coda_keras_export.api.MAX_PIXELS", 4 * HEIGHT * WIDTH)
    connect = partial(Counting, server.address, "tiny", timeout=LIMIT)
    assert not any(dict(acceptance.Acceptance(connect(), connect).run()).values())
    assert max(sent) == 3


def test_the_acceptance_script_is_for_models_that_we_package():
    other = SimpleNamespace(signatures=dict)
    with pytest.raises(ValueError, match="no signature serving_default with images"):
        acceptance.Acceptance(other, other)


def test_the_acceptance_script_without_a_server(tmp_path):
    done = subprocess.run(
        ["export/deploy/accept.sh", "localhost:1", "tiny"],
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "UNAVAILABLE" in done.stderr


def serve_once(*arguments, **environment):
    return run_forked(SERVE, *arguments, env={**os.environ, **environment})


def test_server_errors(models, server, tmp_path):
    empty = serve_once("--models", tmp_path)
    assert empty.returncode == 2
    assert empty.stderr.count("\n") == 1
    assert "no servable" in empty.stderr
    assert serve_once("--models", models, "--port", 70000).returncode == 2
    taken = serve_once("--models", models, "--port", server.address.split(":")[1])
    assert taken.returncode == 2
    assert "is the port taken?" in taken.stderr.splitlines()[-1]


# It answers with sums of images, and imports no TensorFlow, which would take seconds.
STAND_IN = """#!{python}
import sys
from concurrent import futures

import grpc
from coda_keras_export.api import arrays, serving_pb2
from coda_keras_export.api.connection import PREDICT
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

flags = dict(flag[2:].split("=") for flag in sys.argv[1:])
assert flags.pop("port") == "0"
config = text_format.Parse(
    open(flags["model_config_file"]).read(), model_server_config_pb2.ModelServerConfig()
)
(root,) = {{model.base_path.rsplit("/", 1)[0] for model in config.model_config_list.config}}

def predict(request, _):
    answer = serving_pb2.PredictResponse()
    images = arrays.read(request.inputs["images"])
    arrays.fill(answer.outputs["logits"], images.sum((1, 2)))
    return answer

class Handler(grpc.GenericRpcHandler):
    def service(self, call):
        assert call.method == PREDICT
        return grpc.unary_unary_rpc_method_handler(
            predict, serving_pb2.PredictRequest.FromString, lambda made: made.SerializeToString()
        )

options = [("grpc.max_receive_message_length", -1)]
server = grpc.server(futures.ThreadPoolExecutor(2), [Handler()], options=options)
server.add_insecure_port("unix:" + flags["grpc_socket_path"])
server.start()
server.wait_for_termination()
"""


def test_the_stock_server_is_used_where_it_is_installed(models, images, tmp_path):
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text(STAND_IN.format(python=sys.executable))
    binary.chmod(0o755)
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    for name, pem in (
        ("ca", authority.cert_pem),
        ("key", issued.private_key_pem),
        ("certificate", issued.cert_chain_pems[0]),
    ):
        pem.write_to_path(tmp_path / name)
    own = [tmp_path / "key", tmp_path / "certificate"]
    flags = ["--tls-key", own[0], "--tls-certificate", own[1], "--tls-client-ca", tmp_path / "ca"]
    server = Server(models, *flags, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    try:
        # The front ends encryption; the stock server's own socket is a file.
        plain = client.Client(server.address, "tiny", timeout=LIMIT)
        with plain as stranger, pytest.raises(OSError, match="UNAVAILABLE"):
            stranger.status()
        proved = tls.client_credentials(tmp_path / "ca", *own)
        with client.Client(server.address, "tiny", timeout=LIMIT, credentials=proved) as connection:
            many = np.tile(images, (4000, 1, 1, 1))
            logits = connection.predict("classify", {"images": many}, ["logits"])["logits"]
        np.testing.assert_allclose(logits, many.sum((1, 2)), rtol=1e-5)
        assert server.address.startswith("127.0.0.1:")
    finally:
        assert server.end(signal.SIGINT) == 0


def test_a_stock_server_that_fails_is_reported(models, tmp_path):
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text("#!/bin/sh\nexit 3\n")
    binary.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    failed = serve_once("--models", models, "--port", 0, PATH=path)
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert "exit code 3" in failed.stderr
    # Flags that it does not have are not left out in silence.
    failed = serve_once("--models", models, "--threads", 2, "--compressed-requests", PATH=path)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
    assert "--threads, --compressed-requests. Give --embedded" in failed.stderr


def test_flags_that_do_not_fit_are_one_line(models, tmp_path, monkeypatch, capsys):
    (tmp_path / "key").write_text("no key")
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (1024, 1024))
    for flags, sentence in [
        (["--version-policy", "newest"], "Expected a version policy"),
        (["--tls-key", tmp_path / "key"], "belong together"),
        (["--tls-client-ca", tmp_path / "key"], "Cannot use the PEM files"),
        (["--tls-key", tmp_path / "key", "--tls-certificate", tmp_path / "key"], "Cannot use"),
        (["--tls-key", tmp_path / "none", "--tls-certificate", tmp_path / "key"], "Cannot use"),
        (["--max-concurrent-requests", 0], "--max-concurrent-requests"),
        (["--load-threads", 0], "--load-threads"),
        (["--metrics-port", 70000], "--metrics-port"),
        (["--max-connections", 0], "--max-connections"),
        (["--max-connections", 10**6], "Raise the limit"),
        (["--max-connection-calls", 0], "--max-connection-calls"),
        (["--load-timeout", 0], "--load-timeout"),
    ]:
        arguments = ["--models", models, *flags]
        with pytest.raises(SystemExit) as end:
            serve.main([str(part) for part in arguments])
        error = capsys.readouterr().err
        assert (end.value.code, error.count("\n"), sentence in error) == (2, 1, True), error


def test_ctrl_c_ends_it_and_broken_files_do_not(models, tmp_path):
    good = tmp_path / "tiny" / "1"
    shutil.copytree(models / "other" / "5", good)
    for version, file in ((2, "saved_model.pb"), (3, "variables/variables.index")):
        broken = tmp_path / "tiny" / str(version)
        shutil.copytree(good, broken)
        (broken / file).write_text("broken")
    server = Server(tmp_path)
    with grpc.insecure_channel(server.address) as channel:
        expected = {1: AVAILABLE, 2: END, 3: END}
        # Those that fail are tried again, and load meanwhile.
        eventually(
            lambda: {v: s.state for v, s in status(channel, "tiny").items()} == expected,
            f"the states {expected}",
        )
    assert server.end(signal.SIGINT) == 0
    assert not any("Traceback" in line for line in server.errors)


# Tests that run under `nohup` inherit that SIGHUP is ignored.
HEAR_SIGHUP = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
SLOW = (
    HEAR_SIGHUP
    + """
import os, time
from coda_keras_export import serve
from coda_keras_export.servable.loading import Servable
from coda_keras_export.server import embedded

def slowly(*_):
    os.write(1, b"begun\\n")
    time.sleep(600)

{change}
serve.main()
"""
)


def slow_server(models, folder, change):
    """A server in which something takes ten minutes, and in which nothing is installed."""
    script = folder / "slow.py"
    script.write_text(SLOW.format(change=change))
    return Server(models, script=script, env={"PATH": "/nowhere"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_while_it_starts(models, tmp_path, number):
    server = slow_server(models, tmp_path, "Servable.warm_up = slowly")
    assert server.line == "begun\n"
    assert server.end(number) == 0
    assert not any("Traceback" in line for line in server.errors)


def ask_in_vain(address, images):
    """Sends a request and comes back when the server is at it."""

    def ask():
        with client.Client(address, "tiny", timeout=LIMIT) as connection, pytest.raises(OSError):
            connection.predict("classify", {"images": images})

    # A test that fails must not keep the whole run waiting for the answer.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    return asking


SLOW_ANSWERS = "Servable.warm_up, Servable.predict = lambda _: 0, slowly"


def test_requests_get_some_grace_and_no_more(models, tmp_path, images):
    server = slow_server(models, tmp_path, SLOW_ANSWERS + "; embedded.GRACE_SECONDS = 1")
    asking = ask_in_vain(server.address, images)
    assert server.says(server.lines, "begun")
    assert server.end() == 0
    asking.join()


def test_a_second_signal_ends_it_at_once(models, tmp_path, images):
    server = slow_server(models, tmp_path, SLOW_ANSWERS + "; embedded.GRACE_SECONDS = 600")
    asking = ask_in_vain(server.address, images)
    assert server.says(server.lines, "begun")
    # Signals of one number that come at once are one, and of two numbers the lower comes first.
    server.process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(timeout=0.5)
    assert server.end() == 128 + signal.SIGTERM
    asking.join()


def test_a_second_signal_ends_the_stock_server_too(models, tmp_path):
    binary = tmp_path / "tensorflow_model_server"
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nimport sys"
    deaf = STAND_IN.replace("import sys", deaf)
    binary.write_text(deaf.format(python=sys.executable))
    binary.chmod(0o755)
    script = tmp_path / "patient.py"
    script.write_text(
        f"{HEAR_SIGHUP}from coda_keras_export import serve\n"
        "from coda_keras_export.server import stock\nstock.GRACE_SECONDS = 600\nserve.main()\n"
    )
    server = Server(models, script=script, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    server.process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(timeout=0.5)
    assert server.end() == 128 + signal.SIGTERM
