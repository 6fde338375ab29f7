"""Tiny ImageNet from its zip or folder, and reading of prepared data sets."""

import shutil
import zipfile

import numpy as np
import pytest

from coda_keras.data import tf_records as records
from coda_keras.data import tiny_imagenet

pytestmark = pytest.mark.tensorflow

BRIGHTNESS = {"n01": 40, "n02": 120, "n03": 200}
WNIDS = list(BRIGHTNESS)


@pytest.fixture(scope="module")
def prepared(archive, tmp_path_factory):
    """A folder of prepared data sets."""
    folder = tmp_path_factory.mktemp("tfds")
    tiny_imagenet.load(folder, archive, progress=False)
    return folder


@pytest.fixture
def copy(official, tmp_path):
    """A folder of which files can be taken."""
    return shutil.copytree(official, tmp_path / "copy")


def test_zip_and_folder_are_the_same(archive, official):
    one, other = tiny_imagenet.Archive(archive), tiny_imagenet.Archive(official)
    assert one.wnids == other.wnids == WNIDS
    assert one.train() == other.train() and len(one.train()) == 12
    assert one.validation() == other.validation()
    name, wnid = one.validation()[-1]
    assert one.image(name) == other.image(name) and wnid == "n03"
    assert one.class_names() == ["crane", "crane, lifting machine", "goldfish"]


def test_prepared_data_are_the_images_of_the_archive(prepared):
    data = tiny_imagenet.load(prepared, progress=False)
    assert data.class_names == ["crane", "crane, lifting machine", "goldfish"]
    assert data.train_images.shape == (12, 64, 64, 3) and data.test_images.shape == (6, 64, 64, 3)
    values = np.array(list(BRIGHTNESS.values()))
    for images, labels in (
        (data.train_images, data.train_labels),
        (data.test_images, data.test_labels),
    ):
        red = images[:, 32, 32, 0].astype("int32")
        assert np.abs(red - values[labels]).max() < 8
        assert len(np.unique(red)) > 3 and images[..., 2].max() < 8
    assert data.note == (
        "with 12 of its 100,000 training images, images of 8x8 pixels scaled to 64x64"
    )


def test_memory_and_disk_give_the_same_images(prepared, tmp_path):
    builder = tiny_imagenet.TinyImagenet(data_dir=prepared)
    sizes = {"size": 12, "train_size": 16, "classes": 2, "progress": False}
    whole = records.read(builder, **sizes)
    assert whole.train_images.shape == (8, 16, 16, 3) and whole.test_images.shape == (4, 12, 12, 3)
    assert len(whole.class_names) == 2 and whole.train_labels.max() == 1
    for _ in range(2):
        disk = records.read(builder, **sizes, memory=0, cache=tmp_path)
        assert isinstance(disk.train_images, np.memmap)
        np.testing.assert_array_equal(disk.train_images, whole.train_images)
        np.testing.assert_array_equal(disk.test_images, whole.test_images)
        np.testing.assert_array_equal(disk.test_labels, whole.test_labels)
    with pytest.raises(ValueError, match=r"tiny_imagenet takes about 0 GiB at 16x16.*--cache"):
        records.read(builder, **sizes, memory=0)


def test_splits_without_images_are_told(prepared):
    builder = tiny_imagenet.TinyImagenet(data_dir=prepared)
    with pytest.raises(ValueError, match="no images in tiny_imagenet/train of the classes"):
        records.read(builder, 12, classes=0, progress=False)


def test_another_archive_than_the_prepared_one_is_told(prepared, copy):
    (copy / "train/n01/images/n01_0.JPEG").unlink()
    with pytest.raises(ValueError, match="prepared from another archive, with 12 training images"):
        tiny_imagenet.load(prepared, copy, progress=False)


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ("wnids.txt", "is not Tiny ImageNet: it has no wnids.txt"),
        ("words.txt", "has no words.txt"),
        ("train/n02/images", "no images in train/n02/images"),
        ("val/images/val_3.JPEG", "lacks images of val_annotations.txt: val/images/val_3.JPEG"),
        ("val/val_annotations.txt", "has no val/val_annotations.txt"),
    ],
)
def test_missing_files_are_named(taken, said, copy, tmp_path):
    path = copy / taken
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ValueError, match=said):
        tiny_imagenet.load(tmp_path / "tfds", copy, progress=False)
    assert not list((tmp_path / "tfds").rglob("*.tfrecord*"))


def test_classes_that_lists_do_not_share_are_named(copy):
    (copy / "words.txt").write_text("n01\tcrane\nn02\tcrane\n")
    with pytest.raises(ValueError, match=r"words\.txt has no name for n03"):
        tiny_imagenet.Archive(copy).class_names()
    (copy / "words.txt").write_text("n01\tcrane\nn02\tcrane\nn03\tcrane, bird\n")
    names = tiny_imagenet.Archive(copy).class_names()
    assert names == ["crane (n01)", "crane (n02)", "crane, bird"]
    with (copy / "val/val_annotations.txt").open("a") as file:
        file.write("val_0.JPEG\tn77\t0\t0\t1\t1\n")
    with pytest.raises(ValueError, match=r"classes that wnids\.txt has not: n77"):
        tiny_imagenet.Archive(copy).validation()


def test_broken_images_and_zips_are_named(copy, archive, tmp_path):
    (copy / "train/n02/images/n02_1.JPEG").write_bytes(b"\xff\xd8none")
    with pytest.raises(ValueError, match=r"train/n02/images/n02_1\.JPEG in .* is no image"):
        tiny_imagenet.load(tmp_path / "tfds", copy, progress=False)
    half = tmp_path / "half.zip"
    half.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"half\.zip is no zip, or not all of it"):
        tiny_imagenet.Archive(half)
    with zipfile.ZipFile(archive) as whole:
        name = "tiny-imagenet-200/val/images/val_0.JPEG"
        start = whole.getinfo(name).header_offset
    # A byte of the content, and the first, which says how it is compressed.
    for place, said in ((120, r"val_0\.JPEG"), (30 + len(name), "while decompressing")):
        damaged = bytearray(archive.read_bytes())
        damaged[start + place] ^= 255
        (tmp_path / "damaged.zip").write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"damaged\.zip is damaged: .*{said}"):
            tiny_imagenet.Archive(tmp_path / "damaged.zip").image("val/images/val_0.JPEG")
    with pytest.raises(FileNotFoundError, match=r"no .*none\.zip. Expected tiny-imagenet-200\.zip"):
        tiny_imagenet.load(tmp_path / "tfds", tmp_path / "none.zip")
