"""The data sets that can be explained: folders, `.npz` files, TensorFlow Datasets, Parquet."""

import hashlib
import math
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from coda_keras.data import image_files
from coda_keras.explained.records import Records, Size, Source, decoded, resized
from coda_keras.utils.inflating import read_npz
from coda_keras.utils.text import listed, short


def open_source(
    place: str | os.PathLike,
    split: str = "test",
    data_dir: str | os.PathLike | None = None,
    column: str = "image",
) -> Source:
    """Finds a data set; nothing is read but names and sizes.

    Args:
        place: a folder of images, whose folders' names are labels; an `.npz` file; a Parquet file
            or a folder of them, with encoded images; or a name of TensorFlow Datasets.
        split: of an `.npz` file with `{split}_images`, and of TensorFlow Datasets.
        data_dir: folder of the data sets prepared by TensorFlow Datasets; None for its own.
        column: of the images in Parquet files.

    Raises:
        FileNotFoundError: if there is no such data set, or it could not be downloaded.
        ValueError: if it holds no images.
        ModuleNotFoundError: if the extra that reads it is not installed.
    """
    path = Path(place)
    if path.suffix == ".npz":
        return ArrayFile.open(path, split)
    if path.suffix == ".parquet" or (path.is_dir() and any(path.glob("*.parquet"))):
        from coda_keras.explained.parquet_source import ParquetFiles

        return ParquetFiles.open(path, column)
    if path.is_dir():
        return ImageFolder.open(path)
    if path.exists():
        raise ValueError(
            f"{path} is no data set. Expected a folder of images, an .npz file, Parquet, or a name "
            "of TensorFlow Datasets."
        )
    from coda_keras.explained.tf_source import TfdsSplit

    return TfdsSplit.open(str(place), split, data_dir)


@dataclass(frozen=True)
class ImageFolder:
    """The images of a folder and the folders in it, by their paths."""

    root: str
    paths: list[str] = field(repr=False)

    @classmethod
    def open(cls, root: Path) -> "ImageFolder":
        """Lists the images; names that begin with a dot are left out."""
        paths = sorted(_image_paths(str(root), ""))
        if not paths:
            raise ValueError(f"There are no images in the folder {root}.")
        return cls(str(root.resolve()), paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: slice) -> "ImageFolder":
        return replace(self, paths=self.paths[rows])

    def read(self, size: Size) -> Records:
        contents = [partial(image_files.content, Path(self.root, path)) for path in self.paths]
        # Parquet takes UTF-8 only, and names of files are any bytes.
        ids = [os.fsencode(path).decode("utf-8", "replace") for path in self.paths]
        folders = [Path(path).parent.name or None for path in ids]
        return decoded(ids, folders, contents, size)

    def identity(self) -> dict[str, Any]:
        names = hashlib.sha256("\0".join(self.paths).encode("utf-8", "surrogateescape"))
        return {"kind": "folder", "images": len(self), "names": names.hexdigest()[:16]}

    def class_names(self) -> Sequence[str] | None:
        return None


def _image_paths(root: str, inner: str) -> list[str]:
    found: list[str] = []
    with os.scandir(Path(root, inner)) as entries:
        for entry in entries:
            name = f"{inner}/{entry.name}" if inner else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                found += _image_paths(root, name)
            elif image_files.is_image_name(name):
                found.append(name)
    return found


@dataclass(frozen=True)
class ArrayFile:
    """Images of an `.npz` file: `images` and `labels`, or `test_images` and `test_labels`."""

    path: str
    split: str
    start: int
    stop: int

    @classmethod
    def open(cls, path: Path, split: str) -> "ArrayFile":
        whole = cls(str(path.resolve()), split, 0, 0)
        images, labels = whole._array("images"), whole._array("labels")
        fits = images is not None and images.shape[3:] == (3,) and 0 not in images.shape[1:3]
        if images is None or not fits or images.dtype != np.uint8:
            known = "" if images is None else f" Received {images.dtype} {images.shape}."
            raise ValueError(
                f"{path} has no images of the split {split}. Expected {split}_images or images, "
                f"uint8 (N, H, W, 3).{known}"
            )
        if not len(images):
            raise ValueError(f"There are no images in {path}.")
        if labels is not None and (
            labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]
        ):
            raise ValueError(f"{path}: expected as many integers for labels as there are images.")
        return replace(whole, stop=len(images))

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, rows: slice) -> "ArrayFile":
        start, stop, _ = rows.indices(len(self))
        return replace(self, start=self.start + start, stop=self.start + stop)

    def read(self, size: Size) -> Records:
        numbers = range(self.start, self.stop)
        images, labels = self._array("images"), self._array("labels")
        assert images is not None
        known: list[Any] = [None] * len(self)
        if labels is not None:
            known = labels[self.start : self.stop].tolist()
        rows = resized(np.asarray(images[self.start : self.stop]), size)
        return Records([f"{self.split}/{i}" for i in numbers], known, rows, [None] * len(self))

    def identity(self) -> dict[str, Any]:
        size = Path(self.path).stat().st_size
        return {"kind": "npz", "split": self.split, "images": len(self), "bytes": size}

    def class_names(self) -> Sequence[str] | None:
        names = read_npz(self.path, ["class_names"]).get("class_names")
        if names is not None and names.ndim != 1:
            raise ValueError(f"{self.path}: expected a list of class_names.")
        return None if names is None else list(map(str, names))

    def _array(self, name: str) -> np.ndarray | None:
        """An array of the file; one that is not compressed stays on the disk."""
        names = [f"{self.split}_{name}", name]
        try:
            with zipfile.ZipFile(self.path) as archive:
                there = {member.filename: member for member in archive.infolist()}
                stored = [there[f"{one}.npy"] for one in names if f"{one}.npy" in there]
                if not stored:
                    return None
                if stored[0].compress_type == zipfile.ZIP_STORED:
                    return self._mapped(archive, stored[0])
        except OSError:
            raise
        # Damaged archives and made-up headers raise a dozen kinds of errors.
        except Exception as error:
            reason = short(error, 200) or type(error).__name__
            raise ValueError(
                f"{self.path} is no .npz file of arrays, or damaged: {reason}"
            ) from error
        name = stored[0].filename.removesuffix(".npy")
        return _inflated(self.path, name, Path(self.path).stat().st_mtime_ns)

    def _mapped(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
        with archive.open(member) as content:
            version = np.lib.format.read_magic(content)
            read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                version, np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(content)
            header = content.tell()
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds pickled objects")
        if math.prod(shape) * dtype.itemsize != member.file_size - header:
            raise ValueError(f"{member.filename} is not as long as its header says")
        with Path(self.path).open("rb") as file:
            # The lengths of name and extra field, which precede the content, differ from those
            # of the archive's directory.
            file.seek(member.header_offset + 26)
            lengths = np.frombuffer(file.read(4), "<u2")
        start = member.header_offset + 30 + int(lengths.sum()) + header
        return np.memmap(self.path, dtype, "r", start, shape, "F" if fortran else "C")


@lru_cache(maxsize=2)
def _inflated(path: str, name: str, changed: int) -> np.ndarray | None:
    """A compressed array, kept for the next part of it: images, and their labels."""
    return read_npz(path, [name]).get(name)


def check_known(name: str, known: Sequence[str]) -> None:
    """Raises ValueError if there is no split of that name."""
    if name not in known:
        raise ValueError(f"There is no split {name}. Expected one of {listed(known)}.")
