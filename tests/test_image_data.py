"""Data sets that are read without a framework."""

import gzip
import struct
import sys

import numpy as np
import pytest

from coda_keras import data


def test_limit_takes_the_first_images():
    images, labels = np.zeros((4, 2, 2, 3), "uint8"), np.zeros(4, "int32")
    limited = data.ImageData(images, labels, images, labels, ["a"]).limit(3, 2)
    assert (len(limited.train_images), len(limited.train_labels)) == (3, 3)
    assert (len(limited.test_images), len(limited.test_labels)) == (2, 2)


def test_digits_keep_the_last_writers_for_the_test():
    datasets = pytest.importorskip("sklearn.datasets")
    found, digits = data.load_digits(), datasets.load_digits()
    assert found.train_images.shape == (1437, 16, 16, 3)
    assert found.test_images.shape == (360, 16, 16, 3)
    np.testing.assert_array_equal(found.test_labels, digits.target[-360:])
    np.testing.assert_array_equal(found.train_labels, digits.target[:-360])
    pixel = round(digits.images[-360, 3, 4] * 255 / 16)
    assert (found.test_images[0, 6:8, 8:10] == pixel).all()


def test_digits_without_scikit_learn_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError, match=r"extra `demo`.*pip install scikit-learn"):
        data.load_digits()


def write_idx(path, array):
    header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    content = header + array.astype("uint8").tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def mnist(tmp_path, rng):
    images, labels = rng.integers(0, 256, (15, 4, 3)), np.arange(15) % 10
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", labels)
    return tmp_path, images, labels


def test_one_part_of_mnist_is_split(mnist):
    folder, images, labels = mnist
    found = data.load_idx(folder)
    assert found.train_images.shape == (12, 4, 3, 3) and found.train_images.dtype == np.uint8
    for channel in range(3):
        np.testing.assert_array_equal(found.train_images[..., channel], images[:12])
        np.testing.assert_array_equal(found.test_images[..., channel], images[12:])
    np.testing.assert_array_equal(found.test_labels, labels[12:])
    assert found.note == "the last 3 digits of t10k; the 12 before them trained"


def test_both_parts_of_mnist_stay_as_they_are(mnist):
    folder, images, labels = mnist
    write_idx(folder / "train-images-idx3-ubyte", images[:7])
    write_idx(folder / "train-labels-idx1-ubyte.gz", labels[:7])
    found = data.load_idx(folder)
    assert (len(found.train_images), len(found.test_images), found.note) == (7, 15, None)


def test_missing_and_damaged_files_are_named(mnist):
    folder, _, labels = mnist
    pictures, numbers = folder / "t10k-images-idx3-ubyte.gz", folder / "t10k-labels-idx1-ubyte"
    whole = pictures.read_bytes()
    for content in (whole[:-20], b"\x1f\x8bnonsense", b"PNG", gzip.compress(b"\0\0\x08\x01" * 9)):
        pictures.write_bytes(content)
        with pytest.raises(ValueError, match=r"images-idx3-ubyte.gz.*Fetch it again"):
            data.load_idx(folder)
    pictures.write_bytes(whole)
    write_idx(numbers, labels[:14])
    with pytest.raises(ValueError, match="14 labels for 15 images"):
        data.load_idx(folder)
    numbers.unlink()
    with pytest.raises(FileNotFoundError, match="has no labels"):
        data.load_idx(folder)
    pictures.unlink()
    with pytest.raises(FileNotFoundError, match="no digits in"):
        data.load_idx(folder)
