"""MNIST's format, from honest files, damaged ones and bombs."""

import gzip
import struct

import numpy as np
import pytest

from coda_keras.data import idx


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
    loaded = idx.load_idx(folder)
    assert loaded.train_images.shape == (12, 4, 3, 3) and loaded.train_images.dtype == np.uint8
    for channel in range(3):
        np.testing.assert_array_equal(loaded.train_images[..., channel], images[:12])
        np.testing.assert_array_equal(loaded.test_images[..., channel], images[12:])
    np.testing.assert_array_equal(loaded.test_labels, labels[12:])
    assert loaded.note == "the last 3 digits of t10k; the 12 before them trained"


def test_both_parts_of_mnist_stay_as_they_are(mnist):
    folder, images, labels = mnist
    write_idx(folder / "train-images-idx3-ubyte", images[:7])
    write_idx(folder / "train-labels-idx1-ubyte.gz", labels[:7])
    loaded = idx.load_idx(folder)
    assert (len(loaded.train_images), len(loaded.test_images), loaded.note) == (7, 15, None)


def test_missing_and_damaged_files_are_named(mnist):
    folder, _, labels = mnist
    pictures, numbers = folder / "t10k-images-idx3-ubyte.gz", folder / "t10k-labels-idx1-ubyte"
    whole = pictures.read_bytes()
    for content in (whole[:-20], b"\x1f\x8bnonsense", b"PNG", gzip.compress(b"\0\0\x08\x01" * 9)):
        pictures.write_bytes(content)
        with pytest.raises(ValueError, match=r"images-idx3-ubyte.gz.*Fetch it again"):
            idx.load_idx(folder)
    pictures.write_bytes(whole)
    write_idx(numbers, labels[:14])
    with pytest.raises(ValueError, match="14 labels for 15 images"):
        idx.load_idx(folder)
    write_idx(numbers, labels + 1)
    with pytest.raises(ValueError, match=r"has the label 10\. Expected digits"):
        idx.load_idx(folder)
    numbers.unlink()
    with pytest.raises(FileNotFoundError, match="has no labels"):
        idx.load_idx(folder)
    pictures.unlink()
    with pytest.raises(FileNotFoundError, match="no digits in"):
        idx.load_idx(folder)


def header(images, *shape):
    return struct.pack(f">{1 + len(shape)}I", idx.IMAGES if images else idx.LABELS, *shape)


def test_bombs_are_refused_before_they_are_inflated(mnist):
    folder, _, _ = mnist
    pictures, numbers = folder / "t10k-images-idx3-ubyte.gz", folder / "t10k-labels-idx1-ubyte.gz"
    # No content follows the header: who went on to inflate it would say that it is cut off.
    pictures.write_bytes(gzip.compress(header(True, 3 * 10**6, 28, 28))[:-8])
    with pytest.raises(ValueError, match="would inflate to 2352000000, more than 100 times"):
        idx.load_idx(folder)
    # Zeros without a header, as many as fit.
    pictures.write_bytes(gzip.compress(bytes(2**20)))
    with pytest.raises(ValueError, match="begins with 0x00000000, images with 0x00000803"):
        idx.load_idx(folder)
    # A header that tells less than what follows.
    pictures.write_bytes(gzip.compress(header(True, 1, 4, 3) + bytes(2**20)))
    with pytest.raises(ValueError, match="12 bytes should follow"):
        idx.load_idx(folder)
    write_idx(pictures, np.zeros((1, 4, 3)))
    (folder / "t10k-labels-idx1-ubyte").unlink()
    numbers.write_bytes(gzip.compress(header(False, 2**32 - 1))[:-8])
    with pytest.raises(ValueError, match="would inflate to 4294967295"):
        idx.load_idx(folder)
