"""A teacher and a student of it, as a user trains them."""

import importlib
import json
from functools import partial

import numpy as np
import pytest
import tiny

from coda_keras import CoDANet, DAUConv2D
from coda_keras.data.images import ImageData, load_npz, save_npz
from coda_keras.models import airbench
from coda_keras.training import Settings

COMMON = ["--epochs", "1", "--batch-size", "16"]


@pytest.fixture
def data(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (88, 32, 40, 3)).astype("uint8")
    labels = (np.arange(88) % 10).astype("int32")
    names = [f"class {index}" for index in range(10)]
    path = tmp_path / "cifar10.npz"
    save_npz(ImageData(images[:48], labels[:48], images[48:], labels[48:], names), path)
    return path


def interrupted(*arguments):
    raise KeyboardInterrupt


def test_a_student_learns_what_a_teacher_has_stored(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(airbench, "airbench", partial(airbench.airbench, widths=(24, 24, 24)))
    monkeypatch.setitem(tiny.PRESETS, "s_coda", tiny.few_layers("s_coda"))
    teacher = importlib.import_module("coda_keras_recipes.teacher")
    cifar10 = importlib.import_module("coda_keras_recipes.cifar10")
    flags = ["--data", str(data), "--hold-out", "16", *COMMON]
    teacher.main([*flags, "--output", str(tmp_path / "teacher")])
    scores = json.loads((tmp_path / "teacher/teacher.json").read_text())
    assert scores["test_images"] == 16 and 0 <= scores["six_view_accuracy"] <= 1
    assert f"{scores['six_view_accuracy']:.4f} on 16 images" in capsys.readouterr().out
    with np.load(tmp_path / "teacher/teacher.npz") as answers:
        assert answers["logits"].shape == (48, 2, 3, 3, 10)
        assert np.isfinite(answers["logits"]).all() and np.ptp(answers["logits"]) > 0
        assert len(answers["labels"]) == 48  # those held out too

    # What was interrupted after the training is completed, for the same run alone.
    (tmp_path / "teacher/teacher.npz").unlink()
    again = ["--data", str(data), *COMMON, "--output", str(tmp_path / "teacher")]
    with pytest.raises(SystemExit, match="2"):
        teacher.main(again)
    assert "another --hold-out" in capsys.readouterr().err
    again += ["--hold-out", "16"]
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="130"):
        patch.setattr("coda_keras.utils.files.write_json", interrupted)
        teacher.main(again)
    teacher.main(again)
    with np.load(tmp_path / "teacher/teacher.npz") as answers:
        assert answers["logits"].shape == (48, 2, 3, 3, 10)

    flags += ["--teacher", str(tmp_path / "teacher/teacher.npz"), "--rank-scale", "0.02"]
    maps = tmp_path / "maps.keras"
    CoDANet([DAUConv2D(10, 2, 3, strides=4)], image_size=(32, 40)).save(maps)
    flags += ["--map-teacher", str(maps), "--map-weight", "0.5"]
    cifar10.main([*flags, "--output", str(tmp_path / "student")])
    metrics = json.loads((tmp_path / "student/metrics.json").read_text())
    assert metrics["test_images"] == 16 and metrics["arguments"]["label_weight"] == 0
    # The cross-entropy alone is less.
    logged, *_ = json.loads((tmp_path / "student/history.json").read_text())
    assert logged["loss"] > logged["val_loss"] + 0.25


def test_a_resnet_takes_the_images_of_its_data(data):
    resnet56 = importlib.import_module("coda_keras_recipes.resnet56")
    assert resnet56.build(Settings(), load_npz(data)).input_shape == (None, 32, 40, 3)


def test_answers_for_other_images_are_refused(data, tmp_path, capsys):
    cifar10 = importlib.import_module("coda_keras_recipes.cifar10")
    np.savez(tmp_path / "t.npz", logits=np.zeros((9, 2, 3, 3, 10)), labels=np.zeros(9, int))
    flags = ["--data", str(data), "--teacher", str(tmp_path / "t.npz"), "--rank-scale", "0.02"]
    with pytest.raises(SystemExit) as end:
        cifar10.main([*flags, *COMMON, "--output", str(tmp_path / "run")])
    assert end.value.code == 2
    assert "has answers for 9 images" in capsys.readouterr().err
