"""Servables: signatures against the NumPy oracle, refusals, publishing."""

import errno
import io
import json
import os
import re
import resource
import struct
import subprocess
import sys
import time
import zlib
from concurrent import futures
from pathlib import Path

import keras
import numpy as np
import oracle
import pytest
import tensorflow as tf
from coda_keras_export import package as packaging
from coda_keras_export.package import package
from coda_keras_export.servable import folder, publishing, version_policies
from coda_keras_export.servable.loading import LABELS, Servable
from conftest import as_oracle, set_weights
from google.protobuf import text_format
from PIL import Image
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.config import model_server_config_pb2

from coda_keras import CoDANet, DAUConv2D, DynamicLinear
from coda_keras.exporting import signatures
from coda_keras.models.precision import float32_copy

pytestmark = pytest.mark.tensorflow

HEIGHT, WIDTH, CLASSES = 8, 7, 3
NAMES = ["cat", "dog", "ship"]


def tiny_net(seed=1, size=(HEIGHT, WIDTH), **kwargs):
    layers = [DAUConv2D(4, 2, 3, strides=2, **kwargs), DAUConv2D(CLASSES, 4, 1, **kwargs)]
    net = CoDANet(layers, temperature=2.0, image_size=size, **kwargs)
    if net.built:
        set_weights(net, np.random.default_rng(seed))
    return net


@pytest.fixture(scope="module")
def net():
    return tiny_net()


@pytest.fixture(scope="module")
def path(net, tmp_path_factory):
    return package(net, tmp_path_factory.mktemp("servables"), "tiny", labels=NAMES)


@pytest.fixture(scope="module")
def servable(path):
    return Servable(path)


@pytest.fixture
def pictures(rng):
    return rng.integers(0, 256, (2, HEIGHT, WIDTH, 3), "uint8")


def ask(servable, signature, **inputs):
    protos = {name: tf.make_tensor_proto(value) for name, value in inputs.items()}
    return servable.predict(signature, protos)


def encoded(*pictures):
    return [tf.io.encode_png(picture).numpy() for picture in pictures]


def expected(net, picture, class_id=None):
    """Logits, the class explained and its contributions, in float64 by plain loops."""
    image = oracle.encode(picture / 255)
    layers = [as_oracle(layer) for layer in net.body]
    logits = oracle.logits(image, layers, net.temperature, net.logit_bias)
    class_id = int(np.argmax(logits)) if class_id is None else class_id
    weights = oracle.weights_of_logits(image, layers, net.temperature)[class_id]
    return logits, class_id, weights * image


def test_signatures_have_the_batch_first_everywhere(servable):
    shapes = {
        name: {
            key: (tf.dtypes.as_dtype(info.dtype).name, [d.size for d in info.tensor_shape.dim])
            for key, info in [*signature.inputs.items(), *signature.outputs.items()]
        }
        for name, signature in servable.signatures.items()
    }
    prediction = {
        "logits": ("float32", [-1, CLASSES]),
        "probabilities": ("float32", [-1, CLASSES]),
        "class_ids": ("int32", [-1]),
        "contribution_map": ("float32", [-1, HEIGHT, WIDTH]),
    }
    images = ("float32", [-1, HEIGHT, WIDTH, 3])
    assert shapes == {
        "serving_default": {"images": images, **prediction},
        "serving_bytes": {"image_bytes": ("string", [-1]), **prediction},
        "classify": {"images": images, **{k: prediction[k] for k in ("logits", "probabilities")}},
        "classify_without": {
            "images": images,
            "removed": ("bool", [-1, HEIGHT, WIDTH]),
            **{k: prediction[k] for k in ("logits", "probabilities")},
        },
        "explain": {
            "images": images,
            "class_ids": ("int32", [-1]),
            "logits": prediction["logits"],
            "contribution_map": prediction["contribution_map"],
            "contributions": ("float32", [-1, HEIGHT, WIDTH, 6]),
            "weights": ("float32", [-1, HEIGHT, WIDTH, 6]),
            "bias": ("float32", [-1]),
            "residual": ("float32", [-1]),
        },
        "labels": {"class_ids": ("int32", [-1]), "labels": ("string", [-1])},
    }


@pytest.mark.parametrize("signature", ["serving_default", "serving_bytes"])
def test_prediction_equals_the_oracle(servable, net, pictures, signature):
    if signature == "serving_bytes":
        outputs = ask(servable, signature, image_bytes=encoded(*pictures))
    else:
        outputs = ask(servable, signature, images=np.float32(pictures / 255))
    for index, picture in enumerate(pictures):
        logits, class_id, contributions = expected(net, picture)
        np.testing.assert_allclose(outputs["logits"][index], logits, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            outputs["probabilities"][index], 1 / (1 + np.exp(-logits)), rtol=1e-5
        )
        assert outputs["class_ids"][index] == class_id
        np.testing.assert_allclose(
            outputs["contribution_map"][index], contributions.sum(-1), rtol=1e-4, atol=1e-6
        )


