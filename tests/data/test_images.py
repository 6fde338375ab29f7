"""Data sets that are read without a framework."""

import pickle
import sys

import numpy as np
import pytest

from coda_keras.data import cifar10 as cifar10_files
from coda_keras.data import images as data


def test_limit_takes_the_first_images():
    images, labels = np.zeros((4, 2, 2, 3), "uint8"), np.zeros(4, "int32")
    limited = data.ImageData(images, labels, images, labels, ["a"]).limit(3, 2)
    assert (len(limited.train_images), len(limited.train_labels)) == (3, 3)
    assert (len(limited.test_images), len(limited.test_labels)) == (2, 2)


def test_digits_keep_the_last_writers_for_the_test():
    datasets = pytest.importorskip("sklearn.datasets")
    loaded, digits = data.load_digits(), datasets.load_digits()
    assert loaded.train_images.shape == (1437, 16, 16, 3)
    assert loaded.test_images.shape == (360, 16, 16, 3)
    np.testing.assert_array_equal(loaded.test_labels, digits.target[-360:])
    np.testing.assert_array_equal(loaded.train_labels, digits.target[:-360])
    pixel = round(digits.images[-360, 3, 4] * 255 / 16)
    assert (loaded.test_images[0, 6:8, 8:10] == pixel).all()


def test_digits_without_scikit_learn_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'coda-keras\[demo\]'"):
        data.load_digits()


@pytest.fixture
def cifar10(rng):
    """Pixels `(60, 3072)`, channels first, and labels, ten a batch."""
    return rng.integers(0, 256, (60, 3072)).astype("uint8"), np.arange(60) % 10


BATCHES = [*cifar10_files.TRAIN, cifar10_files.TEST]


def write_batches(folder, pixels, labels, python):
    for number, name in enumerate(BATCHES):
        rows = slice(10 * number, 10 * number + 10)
        if python:
            batch = {b"data": pixels[rows], b"labels": labels[rows].tolist(), b"batch_label": b"?"}
            # As NumPy 1 called this module.
            content = pickle.dumps(batch, protocol=3)
            content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            (folder / name).write_bytes(content)
        else:
            records = np.concatenate([labels[rows, None].astype("uint8"), pixels[rows]], axis=1)
            (folder / f"{name}.bin").write_bytes(records.tobytes())


@pytest.mark.parametrize("python", [False, True])
def test_cifar10_is_read_as_it_is_distributed(cifar10, python, tmp_path):
    assert not cifar10_files.is_there(tmp_path)
    write_batches(tmp_path, *cifar10, python)
    assert cifar10_files.is_there(tmp_path)
    loaded = cifar10_files.load_cifar10(tmp_path)
    pixels, labels = cifar10
    assert loaded.train_images.shape == (50, 32, 32, 3) and loaded.train_labels.dtype == np.int32
    assert loaded.class_names[0] == "airplane" and len(loaded.class_names) == 10
    np.testing.assert_array_equal(loaded.test_labels, labels[50:])
    for row, column, channel in np.ndindex(3, 4, 3):
        expected = pixels[50:, 1024 * channel + 32 * row + column]
        np.testing.assert_array_equal(loaded.test_images[:, row, column, channel], expected)

    last = tmp_path / ("data_batch_5" if python else "data_batch_5.bin")
    last.write_bytes(last.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"data_batch_5.*is no batch of CIFAR-10, or damaged"):
        cifar10_files.load_cifar10(tmp_path)
    last.unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_5"):
        cifar10_files.load_cifar10(tmp_path)


@pytest.mark.parametrize("content", [[], {b"data": 1, b"labels": []}])
def test_pickles_of_something_else_are_refused(content, cifar10, tmp_path):
    write_batches(tmp_path, *cifar10, python=True)
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"test_batch is no batch of CIFAR-10, or damaged"):
        cifar10_files.load_cifar10(tmp_path)


def test_pickles_run_nothing(cifar10, tmp_path):
    write_batches(tmp_path, *cifar10, python=True)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(tmp_path.rmdir))
    with pytest.raises(ValueError, match="it names"):
        cifar10_files.load_cifar10(tmp_path)


def test_a_data_set_as_one_file(tmp_path, rng):
    images, labels = rng.integers(0, 256, (5, 4, 4, 3)).astype("uint8"), np.arange(5, dtype="int32")
    whole = data.ImageData(images, labels, images[:2], labels[:2], list("abcde"), "on copies")
    path = tmp_path / "all.npz"
    data.save_npz(whole, path)
    for made, expected in zip(data.load_npz(path), whole):
        np.testing.assert_array_equal(made, expected)
    data.save_npz(whole._replace(note=None), path)
    assert data.load_npz(path).note is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test_labels": None}, "has no test_labels"),
        ({"train_images": np.zeros((5, 4, 4), "uint8")}, r"expected train_images.*\(5, 4, 4\)"),
        ({"train_labels": np.zeros(4, "int32")}, "as many integers"),
        ({"train_labels": np.full(5, 2**62)}, "train_labels from 0 to 1048575"),
        ({"train_labels": np.full(5, -1)}, "Received -1 to -1"),
        ({"class_names": np.array("a")}, "class_names as a list"),
        ({"class_names": np.array(["cat", "dog", "cat"])}, "several times, or empty: 'cat'"),
        ({"class_names": np.array(["cat", ""])}, "or empty: ''"),
        (
            {"class_names": np.array(["a", "b"]), "train_labels": np.arange(5)},
            "from 0 to 4. Received 2 names",
        ),
        (
            {"test_images": np.zeros((0, 4, 4, 3), "uint8"), "test_labels": np.zeros(0, "int32")},
            "test_images is empty",
        ),
        (
            {"train_images": np.zeros((5, 0, 4, 3), "uint8")},
            r"\(5, 0, 4, 3\)",
        ),
        ({"test_images": np.zeros((2, 4, 4, 3), "float32")}, "float32"),
    ],
)
def test_other_files_are_refused(change, said, tmp_path):
    images, labels = np.zeros((5, 4, 4, 3), "uint8"), np.zeros(5, "int32")
    arrays = {"train_images": images, "train_labels": labels}
    arrays |= {"test_images": images[:2], "test_labels": labels[:2], **change}
    path = tmp_path / "all.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=said):
        data.load_npz(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="cut off"):
        data.load_npz(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        data.load_npz(path)
