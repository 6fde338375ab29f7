"""Image files as arrays, folders of classes, and decoded images on disk."""

import json
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from coda_keras.data import image_files, image_folder
from coda_keras.data.image_files import BrokenImage, ImageFiles
from coda_keras.data.image_store import stored

ORIENTATION = 0x0112


def save(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


@pytest.fixture
def pictures(rng):
    return rng.integers(0, 256, (6, 8, 8, 3)).astype("uint8")


@pytest.fixture
def files(pictures, tmp_path):
    return [save(tmp_path / f"{n}.png", picture) for n, picture in enumerate(pictures)]


@pytest.fixture
def folder(tmp_path, rng):
    """Three classes of six, three and one image, in several formats, and files that are none."""
    root = tmp_path / "photos"
    for name, count in (("cats", 6), ("dogs", 3), ("owls", 1)):
        for number in range(count):
            suffix = ("png", "jpg", "bmp")[number % 3]
            save(
                root / name / f"{number}.{suffix}", rng.integers(0, 256, (9, 7, 3)).astype("uint8")
            )
    (root / "cats/notes.txt").write_text("none")
    (root / "dogs/photo.HEIC").write_bytes(b"none")
    (root / ".cache").mkdir()
    (root / "cats/.DS_Store").write_bytes(b"none")
    return root


def test_images_stay_in_their_files_until_they_are_asked_for(files, pictures, monkeypatch):
    images = ImageFiles(files, 8)
    with monkeypatch.context() as patch:
        patch.setattr(image_files, "pixels", None)  # Reading would fail.
        assert images.shape == pictures.shape and len(images) == 6
        assert images[1:4].shape == (3, 8, 8, 3)
    assert images.nbytes == pictures.nbytes
    np.testing.assert_array_equal(np.asarray(images), pictures)
    np.testing.assert_array_equal(images[-1], pictures[-1])
    np.testing.assert_array_equal(images[np.int64(2)], pictures[2])
    np.testing.assert_array_equal(images[1:4], pictures[1:4])
    np.testing.assert_array_equal(images[[4, 0]], pictures[[4, 0]])
    np.testing.assert_array_equal(images[np.arange(6) > 3].astype("float32"), pictures[4:])
    assert images[:0].astype("float32").shape == (0, 8, 8, 3)


def test_other_sizes_are_cropped_to_a_square_and_scaled(tmp_path, rng):
    values = np.zeros((20, 60, 3), "uint8")
    values[:, 20:40] = (250, 120, 10)  # The middle square.
    path = save(tmp_path / "wide.png", values)
    # The filter sees a little of what lies beyond the edge.
    middle = np.full((4, 4, 3), (250, 120, 10))
    np.testing.assert_allclose(ImageFiles([path], 4)[0].astype("int32"), middle, atol=25)
    values = rng.integers(0, 256, (6, 6, 3)).astype("uint8")
    path = save(tmp_path / "whole.png", values)
    np.testing.assert_array_equal(ImageFiles([path], 6, crop=4)[0], values[1:5, 1:5])


def test_grey_transparent_deep_and_turned_images_are_upright_rgb(tmp_path):
    grey = np.arange(16, dtype="uint8").reshape(4, 4) * 15
    transparent = np.zeros((4, 4, 4), "uint8")
    transparent[:2] = (10, 20, 30, 255)
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    paths = [
        save(tmp_path / "grey.png", grey),
        save(tmp_path / "deep.png", grey.astype("uint16") * 257),
        save(tmp_path / "transparent.png", transparent),
        save(tmp_path / "turned.png", grey, exif=exif),
    ]
    plain, deep, on_white, turned = np.asarray(ImageFiles(paths, 4))
    np.testing.assert_array_equal(plain, np.repeat(grey[..., None], 3, axis=-1))
    np.testing.assert_array_equal(deep, plain)
    assert (on_white[:2] == (10, 20, 30)).all() and (on_white[2:] == 255).all()
    np.testing.assert_array_equal(turned, plain[::-1, ::-1])


def test_large_jpegs_are_decoded_small_and_look_the_same(tmp_path):
    ramp = np.linspace(0, 255, 256)
    values = np.stack(np.broadcast_arrays(ramp, ramp[:, None], 128.0), axis=-1).astype("uint8")
    path = save(tmp_path / "large.jpg", values, quality=95)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, original = image_files.decode(path.read_bytes(), path, largest=16)
    assert original.size == (32, 32)
    small = np.asarray(image_files.fit(Image.fromarray(values), 16, 16), "int32")
    assert np.abs(ImageFiles([path], 16)[0] - small).max() <= 4


def test_broken_files_are_named(files, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "half.png").write_bytes(files[0].read_bytes()[:90])
    images = ImageFiles([*files, tmp_path / "text.png", tmp_path / "half.png"], 8)
    with pytest.raises(BrokenImage, match=r"text\.png is no image.*half\.png is no image.*Repair"):
        images.read()
    with pytest.raises(ValueError, match=r"text\.png"):
        images[6]
    with pytest.raises(BrokenImage, match=r"text\.png") as error:
        images.check()
    assert "half.png" not in str(error.value)  # Its header is whole.
    ImageFiles(files, 8).check()
    with pytest.raises(BrokenImage, match=r"missing\.png cannot be read: No such file"):
        ImageFiles([tmp_path / "missing.png"], 8)[0]
    many = ImageFiles([tmp_path / "text.png"] * 8, 8)
    with pytest.raises(BrokenImage, match="and 3 more"):
        many.read()


def test_devices_pipes_and_huge_files_are_not_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(BrokenImage, match="it is no regular file"):
            ImageFiles([tmp_path / name], 8)[0]
        with pytest.raises(BrokenImage, match="it is no regular file"):
            ImageFiles([tmp_path / name], 8).check()
    monkeypatch.setattr(image_files, "MAX_BYTES", 9)
    with pytest.raises(BrokenImage, match="it has 10 bytes, more than 9"):
        (tmp_path / "long.png").write_bytes(bytes(10))
        image_files.content(tmp_path / "long.png")


def test_images_of_too_many_pixels_are_refused(tmp_path, monkeypatch):
    path = save(tmp_path / "wide.png", np.zeros((20, 60, 3), "uint8"))
    jpeg = save(tmp_path / "wide.jpg", np.zeros((64, 64, 3), "uint8"))
    monkeypatch.setattr(image_files, "MAX_PIXELS", 1199)
    with pytest.raises(BrokenImage, match="it has 1200 pixels, more than 1199"):
        ImageFiles([path], 8)[0]
    # Of a large JPEG only a part is decoded.
    assert ImageFiles([jpeg], 8)[0].shape == (8, 8, 3)


def test_large_images_are_decoded_one_after_the_other(files, monkeypatch):
    monkeypatch.setattr(image_files, "_LARGE", 10)
    taken = []

    class Lock:
        def __enter__(self):
            taken.append(True)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(image_files, "_LARGE_IMAGES", Lock())
    ImageFiles(files, 8).read()
    assert len(taken) == len(files)


def test_threads_that_read_leave_the_filters_of_warnings_as_they_were(files, monkeypatch):
    before, opened, steps = warnings.filters[:], Image.open, [threading.Event() for _ in range(3)]

    def in_turn(file):
        # The first thread leaves before the second, which began after it.
        first = not steps[0].is_set()
        steps[0 if first else 1].set()
        steps[1 if first else 2].wait(60)
        return opened(file)

    monkeypatch.setattr(Image, "open", in_turn)
    with ThreadPoolExecutor() as pool:
        read = ImageFiles(files, 8).__getitem__
        first = pool.submit(read, 0)
        steps[0].wait(60)
        second = pool.submit(read, 1)
        first.result()
        steps[2].set()
        second.result()
    assert warnings.filters == before


def test_a_folder_is_scanned_and_divided(folder):
    photographs = image_folder.scan(folder, test_fraction=0.3)
    assert photographs.class_names == ["cats", "dogs", "owls"]
    assert photographs.train_labels.tolist() == [0, 1, 2, 0, 1, 0, 0]
    assert photographs.test_labels.tolist() == [0, 1, 0]
    assert not set(photographs.train_paths) & set(photographs.test_paths)
    assert {path.parent.name for path in photographs.test_paths} == {"cats", "dogs"}
    notes = " ".join(photographs.notes)
    assert "30% are set aside" in notes and "No image to test on: owls." in notes
    assert "1 files .txt" in notes and "1 files .heic" in notes


def test_the_division_depends_on_names_alone(folder, tmp_path):
    before = image_folder.scan(folder)
    moved = folder.rename(tmp_path / "elsewhere")
    after = image_folder.scan(moved)

    def names(scanned):
        return [path.relative_to(scanned.root) for path in scanned.test_paths]

    assert names(before) == names(after) and len(names(before)) == 2
    # Another image changes at most which of its class are set aside.
    with Image.open(moved / "dogs/0.png") as image:
        image.save(moved / "dogs/new.png")
    cats = [name for name in names(image_folder.scan(moved)) if name.parts[0] == "cats"]
    assert cats == [name for name in names(before) if name.parts[0] == "cats"]


def test_a_divided_folder_is_taken_as_it_is(folder, tmp_path):
    root = tmp_path / "divided"
    root.mkdir()
    folder.rename(root / "train")
    for name in ("dogs", "cats"):
        (root / "val" / name).mkdir(parents=True)
        for number in (0, 1):
            next((root / "train" / name).glob(f"{number}.*")).rename(
                root / "val" / name / f"{number}.png"
            )
    photographs = image_folder.scan(root)
    assert photographs.train_labels.tolist() == [0, 1, 2, 0, 0, 0]
    assert photographs.test_labels.tolist() == [0, 1, 0, 1]
    assert "testing on" in photographs.notes[0]
    first = image_folder.scan(root, classes=2)
    assert first.class_names == ["cats", "dogs"] and first.train_labels.tolist() == [0, 1, 0, 0, 0]
    (root / "val/bats").mkdir()
    with pytest.raises(ValueError, match=r"val has classes that .*train has not: bats"):
        image_folder.scan(root)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([], "no images in folders. Expected a folder of images for every class"),
        (["cats/a.png", "cats/b.png"], "images of a single class, cats"),
        (["a.png", "b.png"], "2 images that lie in no folder"),
        (["cats/a.heic", "dogs/a.heic"], "Left out: 2 files .heic"),
        (["cats/a.png", "dogs/a.png", "owls/none.txt"], "classes without an image: owls"),
        (["cats/a.png", "dogs/a.png"], "Every class in .* has a single image"),
        (["train/a/a.png", "train/b/a.png", "val/1.png"], "val has no images of these classes"),
    ],
)
def test_what_a_folder_lacks_is_told(made, said, tmp_path):
    root = tmp_path / "photos"
    root.mkdir()
    for name in made:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    with pytest.raises(ValueError, match=said):
        image_folder.scan(root)


