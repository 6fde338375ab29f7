"""Where the images of explained data sets come from."""

import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from coda_keras.explained import sources
from coda_keras.explained.sources import open_source
from coda_keras.utils.inflating import read_npz

pytestmark = pytest.mark.once
SIZE = (8, 8)


def png(value, size=(8, 8)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, value, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Images of two classes, one that is broken, and what is no image."""
    for name, content in {
        "b/2.png": png(20),
        "a/1.png": png(10),
        "a/deep/3.png": png(30, (16, 8)),
        "b/broken.png": b"\x89PNG, not",
        "b/notes.txt": b"none",
        "b/.hidden.png": png(1),
    }.items():
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "images"


def test_a_folder_has_its_images_by_their_paths(folder):
    source = open_source(folder)
    assert len(source) == 4
    records = source.read(SIZE)
    assert records.ids == ["a/1.png", "a/deep/3.png", "b/2.png", "b/broken.png"]
    assert records.labels == ["a", "deep", "b", "b"]
    assert records.images.shape == (4, 8, 8, 3)
    assert records.images[:, 0, 0].tolist() == [[10, 10, 0], [30, 30, 0], [20, 20, 0], [0, 0, 0]]
    assert records.errors[:3] == [None] * 3
    assert records.errors[3].startswith("b/broken.png is no image this program can read")
    part = source[1:3]
    assert part.read(SIZE).ids == records.ids[1:3]
    (folder / "a/1.png").unlink()
    (error,) = source[:1].read(SIZE).errors
    assert "No such file" in error


def test_names_that_are_no_utf_8_are_read(folder):
    # Names of other bytes, as Python has them.
    os.mkfifo(folder / "\udce8.png")
    (folder / "\udce9").mkdir()
    (folder / "b/2.png").rename(folder / "\udce9/\udcea.png")
    records = open_source(folder)[-2:].read(SIZE)
    assert records.ids == ["\ufffd.png", "\ufffd/\ufffd.png"] and records.labels == [None, "\ufffd"]
    assert records.errors[0].encode().endswith(b"it is no regular file") and not records.errors[1]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("prefix", ["test_", ""])
def test_an_npz_file_is_read_in_parts(tmp_path, rng, save, prefix):
    images = rng.integers(0, 255, (7, 8, 8, 3)).astype("uint8")
    named = {f"{prefix}images": images, f"{prefix}labels": np.arange(7)}
    save(tmp_path / "data.npz", other=np.zeros(3), **named, class_names=np.array(list("abcdefg")))
    source = open_source(tmp_path / "data.npz")
    assert len(source) == 7 and source.class_names() == list("abcdefg")
    records = source[2:6][1:3].read(SIZE)
    np.testing.assert_array_equal(records.images, images[3:5])
    assert records.labels == [3, 4] and records.ids == ["test/3", "test/4"]
    assert records.errors == [None, None]
    assert source[:1].read((4, 6)).images.shape == (1, 4, 6, 3)


def test_compressed_arrays_are_inflated_once(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(sources, "read_npz", lambda *names: read.append(names) or read_npz(*names))
    path = tmp_path / "data.npz"
    for value in (1, 2):
        np.savez_compressed(path, images=np.full((7, 8, 8, 3), value, "uint8"), labels=np.arange(7))
        os.utime(path, (value, value))
        source = open_source(path)
        assert [source[i : i + 1].read(SIZE).images.max() for i in range(7)] == [value] * 7
        assert len(read) == 2 * value


def test_parquet_is_read_in_parts_whatever_its_files_and_row_groups(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for number, rows in enumerate(([10, 11, 12, 13, 14], [20, 21, 22])):
        images = [{"bytes": png(value), "path": f"{value}.png"} for value in rows]
        images[-1]["bytes"] = b"none"
        table = pa.table({"image": images, "label": rows})
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=2)
    source = open_source(tmp_path)
    assert len(source) == 8
    records = source[3:7].read(SIZE)
    assert records.ids == ["13.png", "14.png", "20.png", "21.png"]
    assert records.labels == [13, 14, 20, 21]
    assert records.images[:, 0, 0, 0].tolist() == [13, 0, 20, 21]
    assert [error is None for error in records.errors] == [True, False, True, True]
    pq.write_table(pa.table({"png": [png(1)]}), tmp_path / "plain.parquet")
    (identity,) = open_source(tmp_path / "plain.parquet", column="png").read(SIZE).ids
    assert identity == "0"
    for place in (tmp_path / "plain.parquet", tmp_path):
        with pytest.raises(ValueError, match=r"plain.parquet has no column .* image\. It has png"):
            open_source(place)


@pytest.mark.tensorflow
def test_a_split_of_tensorflow_datasets_is_read_in_parts(official, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    from coda_keras.data import tiny_imagenet

    tiny_imagenet.load(tmp_path, official, progress=False)
    source = open_source("tiny_imagenet", "validation", tmp_path)
    assert len(source) == 6 and len(source.class_names()) == 3
    whole, part = source.read(SIZE), source[2:5].read(SIZE)
    assert part.ids == ["validation/2", "validation/3", "validation/4"]
    assert part.labels == whole.labels[2:5] and set(whole.labels) == {0, 1, 2}
    np.testing.assert_array_equal(part.images, whole.images[2:5])
    with pytest.raises(ValueError, match=r"no split trian. Expected one of"):
        open_source("tiny_imagenet", "trian", tmp_path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "There are no images in the folder"),
        (lambda path: path.write_text("text"), "is no data set. Expected a folder of images"),
    ],
)
def test_what_is_no_data_set_is_told(tmp_path, make, said):
    make(tmp_path / "place")
    with pytest.raises(ValueError, match=said):
        open_source(tmp_path / "place")


def header(descr, shape):
    """The bytes of an array's header, without an array behind it."""
    buffer = io.BytesIO()
    described = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("images", header("|u1", (10**9, 8, 8, 3))),
        ("images", header("|u1", (2**62, 2**62, 8, 3))),
        ("images", header("|O", (2, 8, 8, 3)) + bytes(8 * 2 * 8 * 8 * 3)),
        ("images", header("|u1", (2, 0, 0, 3))),
        ("images", b"no array"),
        ("labels", header("|O", (2,)) + bytes(16)),
        ("labels", header("<i8", (10**12,))),
        ("labels", header("<i8", ()) + bytes(8)),
        ("class_names", header("<U1000000", (10**6,))),
        ("class_names", header("<U1", ()) + bytes(4)),
    ],
)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_npz_files_that_say_what_is_not_there_are_refused(tmp_path, member, content, compression):
    path = tmp_path / "data.npz"
    members = {"images": header("|u1", (2, 8, 8, 3)) + bytes(2 * 8 * 8 * 3), member: content}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in members.items():
            archive.writestr(f"{name}.npy", array)
    with pytest.raises(ValueError, match=str(path)) as error:
        open_source(path).class_names()
    assert "\n" not in str(error.value) and len(str(error.value)) < 400 + len(str(path))


