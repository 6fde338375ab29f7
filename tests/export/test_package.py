"""Packaging: versions appear complete or not at all, listed, by the function and the command."""

import errno
import locale
import os
import resource
import shutil
import time
from concurrent import futures
from pathlib import Path

import keras
import numpy as np
import pytest
from coda_keras_export import client
from coda_keras_export import package as packaging
from coda_keras_export.package import package
from coda_keras_export.servable import folder, publishing, writing
from coda_keras_export.servable.loading import LABELS, Servable
from servables import (
    CLASSES,
    NAMES,
    ask,
    by_oracle,
    served,
    tiny_net,
)

from coda_keras import CoDANet, DAUConv2D, DynamicLinear, Ensemble, Flipped, with_offset
from coda_keras.models.precision import float32_copy

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float64"])
def test_servables_are_float32_whatever_the_net_was_trained_in(dtype, tmp_path, pictures):
    net = tiny_net(dtype=dtype)
    servable = Servable(package(net, tmp_path, "tiny"))
    images, class_ids = np.float32(pictures / 255), np.zeros(2, "int32")
    outputs = ask(servable, "explain", images=images, class_ids=class_ids)
    assert {values.dtype for values in outputs.values()} == {np.dtype("float32")}
    for index, picture in enumerate(pictures):
        logits, _, contributions = by_oracle(net, picture, 0)
        np.testing.assert_allclose(outputs["logits"][index], logits, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            outputs["contributions"][index], contributions, rtol=1e-4, atol=1e-6
        )


@keras.saving.register_keras_serializable("tests")
class Shift(DynamicLinear):
    def linearize(self, inputs):
        inputs = self.prepare(inputs)
        return inputs + 0.5, with_offset(lambda cotangent: cotangent, 0.5)


def test_averages_of_nets_are_served_with_what_their_layers_add(tmp_path, pictures):
    height, width = pictures.shape[1:3]
    layers = [Shift(), DAUConv2D(CLASSES, 3, 3)]
    net = CoDANet(layers, temperature=2.0, image_size=(height, width), class_names=NAMES)
    both = Ensemble([net, Flipped(net)], [0.75, 0.25])
    servable = Servable(package(both, tmp_path, "both"))
    images, class_ids = np.float32(pictures / 255), np.array([2, 1], "int32")
    outputs = ask(servable, "explain", images=images, class_ids=class_ids)
    sums = outputs["contributions"].sum((1, 2, 3)) + outputs["offset"] + outputs["bias"]
    np.testing.assert_allclose(sums, outputs["logits"][[0, 1], class_ids], rtol=1e-4, atol=1e-5)
    assert np.abs(outputs["offset"]).min() > 1e-3
    mirrored = np.float32(pictures[:, :, ::-1] / 255)
    expected = 0.75 * net.predict(images, verbose=0) + 0.25 * net.predict(mirrored, verbose=0)
    np.testing.assert_allclose(outputs["logits"], expected, rtol=1e-4, atol=1e-5)


def test_weights_are_stored_once(tmp_path):
    net = CoDANet([DAUConv2D(16, 32, 3), DAUConv2D(CLASSES, 32, 3)], image_size=8)
    path = package(net, tmp_path, "wide")
    stored = sum(file.stat().st_size for file in (path / "variables").iterdir())
    weights = 4 * net.count_params()
    assert weights < stored < 1.1 * weights
    assert (path / "saved_model.pb").stat().st_size < 10**6


@pytest.fixture
def written(path, monkeypatch):
    """Versions are copies of one, which takes a hundredth of the time."""

    def write(temporary, *_):
        shutil.copytree(path, temporary)

    monkeypatch.setattr(writing, "write", write)


def test_versions_count_up_and_are_never_overwritten(net, tmp_path, written):
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


def test_arguments_that_do_not_fit(net, tmp_path):
    for arguments, sentence in [
        ({"name": "a/b"}, "model name"),
        ({"name": ".hidden"}, "model name"),
        ({"name": "models.config"}, "model name"),
        ({"name": "Compose.yaml"}, "model name"),
        ({"name": "007"}, "model name"),
        ({"name": "-x"}, "model name"),
        ({"name": "x."}, "model name"),
        ({"name": ""}, "model name"),
        ({"name": "CON"}, "model name"),
        ({"name": "lpt1.old"}, "model name"),
        ({"name": "x" * 101}, "model name"),
        ({"name": "net\n"}, "model name"),
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


def test_a_version_appears_when_all_else_is_written(net, tmp_path, written, monkeypatch):
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


def test_without_its_server_files_nothing_is_published(net, tmp_path, written, monkeypatch):
    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(folder, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        package(net, tmp_path, "tiny")
    assert not (tmp_path / "tiny").exists()


def test_a_model_that_was_not_published_is_not_listed(net, tmp_path, written, monkeypatch):
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


def test_leftovers_of_killed_packagings_are_removed(net, tmp_path, written):
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


def test_versions_beyond_the_api_are_not_versions(net, tmp_path, written):
    last = 2**63 - 1
    for version in (last, last + 1, 10**20):
        (tmp_path / "tiny" / str(version)).mkdir(parents=True)
    assert list(folder.versions(tmp_path / "tiny")) == [last]
    with pytest.raises(ValueError, match="no free version"):
        package(net, tmp_path, "tiny")


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
        [*common[:-1], "CON"],
        [*common[:-2], "--name=-x"],
        [*common, "--bogus"],
        common[2:],
    ):
        with pytest.raises(SystemExit) as end:
            run(*arguments)
        assert end.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_labels_are_utf_8_whatever_the_locale(net, tmp_path):
    net.save(tmp_path / "model.keras")
    file = tmp_path / "labels.txt"
    file.write_text("grün\nblau\nweiß\n", encoding="utf-8")
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    try:
        flags = ["--model", tmp_path / "model.keras", "--out", tmp_path, "--name", "tiny"]
        run(*flags, "--labels", file)
        assert client.class_labels(None, {}, 3, file) == ["grün", "blau", "weiß"]
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    assert (tmp_path / "tiny/1" / LABELS).read_bytes() == file.read_bytes()


def test_a_net_that_predicts_nothing_is_one_line(net, tmp_path, capsys):
    spoilt = tiny_net()
    first = spoilt.weights[0]
    first.assign(first * np.nan)
    spoilt.save(tmp_path / "model.keras")
    with pytest.raises(SystemExit) as end:
        run("--model", tmp_path / "model.keras", "--out", tmp_path / "out", "--name", "tiny")
    error = capsys.readouterr().err
    assert (end.value.code, error.count("\n")) == (2, 1), error
    assert "infinite or no numbers" in error
    # Nor does one that never was in a file.
    with pytest.raises(ValueError, match="infinite or no numbers"):
        package(spoilt, tmp_path / "out", "tiny")
    assert not (tmp_path / "out" / "tiny").exists()


@pytest.mark.parametrize("name", ["a", "_a", "A-1", "v1.5", "console", "com10", "x" * 100])
def test_names_that_servers_take(name):
    packaging._check_arguments(name, None, None)