def test_explain_equals_the_oracle_and_adds_up(servable, net, pictures):
    class_ids = np.array([2, 0], "int32")
    outputs = ask(servable, "explain", images=np.float32(pictures / 255), class_ids=class_ids)
    for index, picture in enumerate(pictures):
        logits, class_id, contributions = expected(net, picture, class_ids[index])
        answer = {name: values[index] for name, values in outputs.items()}
        np.testing.assert_allclose(answer["contributions"], contributions, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            answer["contribution_map"], contributions.sum(-1), rtol=1e-4, atol=1e-6
        )
        weights = answer["weights"] * oracle.encode(picture / 255)
        np.testing.assert_allclose(weights, contributions, rtol=1e-4, atol=1e-6)
        assert answer["bias"] == np.float32(net.logit_bias)
        total = answer["bias"] + answer["contributions"].sum() + answer["residual"]
        np.testing.assert_allclose(total, logits[class_id], rtol=1e-5, atol=1e-6)
        assert abs(answer["residual"]) < 1e-5


def test_pixels_that_are_gone_are_zero_in_all_channels(servable, net, pictures):
    removed = np.zeros(pictures.shape[:3], bool)
    removed[0, 1:3, 2:] = True
    images = np.float32(pictures / 255)
    outputs = ask(servable, "classify_without", images=images, removed=removed)
    seen = np.concatenate([images, 1 - images], axis=-1) * ~removed[..., None]
    expected_logits = np.asarray(net(seen))
    np.testing.assert_allclose(outputs["logits"], expected_logits, rtol=1e-5, atol=1e-6)
    whole = ask(servable, "classify", images=images)["logits"]
    assert np.abs(outputs["logits"][0] - whole[0]).max() > 1e-4
    np.testing.assert_allclose(outputs["logits"][1], whole[1], rtol=1e-5, atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="2 images and 1 masks"):
        ask(servable, "classify_without", images=images, removed=removed[:1])


def test_classify_and_labels(servable, net, pictures):
    outputs = ask(servable, "classify", images=np.float32(pictures / 255))
    for logits, picture in zip(outputs["logits"], pictures):
        np.testing.assert_allclose(logits, expected(net, picture)[0], rtol=1e-5, atol=1e-6)
    names = ask(servable, "labels", class_ids=np.array([2, 0, 2], "int32"))["labels"]
    assert [name.decode() for name in names] == ["ship", "cat", "ship"]


def test_jpeg_and_grey_and_transparent_images_are_decoded(servable, pictures):
    grey = pictures[0, :, :, :1]
    transparent = np.concatenate([pictures[0], grey], axis=-1)
    jpeg = tf.io.encode_jpeg(pictures[1], quality=100).numpy()
    progressive = saved(pictures[1], "JPEG", progressive=True)
    files = [*encoded(grey, transparent), jpeg, progressive]
    answer = ask(servable, "serving_bytes", image_bytes=files)
    decoded = [tf.io.decode_jpeg(file).numpy() for file in (jpeg, progressive)]
    as_images = np.stack([np.repeat(grey, 3, -1), pictures[0], *decoded])
    direct = ask(servable, "serving_default", images=np.float32(as_images) / 255)
    np.testing.assert_allclose(answer["logits"], direct["logits"], rtol=1e-5, atol=1e-6)


