"""What a teacher says of every view of an image, and how a student gets it."""

import keras
import numpy as np
import pytest

from coda_keras.data import batches
from coda_keras.data.batches import TrainBatches
from coda_keras.training import Settings, teacher


class Pixels(keras.Model):
    """A "classifier" whose logits are three pixels of the first row."""

    def call(self, images):
        return images[:, 0, :3, 0]


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 5, 7, 3)).astype("uint8")


def test_logits_are_those_of_the_views(images):
    logits = teacher.view_logits(Pixels(), images, padding=2)
    assert logits.shape == (6, 2, 5, 5, 3) and logits.dtype == np.float16
    # Two rows further down and one to the left, flipped: the first column is the second.
    seen = images[:, 2, [1, 0, 1, 2, 3, 4, 5]] / 255
    np.testing.assert_allclose(logits[:, 1, 4, 1], seen[:, ::-1][:, :3, 0], atol=1e-3)
    np.testing.assert_allclose(logits[:, 0, 2, 2], images[:, 0, :3, 0] / 255, atol=1e-3)


@pytest.mark.parametrize("alternate_flip", [False, True])
def test_a_batch_has_the_targets_of_the_views_that_it_shows(images, alternate_flip):
    logits = teacher.view_logits(Pixels(), images, padding=1)
    plan = TrainBatches(
        images,
        np.zeros(6, "int32"),
        batch_size=3,
        epochs=8,
        seed=3,
        alternate_flip=alternate_flip,
        targets=logits,
    )
    shown, targets = zip(*batches.framework().train_batches(plan))
    shown = np.concatenate([keras.ops.convert_to_numpy(part) for part in shown])
    targets = np.concatenate([keras.ops.convert_to_numpy(part) for part in targets])
    assert shown.shape == (48, 5, 7, 3) and targets.shape == (48, 3)
    np.testing.assert_allclose(targets, shown[:, 0, :3, 0], atol=1e-3)
    # Of 18 views a good part is seen.
    assert len(np.unique(targets, axis=0)) > 20


def answers(**changes):
    random = np.random.default_rng(1)
    values = {
        "logits": random.normal(size=(4, 2, 3, 3, 5)).astype("float16"),
        "labels": [0, 4, 2, 2],
    }
    return {**values, **changes}


def test_targets_mix_probabilities_and_labels(tmp_path):
    path = tmp_path / "teacher.npz"
    known = answers()
    teacher.save(teacher.Teacher(known["logits"], np.array(known["labels"])), path)
    labels = np.array([0, 4, 2])
    wide = 2.0 * known["logits"][:3].astype("float64")
    hard = np.eye(5)[labels][:, None, None, None]
    soft = {
        "sigmoid": 1 / (1 + np.exp(1.5 - wide)),
        "softmax": np.exp(wide) / np.exp(wide).sum(-1, keepdims=True),
    }
    for kind, expected in soft.items():
        settings = Settings(
            teacher=str(path),
            teacher_targets=kind,
            teacher_scale=2.0,
            teacher_shift=1.5,
            label_weight=0.25,
        )
        mixed = teacher.targets(settings, labels)
        np.testing.assert_allclose(mixed, 0.75 * expected + 0.25 * hard, atol=1e-3)
    assert teacher.targets(Settings(), labels) is None


@pytest.mark.parametrize(
    ("changes", "labels", "message"),
    [
        ({"logits": np.zeros((4, 2, 2, 2, 5))}, [0, 4], "S odd"),
        ({"logits": np.full((4, 2, 3, 3, 5), np.nan)}, [0, 4], "not finite"),
        ({}, [0, 3], "not the 2 to train on"),
        ({}, [0, 4, 2, 2, 1], "answers for 4 images"),
        ({"labels": [0, 4]}, [0, 4], "in their order"),
    ],
)
def test_other_files_are_refused(tmp_path, changes, labels, message):
    np.savez(tmp_path / "teacher.npz", **answers(**changes))
    with pytest.raises(ValueError, match=message):
        teacher.load(tmp_path / "teacher.npz", np.array(labels))


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "teacher.npz").write_bytes(b"PK no")
    with pytest.raises(ValueError, match=r"no \.npz file of arrays"):
        teacher.load(tmp_path / "teacher.npz", np.zeros(2))
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    with pytest.raises(ValueError, match="no answers of a teacher"):
        teacher.load(tmp_path / "other.npz", np.zeros(2))
