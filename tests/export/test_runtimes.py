"""Exported files in the runtimes that they are for, beside Keras."""

import json
import zipfile
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
from coda_keras_export import parity, runtimes
from coda_keras_export.export import main
from conftest import set_weights
from servables import CLASSES, HEIGHT, NAMES, WIDTH, tiny_net

from benchmarks import portability
from coda_keras import (
    CoDANet,
    DAUConv2D,
    DynamicLinear,
    Ensemble,
    Flipped,
    Shifted,
    examples,
)
from coda_keras.exporting.formats import FORMATS, move
from coda_keras.exporting.graph import OUTPUTS
from coda_keras.layers import (
    AveragePooling2D,
    BcosConv2D,
    DynamicBatchNormalization,
    MaxOut,
    MaxPooling2D,
    Residual,
)
from coda_keras.models.precision import float32_copy
from coda_keras.utils import extras

pytestmark = [
    pytest.mark.tensorflow,
    # Of packages that write the files.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
RUNTIMES = [
    pytest.param(
        name, marks=pytest.mark.skipif(bool(extras.missing(name)), reason=f"without {name}")
    )
    for name in runtimes.RUNTIMES
]
in_every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)
without_node = pytest.mark.skipif(
    portability.node_packages() is None, reason="without onnxruntime-web"
)
everywhere = pytest.mark.parametrize(
    "runtime", [*RUNTIMES, pytest.param("node", marks=without_node)]
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Exports a net by its name here, once in every format."""
    nets = {
        "shipped": lambda: float32_copy(CoDANet.from_preset("s_coda_cifar10")),
        "tiny": named_net,
    }

    @cache
    def net(name):
        return nets[name]()

    @cache
    def export(name, format):
        path = tmp_path_factory.mktemp(name) / f"{name}{FORMATS[format].suffix}"
        net(name).export(path, format=format)
        return net(name), path

    return export


def named_net():
    net = tiny_net()
    net.class_names = NAMES
    return net


@pytest.fixture(scope="module")
def photographs():
    """32 of them: the ten that come along, flipped and turned."""
    images = np.asarray(examples.load("cifar10"), "float32")
    return np.concatenate([images, images[:, :, ::-1], images[:, ::-1], images[:2, ::-1, ::-1]])


@pytest.fixture(scope="module")
def answers(written, photographs):
    """What Keras says of the photographs."""
    net, _ = written("shipped", "onnx")
    return parity.expected(net, photographs)


@pytest.fixture
def tiny_run(runtime, written):
    """The tiny net in a runtime."""
    if runtime != "node":
        return runtimes.load(written("tiny", runtime)[1], runtime)
    path = written("tiny", "onnx")[1]

    def run(images, target_class_ids):
        ids = target_class_ids.tolist()
        return portability.in_node(path, images, len(images), ids=ids)[0]

    return run


def assert_same(found):
    assert found["logits"] <= 1e-5 and found["contributions"] <= 1e-5
    assert found["residual"] <= 1e-4 and found["class_ids"] == 0
    assert max(found.values()) <= 1e-4


@in_every_runtime
def test_32_photographs_are_classified_and_explained_as_in_keras(
    runtime, written, photographs, answers
):
    run = runtimes.load(written("shipped", runtime)[1], runtime)
    answer = run(images=photographs, target_class_ids=np.full(32, -1, "int32"))
    assert answer.keys() == {*OUTPUTS}
    found = parity.differences(answer, answers)
    assert found.keys() == {*OUTPUTS}
    assert_same(found)


@without_node
def test_32_photographs_are_classified_and_explained_in_node(
    written, photographs, answers, tmp_path
):
    answer, _ = portability.in_node(written("shipped", "onnx")[1], photographs, batch=16)
    assert_same(parity.differences(answer, answers))


@pytest.mark.skipif(bool(extras.missing("onnx")), reason="without onnx")
def test_onnx_files_hold_every_weight_once(written):
    import onnx

    net, path = written("shipped", "onnx")
    tensors = onnx.load(path).graph.initializer
    large = [
        onnx.numpy_helper.to_array(tensor) for tensor in tensors if len(tensor.raw_data) > 4000
    ]
    assert sorted(tensor.size for tensor in large) == sorted(
        weight.size for weight in map(np.asarray, net.get_weights()) if weight.size > 1000
    )


@in_every_runtime
def test_classes_are_chosen_and_batches_have_any_size(runtime, written, rng):
    net, path = written("tiny", runtime)
    run = runtimes.load(path, runtime)
    for ids in ([2], [0, 2, 1], [1, 1]):
        images = rng.random((len(ids), HEIGHT, WIDTH, 3), "float32")
        answer = run(images=images, target_class_ids=np.array(ids, "int32"))
        assert answer["class_ids"].tolist() == ids
        assert_same(parity.differences(answer, parity.expected(net, images, np.array(ids))))
    answer = run(images=images, target_class_ids=np.array([2], "int32"))
    assert answer["class_ids"].tolist() == [2, 2]


@everywhere
def test_nothing_is_explained_that_a_servable_refuses(tiny_run, written, rng):
    net, _ = written("tiny", "onnx")
    images = rng.random((5, HEIGHT, WIDTH, 3), "float32")
    images[0, 3, 2, 1], images[1, 0, 0, 0], images[2, 7, 6, 2] = 1.001, -1e-3, np.nan
    ids = np.array([-1, 0, 1, CLASSES, -2], "int32")
    answer = tiny_run(images=images, target_class_ids=ids)
    assert answer["class_ids"].tolist() == [-1] * 5
    for name in ("contribution_map", "contributions", "weights", "residual", "offset"):
        assert np.isnan(answer[name]).all(), name
    for name in ("logits", "probabilities"):
        assert np.isnan(answer[name][:3]).all() and np.isfinite(answer[name][3:]).all(), name
    np.testing.assert_allclose(
        answer["logits"][3:], keras.ops.convert_to_numpy(net(images[3:])), rtol=1e-5
    )


@everywhere
@pytest.mark.parametrize(
    "shape, ids",
    [
        ((1, HEIGHT + 1, WIDTH, 3), [-1]),
        ((1, WIDTH, HEIGHT, 3), [-1]),
        ((1, 2 * HEIGHT, 2 * WIDTH, 3), [-1]),
        ((1, HEIGHT, WIDTH, 1), [-1]),
        ((HEIGHT, WIDTH, 3), [-1]),
        ((3, HEIGHT, WIDTH, 3), [0, 1]),
    ],
)
def test_shapes_that_do_not_fit_are_refused(tiny_run, shape, ids):
    images = np.full(shape, 0.5, "float32")
    # Every runtime has its own errors, and words.
    with pytest.raises(Exception, match=r"(?i)shape|dimension|rank|axis|prepare"):
        tiny_run(images=images, target_class_ids=np.array(ids, "int32"))


def read_metadata(path, runtime):
    if runtime == "onnx":
        import onnxruntime

        return onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    if runtime == "openvino":
        import openvino

        entries = openvino.Core().read_model(path).get_rt_info()["coda_keras"]
        return {name: entry.value for name, entry in entries.items()}
    with zipfile.ZipFile(path) as archive:
        return {Path(n).stem: archive.read(n).decode() for n in archive.namelist()}


@in_every_runtime
def test_files_say_what_they_are(runtime, written):
    net, path = written("tiny", runtime)
    found = read_metadata(path, runtime)
    assert found["net"] == net.name
    assert json.loads(found["class_names"]) == NAMES
    assert json.loads(found["temperature"]) == net.temperature
    assert json.loads(found["logit_bias"]) == net.logit_bias
    assert json.loads(found["image_size"]) == [HEIGHT, WIDTH]
    provenance = json.loads(found["provenance"])
    assert provenance["versions"]["keras"] == keras.__version__
    assert len(provenance["weights_sha256"]) == 64


class Halved(DynamicLinear):
    """A layer of a user's own."""

    def linearize(self, inputs):
        return 0.5 * inputs, lambda cotangent: 0.5 * cotangent

    def compute_output_shape(self, input_shape):
        return input_shape


@in_every_runtime
def test_whatever_is_composed_exports(runtime, tmp_path):
    keras.saving.register_keras_serializable("test_runtimes")(Halved)
    body = [
        DAUConv2D(4, 4, 3, rescale="l2", implementation="patches"),
        DynamicBatchNormalization(),
        Residual([BcosConv2D(4, 3), MaxOut(1)]),
        AveragePooling2D(2),
        DAUConv2D(CLASSES, 3, 3, strides=3),
    ]
    first = CoDANet(body, temperature=3, image_size=9)
    second = CoDANet([Halved(), DAUConv2D(CLASSES, 2, 1), MaxPooling2D(3)], image_size=9)
    for net in (first, second):
        set_weights(net, np.random.default_rng(2))
    net = Ensemble([Flipped(first), Shifted(second, 1, -2)])
    path = tmp_path / f"composed{FORMATS[runtime].suffix}"
    net.export(path, format=runtime)
    found = parity.verify(runtimes.load(path, runtime), float32_copy(net))
    assert max(found.values()) <= 2e-5


@pytest.mark.skipif(bool(extras.missing("openvino")), reason="without openvino")
def test_what_openvino_computes_otherwise_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("coda_keras.exporting.openvino.TOLERANCE", 0)
    with pytest.raises(ValueError, match="OpenVINO does not compute this net rightly"):
        tiny_net().export(tmp_path / "tiny.xml", format="openvino")
    assert list(tmp_path.iterdir()) == []


@in_every_runtime
def test_files_of_logits_alone_are_smaller_and_take_no_class(runtime, written, rng, tmp_path):
    net, path = written("tiny", runtime)
    small = tmp_path / path.name
    net.export(small, format=runtime, outputs=["probabilities"])
    assert small.stat().st_size < path.stat().st_size
    images = rng.random((2, HEIGHT, WIDTH, 3), "float32")
    answer = runtimes.load(small, runtime)(images=images)
    assert answer.keys() == {"probabilities"}
    parity.differences(answer, parity.expected(net, images))


# What the command does.


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    tiny_net().save(path)
    return str(path)


@in_every_runtime
def test_the_command_writes_and_compares(runtime, model, tmp_path, capsys):
    flags = ["--model", model, "--format", runtime, "--out", str(tmp_path)]
    main([*flags, "--name", "mine"])
    path = tmp_path / f"mine{FORMATS[runtime].suffix}"
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == str(path) and path.is_file()
    assert "contributions" in printed[1] and "residual" in printed[1]
    others = {"mine.bin"} if runtime == "openvino" else set()
    assert {item.name for item in tmp_path.iterdir()} == {path.name, *others}
    # The .xml file before the .bin file.
    for item in sorted(tmp_path.iterdir(), reverse=True):
        with pytest.raises(SystemExit, match="2"):
            main([*flags, "--name", "mine"])
        assert "exists. Give --overwrite" in capsys.readouterr().err
        item.unlink()


def test_the_command_writes_saved_models_as_servables(model, tmp_path, capsys):
    main(["--model", model, "--format", "tf_saved_model", "--out", str(tmp_path)])
    assert capsys.readouterr().out.strip() == str(tmp_path / "tiny")
    assert (tmp_path / "tiny" / "saved_model.pb").is_file()


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    made, path = tmp_path / ".tmp/net", tmp_path / "net"
    for folder, text in ((made, "new"), (path, "old")):
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_text(text)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(Path, "replace", interrupted)
        move(made, path)
    assert (path / "saved_model.pb").read_text() == "old"
    move(made, path)
    assert (path / "saved_model.pb").read_text() == "new"


@pytest.mark.skipif(bool(extras.missing("litert")), reason="without litert")
def test_a_file_that_answers_otherwise_does_not_appear(model, tmp_path, monkeypatch, capsys):
    def lying(path):
        run = runtimes.litert(path)
        return lambda **inputs: {
            name: values * (1.001 if name == "contributions" else 1)
            for name, values in run(**inputs).items()
        }

    monkeypatch.setitem(runtimes.RUNTIMES, "litert", lying)
    with pytest.raises(SystemExit, match="2"):
        main(["--model", model, "--format", "litert", "--out", str(tmp_path)])
    assert "contributions is off by 1.0e-03" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("runtime", [*runtimes.RUNTIMES])
def test_a_runtime_that_is_not_installed_is_named_with_its_extra(runtime, tmp_path, monkeypatch):
    monkeypatch.setattr("coda_keras.utils.extras.find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="2"):
        main(["--model", "any.keras", "--format", runtime, "--out", str(tmp_path)])