def saved(picture, kind, **options):
    """An image file, as Pillow writes it."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width, height):
    """The first bytes of a PNG file."""
    chunk = b"IHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + chunk + struct.pack(">I", zlib.crc32(chunk))


def jpeg_header(width, height, progressive=False):
    """A JPEG file up to its scan."""
    data = saved(np.zeros((8, 8, 3), "uint8"), "JPEG", progressive=progressive)
    frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    data = data[:frame] + struct.pack(">HH", height, width) + data[frame + 4 :]
    return data[: data.index(b"\xff\xda") + 14]


def refusals():
    image = np.full((1, HEIGHT, WIDTH, 3), 0.5, "float32")
    nan, negative, bright = image.copy(), image.copy(), image.copy()
    nan[0, 3, 2, 1], negative[0, 0, 0, 0], bright[0, -1, -1, -1] = np.nan, -0.001, 1.01
    picture = np.zeros((HEIGHT, WIDTH, 3), "uint8")
    png, other_size, transposed = encoded(picture, picture[1:], picture.transpose(1, 0, 2))
    ids = np.zeros(1, "int32")
    yield "serving_default", {"images": nan}, "1 of them NaN"
    yield "classify", {"images": negative}, "from -0.001 to 0.5"
    yield "explain", {"images": bright, "class_ids": ids}, "from 0.5 to 1.01"
    yield "serving_default", {"images": 255 * image}, "all values in [0, 1]"
    yield "serving_default", {"images": image[:0]}, "at least one image"
    yield "explain", {"images": image, "class_ids": ids - 1}, "from 0 to 2. Received [-1]"
    yield "explain", {"images": image, "class_ids": ids + 3}, "from 0 to 2. Received [3]"
    yield "explain", {"images": image, "class_ids": ids[:0]}, "1 images and 0 class ids"
    yield "labels", {"class_ids": ids + 3}, "from 0 to 2. Received [3]"
    yield "serving_bytes", {"image_bytes": [b"no image"]}, "Unknown image file format"
    yield "serving_bytes", {"image_bytes": [b""]}, "Unknown image file format"
    for kind in ("GIF", "BMP", "WEBP", "TIFF"):
        yield "serving_bytes", {"image_bytes": [saved(picture, kind)]}, "Expected PNG or JPEG"
    # Nothing of these but the header is there: what is said of their size is read, not decoded.
    yield "serving_bytes", {"image_bytes": [png_header(23000, 23000)]}, "Received 23000x23000"
    yield "serving_bytes", {"image_bytes": [png_header(2**32 - 1, 7)]}, "Received 7x4294967295"
    yield "serving_bytes", {"image_bytes": [jpeg_header(65000, 64000)]}, "Received 64000x65000"
    yield "serving_bytes", {"image_bytes": [jpeg_header(65000, 9, True)]}, "Received 9x65000"
    yield "serving_bytes", {"image_bytes": [png, jpeg_header(8, 7)]}, "Received 7x8"
    # The header of a file that breaks off, or of none.
    for length in (8, 16, 20, 23):
        yield "serving_bytes", {"image_bytes": [png[:length]]}, "Expected PNG or JPEG"
    yield "serving_bytes", {"image_bytes": [png.replace(b"IHDR", b"IDAT")]}, "Expected PNG or JPEG"
    yield "serving_bytes", {"image_bytes": [b"\xff\xd8\xff"]}, "Invalid JPEG data"
    yield "serving_bytes", {"image_bytes": [b"\xff\xd8\xff\xe0" + bytes(99)]}, "Invalid JPEG data"
    yield "serving_bytes", {"image_bytes": [jpeg_header(WIDTH, HEIGHT)[:-40]]}, "JPEG"
    yield "serving_bytes", {"image_bytes": [png, png[: len(png) // 2]]}, "Invalid PNG"
    yield "serving_bytes", {"image_bytes": [png, other_size]}, "8x7 pixels"
    yield "serving_bytes", {"image_bytes": [transposed]}, "Received 7x8"
    yield "serving_bytes", {"image_bytes": np.array([], object)}, "at least one encoded image"


@pytest.mark.parametrize("signature, inputs, sentence", list(refusals()))
def test_bad_values_are_refused_with_a_sentence(servable, signature, inputs, sentence):
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(sentence)):
        ask(servable, signature, **inputs)


def test_a_single_output_does_not_skip_the_checks(servable):
    image = np.full((1, HEIGHT, WIDTH, 3), np.nan, "float32")
    protos = {
        "images": tf.make_tensor_proto(image),
        "class_ids": tf.make_tensor_proto(np.zeros(1, "int32")),
    }
    for output in servable.signatures["explain"].outputs:
        with pytest.raises(tf.errors.InvalidArgumentError, match="none of them NaN"):
            servable.predict("explain", protos, [output])


def wrong_shapes():
    image = np.full((1, HEIGHT, WIDTH, 3), 0.5, "float32")
    ids = np.zeros(1, "int32")
    yield "serving_default", {"images": image[0]}
    yield "serving_default", {"images": image[None]}
    yield "serving_default", {"images": image[:, 1:]}
    yield "classify", {"images": image[..., :2]}
    yield "classify", {"images": image.transpose(0, 2, 1, 3)}
    yield "explain", {"images": image, "class_ids": ids[0]}
    yield "explain", {"images": image, "class_ids": ids[None]}
    yield "serving_bytes", {"image_bytes": [[b"no image"]]}


def test_the_c_library_answers_and_refuses_as_well(servable, path, net, pictures):
    # Servers check no shape before the graph does; here nothing does it for them either.
    good = [
        ("serving_default", {"images": np.float32(pictures / 255)}),
        ("serving_bytes", {"image_bytes": encoded(*pictures)}),
    ] * 10
    good += [("classify", {"images": padded(np.float32(pictures / 255), size)}) for size in (2, 4)]
    bad = [*((signature, inputs) for signature, inputs, _ in refusals()), *wrong_shapes()]
    requests = []
    for signature, inputs in [*good, *bad]:
        definition = servable.signatures[signature]
        output = "labels" if signature == "labels" else "logits"
        feeds = {}
        for name, values in inputs.items():
            values, dtype = np.asarray(values), definition.inputs[name].dtype
            flat = values.ravel().tolist()
            flat = [value.hex() for value in flat] if dtype == tf.string else flat
            feeds[definition.inputs[name].name] = [dtype, values.shape, flat]
        requests.append([feeds, definition.outputs[output].name])
    command = [
        sys.executable,
        Path(__file__).parents[1] / "c_library.py",
        tf.sysconfig.get_lib(),
        path,
    ]
    done = subprocess.run(
        command, input=json.dumps(requests), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == len(requests)
    for code, _, shape, values in answers[: len(good)]:
        assert (code, shape[0] in (2, 4), shape[1]) == (0, True, CLASSES)
        for logits, picture in zip(np.reshape(values, shape), pictures):
            np.testing.assert_allclose(logits, expected(net, picture)[0], rtol=1e-5, atol=1e-6)
    for (code, message, *_), (_, inputs) in zip(answers[len(good) :], bad):
        assert code == tf.errors.INVALID_ARGUMENT, inputs
        assert message


def padded(rows, size):
    """As a batching server fills a batch: the first row again and again."""
    return np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])


def requests_of(pictures):
    """A request of every signature, by its name."""
    images, ids = np.float32(pictures / 255), np.arange(len(pictures), dtype="int32") % CLASSES
    return {
        "serving_default": {"images": images},
        "serving_bytes": {"image_bytes": np.array(encoded(*pictures), object)},
        "classify": {"images": images},
        "classify_without": {"images": images, "removed": images[..., 0] > 0.5},
        "explain": {"images": images, "class_ids": ids},
        "labels": {"class_ids": ids},
    }


def same(outputs, expected):
    """Compares outputs; numbers as other kernels for other batches may give them."""
    assert outputs.keys() == expected.keys()
    for name, values in expected.items():
        if values.dtype.kind == "f":
            scale = max(np.abs(values).max(), 1e-3)
            np.testing.assert_allclose(outputs[name], values, atol=1e-5 * scale, err_msg=name)
        else:
            np.testing.assert_array_equal(outputs[name], values, err_msg=name)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_filling_a_batch_to_an_allowed_size_changes_no_answer(servable, path, rng, count):
    text = (path / "batching_params.pbtxt").read_text()
    allowed = [int(size) for size in re.findall(r"allowed_batch_sizes: (\d+)", text)]
    size = min(size for size in allowed if size > count)
    pictures = rng.integers(0, 256, (count, HEIGHT, WIDTH, 3), "uint8")
    for signature, inputs in requests_of(pictures).items():
        filled = {name: padded(values, size) for name, values in inputs.items()}
        outputs = ask(servable, signature, **filled)
        assert all(len(values) == size for values in outputs.values())
        same({k: v[:count] for k, v in outputs.items()}, ask(servable, signature, **inputs))


def test_sessions_run_side_by_side(servable, path, rng):
    pictures = rng.integers(0, 256, (12, 2, HEIGHT, WIDTH, 3), "uint8")
    cases = [
        (signature, inputs)
        for batch in pictures
        for signature, inputs in requests_of(batch).items()
    ]
    alone = [ask(servable, signature, **inputs) for signature, inputs in cases]
    sessions = [servable, Servable(path)]
    with futures.ThreadPoolExecutor(8) as pool:
        together = [
            pool.submit(ask, sessions[number % 2], signature, **inputs)
            for number, (signature, inputs) in enumerate(cases)
        ]
    for answer, expected in zip(together, alone):
        same(answer.result(), expected)


def test_session_checks_of_what_the_signature_says(servable):
    image = np.full((1, HEIGHT, WIDTH, 3), 0.5, "float32")
    refused = tf.errors.InvalidArgumentError
    for signature, inputs in wrong_shapes():
        with pytest.raises(refused, match="must have shape"):
            ask(servable, signature, **inputs)
    with pytest.raises(refused, match="must be float32"):
        ask(servable, "classify", images=image.astype("float64"))
    with pytest.raises(refused, match="missing: class_ids"):
        ask(servable, "explain", images=image)
    with pytest.raises(refused, match="unknown: pictures"):
        ask(servable, "classify", images=image, pictures=image)
    proto = {"images": tf.make_tensor_proto(image)}
    with pytest.raises(refused, match="unknown: maps"):
        servable.predict("classify", proto, ["maps"])
    with pytest.raises(tf.errors.FailedPreconditionError, match="regress"):
        servable.predict("regress", proto)
    proto["images"].tensor_shape.dim[0].size = 5
    with pytest.raises(refused, match=r"holds 168 values, its shape .* says 840"):
        servable.predict("classify", proto)
    proto = {"images": tf.make_tensor_proto(image)}
    assert list(servable.predict("classify", proto, ["logits"])) == ["logits"]


def protos_that_stand_for_more():
    """Small messages of which `tf.make_ndarray` would make large arrays."""
    pixel = tensor_pb2.TensorProto(dtype=tf.float32.as_datatype_enum, float_val=[0.5])
    number = tensor_pb2.TensorProto(dtype=tf.int32.as_datatype_enum, int_val=[1])
    text = tensor_pb2.TensorProto(dtype=tf.string.as_datatype_enum, string_val=[b"x"])
    packed = tensor_pb2.TensorProto(dtype=tf.float32.as_datatype_enum, tensor_content=b"\0" * 8)
    odd = tensor_pb2.TensorProto(dtype=tf.float32.as_datatype_enum, tensor_content=b"\0" * 675)
    elsewhere = tensor_pb2.TensorProto(dtype=tf.int32.as_datatype_enum, float_val=[1.0, 2.0])
    yield "classify", "images", pixel, (100, HEIGHT, WIDTH, 3)
    yield "classify", "images", packed, (100, HEIGHT, WIDTH, 3)
    yield "classify", "images", odd, (1, HEIGHT, WIDTH, 3)
    yield "labels", "class_ids", number, (10**6,)
    yield "labels", "class_ids", elsewhere, (2,)
    yield "serving_bytes", "image_bytes", text, (1000,)


@pytest.mark.parametrize("signature, name, proto, shape", list(protos_that_stand_for_more()))
def test_a_proto_holds_as_many_values_as_its_shape_says(servable, signature, name, proto, shape):
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    with pytest.raises(tf.errors.InvalidArgumentError, match="values, its shape"):
        servable.predict(signature, {name: proto})


def test_values_are_read_wherever_a_proto_keeps_them(servable):
    ids = tensor_pb2.TensorProto(dtype=tf.int32.as_datatype_enum, int_val=[2, 0, 2])
    ids.tensor_shape.dim.add(size=3)
    packed = tf.make_tensor_proto(np.array([2, 0, 2], "int32"))
    assert packed.tensor_content
    for proto in (ids, packed):
        names = servable.predict("labels", {"class_ids": proto})["labels"]
        assert [name.decode() for name in names] == ["ship", "cat", "ship"]


def test_batches_are_bounded_by_the_size_of_images_or_by_choice(servable, path, pictures):
    most = 2**20 // (HEIGHT * WIDTH)
    refused = tf.errors.InvalidArgumentError
    pixel = tensor_pb2.TensorProto(dtype=tf.float32.as_datatype_enum, float_val=[0.5])
    for size in (most + 1, HEIGHT, WIDTH, 3):
        pixel.tensor_shape.dim.add(size=size)
    with pytest.raises(refused, match=f"at most {most} images .* Received {most + 1}"):
        servable.predict("classify", {"images": pixel})
    with pytest.raises(refused, match=f"at most {most} images"):
        ask(servable, "serving_bytes", image_bytes=[b""] * (most + 1))
    with pytest.raises(refused, match=f"at most {most} images"):
        ask(servable, "explain", images=np.float32(pictures), class_ids=[0] * (most + 1))
    pixel.tensor_shape.dim[0].size = 10**15
    with pytest.raises(refused, match="at most"):
        servable.predict("classify", {"images": pixel})
    small = Servable(path, max_batch_size=2)
    images = np.float32(pictures / 255)
    assert ask(small, "classify", images=images)["logits"].shape == (2, CLASSES)
    with pytest.raises(refused, match="at most 2 images"):
        ask(small, "classify", images=np.concatenate([images, images]))
    # No images, no bound: clients ask for all names at once.
    assert len(ask(small, "labels", class_ids=[0, 1, 2])["labels"]) == 3


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float64"])
def test_servables_are_float32_whatever_the_net_was_trained_in(dtype, tmp_path, pictures):
    net = tiny_net(dtype=dtype)
    servable = Servable(package(net, tmp_path, "tiny"))
    images, class_ids = np.float32(pictures / 255), np.zeros(2, "int32")
    outputs = ask(servable, "explain", images=images, class_ids=class_ids)
    assert {values.dtype for values in outputs.values()} == {np.dtype("float32")}
    for index, picture in enumerate(pictures):
        logits, _, contributions = expected(net, picture, 0)
        np.testing.assert_allclose(outputs["logits"][index], logits, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            outputs["contributions"][index], contributions, rtol=1e-4, atol=1e-6
        )


def test_weights_are_stored_once(tmp_path):
    net = CoDANet([DAUConv2D(16, 32, 3), DAUConv2D(CLASSES, 32, 3)], image_size=8)
    path = package(net, tmp_path, "wide")
    stored = sum(file.stat().st_size for file in (path / "variables").iterdir())
    weights = 4 * net.count_params()
    assert weights < stored < 1.1 * weights
    assert (path / "saved_model.pb").stat().st_size < 10**6


def test_versions_count_up_and_are_never_overwritten(net, tmp_path):
    assert package(net, tmp_path, "tiny") == tmp_path / "tiny" / "1"
    assert package(net, tmp_path, "tiny", version=7) == tmp_path / "tiny" / "7"
    graph = tmp_path / "tiny" / "7" / "saved_model.pb"
    before = graph.read_bytes()
    with pytest.raises(ValueError, match="never overwritten"):
        package(net, tmp_path, "tiny", version=7)
    assert graph.read_bytes() == before
    assert package(net, tmp_path, "tiny").name == "8"
    assert sorted(p.name for p in (tmp_path / "tiny").iterdir()) == ["1", "7", "8"]


def test_a_version_taken_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_text("theirs")
    (tmp_path / ".tmp-x").mkdir()
    (tmp_path / ".tmp-x" / "saved_model.pb").write_text("ours")
    answers = iter([{}, {1: tmp_path / "1"}])
    monkeypatch.setattr(folder, "versions", lambda base: next(answers))
    assert publishing._rename(tmp_path / ".tmp-x", tmp_path, None) == tmp_path / "2"
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "theirs"
    assert (tmp_path / "2" / "saved_model.pb").read_text() == "ours"


class Fault(DynamicLinear):
    """A layer that passes its input on, in a way that servers do not run or that lies."""

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind

    def linearize(self, inputs):
        if self.kind == "python":
            shape = inputs.shape
            inputs = tf.py_function(lambda x: x, [inputs], inputs.dtype)
            inputs.set_shape(shape)
        elif self.kind == "xla":
            inputs = tf.function(tf.identity, jit_compile=True)(inputs)
        elif not tf.executing_eagerly():
            inputs = 1.1 * inputs
        return inputs, lambda cotangent: cotangent

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}


@pytest.mark.parametrize(
    "kind, sentence",
    [("python", "EagerPyFunc"), ("xla", "jit_compile"), ("lie", "does not answer as the net")],
)
def test_a_servable_that_would_not_serve_is_not_published(kind, sentence, tmp_path):
    keras.saving.register_keras_serializable("test_export")(Fault)
    net = CoDANet([Fault(kind), DAUConv2D(CLASSES, 2, 3)], temperature=1.0, image_size=6)
    with pytest.raises(ValueError, match=sentence):
        package(net, tmp_path, "faulty")
    assert list(tmp_path.iterdir()) == []


WRONG = {
    "probabilities": tf.nn.softmax,
    "class_ids": lambda values: (values + 1) % CLASSES,
    "bias": lambda values: 2 * values,
    "residual": lambda values: values + 0.01,
    "labels": lambda values: values[::-1],
    "logits": lambda values: values + 0.01,
    "contribution_map": lambda values: tf.transpose(values, (0, 2, 1)),
    "contributions": lambda values: values[..., ::-1],
    "weights": lambda values: tf.abs(values),
}


def tell_lies(monkeypatch, signature, output, lie):
    """Makes one output of a signature wrong."""
    honest = signatures.signatures

    def lying(net, labels=None):
        made = honest(net, labels)
        function, specs = made[signature]

        def wrong(*args, **kwargs):
            outputs = function(*args, **kwargs)
            return {**outputs, output: lie(outputs[output])}

        return {**made, signature: (wrong, specs)}

    monkeypatch.setattr(signatures, "signatures", lying)


def outputs_of_a_servable():
    made = signatures.signatures(tiny_net(size=(6, 6)), NAMES)
    zeros = {
        "images": np.zeros((1, 6, 6, 3), "float32"),
        "class_ids": np.zeros(1, "int32"),
        "removed": np.zeros((1, 6, 6), bool),
        "image_bytes": np.array(encoded(np.zeros((6, 6, 3), "uint8")), object),
    }
    for name, (function, specs) in made.items():
        for output in function(*(tf.constant(zeros[spec.name]) for spec in specs)):
            yield name, output


@pytest.mark.parametrize("signature, output", list(outputs_of_a_servable()))
def test_no_output_of_a_published_servable_is_wrong(signature, output, tmp_path, monkeypatch):
    tell_lies(monkeypatch, signature, output, WRONG[output])
    net = tiny_net(size=(6, 6))
    sentence = rf"does not answer as the net does: {signature}\.{output} "
    with pytest.raises(ValueError, match=sentence):
        package(net, tmp_path, "lying", labels=NAMES)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_nothing_else_tells_is_that_of_its_function(tmp_path, monkeypatch):
    honest, net = signatures.signatures, tiny_net()

    def extended(net, labels=None):
        function, specs = honest(net, labels)["classify"]

        def brightness(images):
            # Like a kernel that a server runs otherwise than eager TensorFlow does.
            wrong = 0.0 if tf.executing_eagerly() else error
            return {**function(images), "brightness": tf.reduce_mean(images, (1, 2, 3)) + wrong}

        return {**honest(net, labels), "classify": (brightness, specs)}

    monkeypatch.setattr(signatures, "signatures", extended)
    error = 0.1
    with pytest.raises(ValueError, match=r"classify\.brightness differs"):
        package(net, tmp_path, "tiny")
    error = 0.0
    assert package(net, tmp_path, "tiny").name == "1"


def test_a_tie_of_classes_may_be_broken_either_way(tmp_path, monkeypatch):
    net = tiny_net()
    layer = net.body[-1]
    layer.kernel.assign(np.take(layer.kernel.numpy(), [0, 0, 0], axis=-2))
    layer.bias.assign(np.take(layer.bias.numpy(), [0, 0, 0], axis=-1))
    tell_lies(monkeypatch, "serving_default", "class_ids", lambda ids: ids + 2)
    assert package(net, tmp_path, "tiny").name == "1"


def test_arguments_that_do_not_fit(net, tmp_path):
    for arguments, sentence in [
        ({"name": "a/b"}, "model name"),
        ({"name": ".hidden"}, "model name"),
        ({"name": "models.config"}, "model name"),
        ({"name": "Compose.yaml"}, "model name"),
        ({"name": "007"}, "model name"),
        ({"version": 0}, "positive integer"),
        ({"version": 2**63}, "at most 9223372036854775807"),
        ({"labels": ["cat", "", "ship"]}, "class 1 is empty"),
        ({"labels": ["cat", "dog", " "]}, "class 2 is empty"),
        ({"labels": ["cat", "dog"]}, "Expected 3 different labels"),
        ({"labels": ["cat", "dog", "cat"]}, "of them 2 different"),
        ({"model": tmp_path / "none.keras"}, "no model"),
        ({"model": keras.Sequential()}, "Expected a CoDANet. Received: Sequential"),
        ({"model": tiny_net(size=None)}, "no weights yet"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            package(**{"model": net, "out": tmp_path, "name": "tiny", **arguments})
    assert list(tmp_path.iterdir()) == []


def test_image_size_is_the_nets_own_or_given(tmp_path):
    net = tiny_net(size=None)
    net(np.zeros((1, 5, 6, 3), "float32"))
    with pytest.raises(ValueError, match="image_size"):
        float32_copy(net)
    servable = Servable(package(net, tmp_path, "tiny", image_size=(5, 6)))
    image = np.full((1, 5, 6, 3), 0.5, "float32")
    assert ask(servable, "serving_default", images=image)["contribution_map"].shape == (1, 5, 6)


def test_files_for_the_stock_server(tmp_path):
    for version in ("one/1", "two/3", "two/12", "no_version/.tmp-1", "none"):
        (tmp_path / version).mkdir(parents=True)
    (tmp_path / "compose.yaml").write_text("mine")
    folder.write_server_files(tmp_path)
    config = text_format.Parse(
        (tmp_path / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    models = config.model_config_list.config
    assert [(m.name, m.base_path) for m in models] == [
        ("one", "/models/one"),
        ("two", "/models/two"),
    ]
    assert [m.model_version_policy.latest.num_versions for m in models] == [2, 2]
    assert (tmp_path / "compose.yaml").read_text() == "mine"
    batching = (tmp_path / "batching_parameters.txt").read_text()
    largest = re.search(r"max_batch_size \{ value: (\d+) \}", batching)[1]
    assert re.findall(r"allowed_batch_sizes: (\d+)", batching)[-1] == largest
    compose = (folder.DEPLOY / "compose.yaml").read_text()
    for name in re.findall(r"/models/([\w.]+)\n", compose):
        assert (tmp_path / name).is_file()


def test_version_policies_that_were_edited_stay(tmp_path):
    for version in ("one/1", "two/1", "three/1"):
        (tmp_path / version).mkdir(parents=True)
    folder.write_server_files(tmp_path)
    config = tmp_path / "models.config"
    text = config.read_text()
    for edited in ("all { }", "specific { versions: 7 }"):
        text = re.sub(r"latest \{[^}]*\}", edited, text, count=1)
    config.write_text(text)
    (tmp_path / "four" / "1").mkdir(parents=True)
    folder.write_server_files(tmp_path)
    listed = text_format.Parse(config.read_text(), model_server_config_pb2.ModelServerConfig())
    policies = [
        text_format.MessageToString(model.model_version_policy, as_one_line=True)
        for model in listed.model_config_list.config
    ]
    latest = "latest { num_versions: 2 }"
    assert policies == [latest, "all { }", "specific { versions: 7 }", latest]
    config.write_text("no configuration")
    folder.write_server_files(tmp_path)
    assert served(tmp_path) == ["four", "one", "three", "two"]


def test_a_stock_server_is_told_the_policies_of_the_flags(tmp_path):
    for version in ("one/1", "two/3"):
        (tmp_path / version).mkdir(parents=True)
    policies = version_policies.parse(["all", "two=specific:3,5"])
    text = folder.models_config(tmp_path, "/models", policies=policies)
    listed = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    one, two = listed.model_config_list.config
    assert one.model_version_policy.HasField("all")
    assert list(two.model_version_policy.specific.versions) == [3, 5]


def served(root):
    config = text_format.Parse(
        (root / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    return [model.name for model in config.model_config_list.config]


def test_a_version_appears_when_all_else_is_written(net, tmp_path, monkeypatch):
    package(net, tmp_path, "one")
    write, seen = folder.write_text, []

    def watched(path, text):
        seen.append((path.name, (tmp_path / "two" / "1").exists()))
        write(path, text)

    monkeypatch.setattr(folder, "write_text", watched)
    package(net, tmp_path, "two")
    assert ("models.config", False) in seen
    assert not any(published for _, published in seen)
    assert served(tmp_path) == ["one", "two"]


def test_without_its_server_files_nothing_is_published(net, tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(folder, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        package(net, tmp_path, "tiny")
    assert not (tmp_path / "tiny").exists()


def test_a_model_that_was_not_published_is_not_listed(net, tmp_path, monkeypatch):
    def failing(*_):
        raise OSError(errno.EIO, "Input/output error")

    package(net, tmp_path, "one")
    monkeypatch.setattr(publishing, "_rename", failing)
    with pytest.raises(OSError, match="Input/output"):
        package(net, tmp_path, "two")
    assert served(tmp_path) == ["one"]


def test_packagings_at_once_list_each_other(tmp_path):
    # Each lists what it finds and publishes then: between the two nobody else may look.
    def publish(name):
        temporary = tmp_path / name / ".tmp-x"
        temporary.mkdir(parents=True)
        publishing.publish(temporary, tmp_path / name, None)

    names = [f"model-{number:02}" for number in range(40)]
    with futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, names))
    assert served(tmp_path) == names
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize("limit", [100, 3000])
def test_a_full_disk_is_one_line(limit, net, tmp_path, capsys):
    net.save(tmp_path / "model.keras")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(SystemExit) as end:
            run(
                *("--model", tmp_path / "model.keras", "--out", tmp_path / "out"),
                *("--name", "tiny"),
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capsys.readouterr().err
    assert (end.value.code, error.count("\n")) == (2, 1), error
    assert not (tmp_path / "out" / "tiny").exists()


def test_leftovers_of_killed_packagings_are_removed(net, tmp_path):
    new, old = tmp_path / "tiny" / ".tmp-new", tmp_path / "tiny" / ".tmp-old"
    config, before = tmp_path / ".tmp-models.config", tmp_path / f".models.{'0a' * 16}.config"
    for path in (new, old):
        path.mkdir(parents=True)
        (path / "saved_model.pb").write_text("half")
    for path in (config, before):
        path.write_text("half")
    for path in (old, config, before):
        os.utime(path, (0, time.time() - 2 * publishing.LEFTOVER_SECONDS))
    package(net, tmp_path, "tiny")
    assert new.exists()
    assert not old.exists()
    assert not config.exists()
    assert not before.exists()


def test_versions_beyond_the_api_are_not_versions(net, tmp_path):
    last = 2**63 - 1
    for version in (last, last + 1, 10**20):
        (tmp_path / "tiny" / str(version)).mkdir(parents=True)
    assert list(folder.versions(tmp_path / "tiny")) == [last]
    with pytest.raises(ValueError, match="no free version"):
        package(net, tmp_path, "tiny")


def test_a_servable_says_how_it_is_batched(path, tmp_path):
    text = (path / "batching_params.pbtxt").read_text()
    assert f"max_batch_size {{ value: {2**20 // (HEIGHT * WIDTH)} }}" in text
    assert "max_execution_batch_size { value: 32 }" in text
    assert re.findall(r"allowed_batch_sizes: (\d+)", text) == ["1", "2", "4", "8", "16", "32"]
    assert "num_batch_threads" not in text
    for size, request, batch in (((1024, 100), 50, 8), ((2000, 3000), 50, 1), ((32, 32), 1024, 32)):
        text = folder.batching_params(*size, classes=50)
        assert f"max_batch_size {{ value: {request} }}" in text
        assert f"max_execution_batch_size {{ value: {batch} }}" in text
        # Servers refuse the file otherwise.
        assert re.findall(r"allowed_batch_sizes: (\d+)", text)[-1] == str(batch)


def test_labels_lie_beside_the_model(path):
    assert (path / LABELS).read_text().split() == NAMES


def run(*arguments):
    packaging.main([*map(str, arguments)])


def test_command(net, tmp_path, capsys):
    net.save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("\n".join(NAMES))
    common = ["--model", tmp_path / "model.keras", "--out", tmp_path / "out", "--name", "tiny"]
    run(*common, "--version", 3, "--labels", tmp_path / "labels.txt")
    written = Path(capsys.readouterr().out.strip())
    assert written == tmp_path / "out" / "tiny" / "3"
    assert Servable(written).warm_up() == 6
    for arguments in (
        [*common, "--version", 3],
        [*common, "--version", "007"],
        [*common, "--version", 10**20],
        [*common, "--labels", tmp_path / "none.txt"],
        [*common, "--bogus"],
        common[2:],
    ):
        with pytest.raises(SystemExit) as end:
            run(*arguments)
        assert end.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