def test_npz_files_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, images=np.zeros((2**9, 64, 64, 3), "uint8"))
    with pytest.raises(ValueError, match="would inflate to"):
        open_source(path)
    np.savez_compressed(path, images=np.zeros((2, 8, 8, 3), "uint8"))
    whole = path.read_bytes()
    # Flags and method of the local header, and of the directory: encrypted, and unknown.
    for place, value in ((6, 1), (8, 99)):
        damaged = bytearray(whole)
        for magic, further in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
            damaged[whole.find(magic) + place + further] = value
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"no \.npz file of arrays, or damaged"):
            open_source(path)


def test_damaged_and_hostile_parquet_is_refused(tmp_path, monkeypatch):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from coda_keras.explained import parquet_files

    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"image": [png(value) for value in range(30)]}), path)
    whole = path.read_bytes()
    for content in (b"", b"PAR1" * 9, whole[:-9], whole[:99] + whole[200:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is no Parquet, or damaged"):
            open_source(path).read(SIZE)
    damaged = bytearray(whole)
    damaged[4:400:7] = bytes(len(damaged[4:400:7]))
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="is no Parquet, or damaged"):
        open_source(path).read(SIZE)
    pq.write_table(pa.table({"image": pa.nulls(10_000, pa.binary())}), path)
    with pytest.raises(ValueError, match="says that it has 10000 rows in"):
        open_source(path)
    pq.write_table(pa.table({"image": [png(1)] * 2, "id": ["x" * 9999] * 2}), path)
    with pytest.raises(ValueError, match="the name or the label of row 0 has more than"):
        open_source(path).read(SIZE)
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), path)
    with pytest.raises(ValueError, match="There are no images in"):
        open_source(path)
    monkeypatch.setattr(parquet_files, "FREE", 2**20)
    bomb = pa.table({"image": [bytes(2**22)]})
    pq.write_table(bomb, path, compression="zstd", use_dictionary=False)
    with pytest.raises(ValueError, match="would inflate to"):
        open_source(path)


def test_an_npz_file_without_images_is_told(tmp_path):
    np.savez(tmp_path / "data.npz", test_images=np.zeros((2, 8, 8)))
    with pytest.raises(ValueError, match="uint8"):
        open_source(tmp_path / "data.npz")
    (tmp_path / "data.npz").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"no \.npz file"):
        open_source(tmp_path / "data.npz")
