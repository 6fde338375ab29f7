"""Folders with a folder of images for every class."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coda_keras.data.image_files import ImageFiles, is_image_name
from coda_keras.data.image_store import MEMORY, stored
from coda_keras.data.images import ImageData, Images
from coda_keras.utils.text import listed

TRAIN, TEST = "train", ("val", "valid", "validation", "test")
_NAMED = 8


class ImageFolder(NamedTuple):
    """The image files of a folder, by class.

    Attributes:
        root: the folder.
        class_names: list of str, the folders' names in their order.
        train_paths, test_paths: lists of paths.
        train_labels, test_labels: int32 `(N,)`.
        notes: sentences about what a user may not expect: files left out, classes without a test
            image, how the images were divided.
    """

    root: Path
    class_names: list[str]
    train_paths: list[Path]
    train_labels: np.ndarray
    test_paths: list[Path]
    test_labels: np.ndarray
    notes: list[str]

    def load(
        self,
        size: int,
        train_size: int | None = None,
        cache: str | Path | None = None,
        memory: int = MEMORY,
        progress: bool = True,
    ) -> ImageData:
        """Reads the images, or prepares to read them when they are asked for.

        What fits is read into memory. Beyond that images stay on disk: decoded, in files of
        `cache`, or as they are, to be decoded anew in every epoch. All three give the same pixels.

        Args:
            size: int, pixels a side of the images.
            train_size: int, pixels a side of those to train on, if augmentation crops them to
                `size`; images to test on are then the centres of such. None for `size`.
            cache: folder for decoded images, or None.
            memory: int, bytes that may be kept in memory.
            progress: bool, whether to show a progress bar.

        Raises:
            coda_keras.data.image_files.BrokenImage: if files cannot be read; a `ValueError` that
                names them. Files that are decoded later are checked by their headers alone.
        """
        train_size = size if train_size is None else train_size
        crop = None if train_size == size else size
        train = ImageFiles(self.train_paths, train_size)
        test = ImageFiles(self.test_paths, train_size, crop)
        if train.nbytes + test.nbytes <= memory:
            images = [files.read(progress) for files in (train, test)]
        elif cache is not None:
            images = [
                self._stored(cache, "train", train, self.train_labels, progress),
                self._stored(cache, "test", test, self.test_labels, progress),
            ]
        else:
            images = [train, test]
            for files in images:
                files.check()
        train, test = images
        return ImageData(train, self.train_labels, test, self.test_labels, self.class_names)

    def _stored(self, cache, name, files, labels, progress) -> Images:
        # Files of the same names, sizes and dates are taken for the same.
        digest = hashlib.sha256()
        for path in map(Path, files.paths):
            status = path.stat()
            where = path.relative_to(self.root).as_posix()
            digest.update(f"{where}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        about = {"files": digest.hexdigest(), "size": files.size, "crop": files.crop}
        path = Path(cache) / f"{name}-{files.size}.uint8"
        images, _ = stored(path, files.shape[1:], about, lambda: zip(files.rows(progress), labels))
        return images


def scan(root: str | Path, test_fraction: float = 0.2, classes: int | None = None) -> ImageFolder:
    """Finds the images of a folder: `root/<class>/*` or `root/train/<class>/*` and `root/val/...`.

    Without folders `train` and `val` (or `valid`, `validation`, `test`) a part of every class is
    set aside to test on. Which images these are depends on their names alone: neither on the order
    in which the file system lists them, nor much on what is added later. Folders inside those of
    the classes are searched too; names that begin with a dot are not.

    Args:
        root: the folder.
        test_fraction: number between 0 and 1, the part of every class to test on, at least one
            image of each class that has two; unused where the folder is divided already.
        classes: int, take only the first so many classes; None for all.

    Returns:
        `ImageFolder`.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no images, images of fewer than two classes, images beside the
            folders of classes only, or none to test on.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}. Expected one with a folder a class.")
    if not 0 < test_fraction < 1:
        raise ValueError(f"`test_fraction` must lie between 0 and 1. Received: {test_fraction}.")
    tests = [root / name for name in TEST if (root / name).is_dir()]
    divided = (root / TRAIN).is_dir() and bool(tests)
    folder = root / TRAIN if divided else root
    left_out: Counter[str] = Counter()
    there = _class_names(folder)
    train = {name: _images(folder / name, left_out) for name in there[:classes]}
    _check_classes(folder, train, left_out)
    if divided:
        notes = [f"Training on {folder}, testing on {tests[0]}."]
        unknown = sorted(set(_class_names(tests[0])) - set(there))
        if unknown:
            raise ValueError(f"{tests[0]} has classes that {folder} has not: {_listed(unknown)}.")
        test = {name: _images(tests[0] / name, left_out) for name in train}
        missing = f"{tests[0]} has no images of these classes; they must lie in a folder a class."
    else:
        notes = [f"Of every class {test_fraction:.0%} are set aside to test on."]
        test = {name: _set_aside(root, paths, test_fraction) for name, paths in train.items()}
        train = {name: sorted(set(paths) - set(test[name])) for name, paths in train.items()}
        missing = (
            f"Every class in {root} has a single image. Two are the least that a class needs, to "
            "train on one and to test on the other."
        )
    if not any(test.values()):
        raise ValueError(missing)
    untested = [name for name in train if not test[name]]
    if untested:
        notes.append(f"No image to test on: {_listed(untested)}.")
    if left_out:
        notes.append(f"Left out: {_listed(_counted(left_out))}, which Pillow does not read.")
    return ImageFolder(root, list(train), *_flat(train), *_flat(test), notes)


def _class_names(folder):
    return sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def _check_classes(folder, by_class, left_out):
    full = [name for name, paths in by_class.items() if paths]
    if len(full) < 2:
        loose = sum(path.is_file() and is_image_name(path) for path in folder.iterdir())
        there = f"images of a single class, {full[0]}" if full else "no images in folders"
        if loose and not full:
            there = f"{loose} images that lie in no folder"
        other = f" Left out: {_listed(_counted(left_out))}." if left_out else ""
        raise ValueError(
            f"{folder} has {there}. Expected a folder of images for every class, two at least, "
            f"such as {folder / 'cats'} and {folder / 'dogs'}.{other}"
        )
    if len(full) < len(by_class):
        raise ValueError(
            f"{folder} has classes without an image: {_listed(sorted(set(by_class) - set(full)))}. "
            "Put images into these folders, or take them away."
        )


def _images(folder, left_out):
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    left_out.update(path.suffix.lower() for path in files if not is_image_name(path))
    return [path for path in files if is_image_name(path)]


def _set_aside(root, paths, fraction):
    """The images to test on: those whose names have the smallest hashes."""
    count = min(max(1, round(fraction * len(paths))), len(paths) - 1)

    def rank(path):
        return hashlib.sha256(path.relative_to(root).as_posix().encode()).digest()

    return sorted(sorted(paths, key=rank)[:count])


def _flat(by_class):
    """Paths and their labels: the first of every class, the second of every class, ...

    The first few of all images, which are shown or which a limit leaves, are then of many classes.
    """
    ranked = [
        (rank, label, path)
        for label, paths in enumerate(by_class.values())
        for rank, path in enumerate(paths)
    ]
    ranked.sort(key=lambda image: image[:2])
    return [path for *_, path in ranked], np.array([label for _, label, _ in ranked], "int32")


def _counted(left_out):
    return [f"{count} files {suffix or '(no suffix)'}" for suffix, count in left_out.most_common()]


def _listed(names):
    return listed(names, _NAMED, longest=None)
