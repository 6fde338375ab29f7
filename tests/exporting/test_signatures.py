"""The signatures of servables against the NumPy oracle, and what they refuse."""

import io
import json
import re
import struct
import subprocess
import sys
import zlib
from concurrent import futures
from pathlib import Path

import numpy as np
import oracle
import pytest
import tensorflow as tf
from coda_keras_export.servable.loading import Servable
from PIL import Image
from servables import (
    CLASSES,
    HEIGHT,
    WIDTH,
    ask,
    by_oracle,
    encoded,
    wrong_shapes,
)

pytestmark = pytest.mark.tensorflow


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
            "offset": ("float32", [-1]),
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
        logits, class_id, contributions = by_oracle(net, picture)
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
        logits, class_id, contributions = by_oracle(net, picture, class_ids[index])
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
        np.testing.assert_allclose(logits, by_oracle(net, picture)[0], rtol=1e-5, atol=1e-6)
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
        command, input=json.dumps(requests), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == len(requests)
    for code, _, shape, values in answers[: len(good)]:
        assert (code, shape[0] in (2, 4), shape[1]) == (0, True, CLASSES)
        for logits, picture in zip(np.reshape(values, shape), pictures):
            np.testing.assert_allclose(logits, by_oracle(net, picture)[0], rtol=1e-5, atol=1e-6)
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