def test_there_is_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*photos"):
        image_folder.scan(tmp_path / "photos")
    with pytest.raises(ValueError, match="between 0 and 1"):
        image_folder.scan(tmp_path, test_fraction=1.0)


def test_memory_disk_and_files_give_the_same_images(folder, tmp_path):
    photographs = image_folder.scan(folder)
    whole = photographs.load(6, train_size=8, progress=False)
    files = photographs.load(6, train_size=8, memory=0)
    disk = photographs.load(6, train_size=8, memory=0, cache=tmp_path / "cache", progress=False)
    assert isinstance(files.train_images, ImageFiles)
    assert isinstance(disk.train_images, np.memmap) and type(whole.train_images) is np.ndarray
    assert whole.train_images.shape[1:] == (8, 8, 3) and whole.test_images.shape[1:] == (6, 6, 3)
    for other in (files, disk):
        np.testing.assert_array_equal(np.asarray(other.train_images), whole.train_images)
        np.testing.assert_array_equal(np.asarray(other.test_images), whole.test_images)
        np.testing.assert_array_equal(other.train_labels, whole.train_labels)
    limited = files.limit(train=3, test=1)
    assert isinstance(limited.train_images, ImageFiles) and len(limited.train_images) == 3


def test_stored_images_are_written_once_and_again_for_others(tmp_path, pictures):
    calls = []

    def rows():
        calls.append(1)
        return zip(pictures, range(6))

    path = tmp_path / "new/train.uint8"
    for _ in range(2):
        images, labels = stored(path, (8, 8, 3), {"of": "these"}, rows)
        np.testing.assert_array_equal(images, pictures)
        assert labels.tolist() == list(range(6)) and len(calls) == 1
    stored(path, (8, 8, 3), {"of": "those"}, rows)
    path.write_bytes(path.read_bytes()[:-1])  # Cut off.
    stored(path, (8, 8, 3), {"of": "those"}, rows)
    assert len(calls) == 3
    assert json.loads(path.with_suffix(".json").read_text())["about"]["of"] == "those"
    with pytest.raises(ValueError, match="no images"):
        stored(tmp_path / "empty.uint8", (8, 8, 3), {}, list)


def test_a_full_disk_leaves_no_stored_images(tmp_path, pictures):
    def rows():
        yield pictures[0], 0
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        stored(tmp_path / "train.uint8", (8, 8, 3), {}, rows)
    assert list(tmp_path.iterdir()) == []
