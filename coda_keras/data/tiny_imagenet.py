"""Tiny ImageNet as a data set of TensorFlow Datasets, which has none of that name."""

import io
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from coda_keras.data.image_files import decode
from coda_keras.data.image_store import MEMORY
from coda_keras.data.images import ImageData
from coda_keras.data.tf_batches import prepared
from coda_keras.data.tf_records import read
from coda_keras.utils.text import listed

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
SIZE = 64
TRAIN_IMAGES = 100_000
_NAMED = 5


class TinyImagenet(tfds.core.GeneratorBasedBuilder):
    """Tiny ImageNet: 200 classes of ImageNet, 500 training images of each in 64x64 pixels.

    The official test images have no labels; the splits are `train` and `validation`.

    Args:
        archive: `tiny-imagenet-200.zip`, or the folder that it holds; None to download it. Only
            what is not prepared yet is read from it.
        **kwargs: as for every builder, such as `data_dir`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "As distributed with the course cs231n."}  # noqa: RUF012
    URLS = (URL,)

    def __init__(self, *, archive: str | os.PathLike | None = None, **kwargs: Any) -> None:
        self.archive = archive
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    # Named when the archive is read.
                    "label": tfds.features.ClassLabel(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://www.kaggle.com/c/tiny-imagenet",
            description="200 classes of ImageNet in 64x64 pixels.",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        archive = Archive(self.archive or dl_manager.download(URL))
        self.info.features["label"].names = archive.class_names()
        return {
            "train": self._generate_examples(archive, archive.train()),
            "validation": self._generate_examples(archive, archive.validation()),
        }

    def _generate_examples(self, archive, images) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, wnid in images:
            data = archive.image(name)
            yield name, {"image": io.BytesIO(data), "label": archive.wnids.index(wnid)}


class Archive:
    """The files of Tiny ImageNet, in the zip or in the folder that it holds.

    Args:
        path: of the zip or the folder.

    Raises:
        FileNotFoundError: if there is neither.
        ValueError: if it is no zip, or a file that must be in it is missing; all errors name files.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = path = Path(path)
        self._zip = None
        if path.is_dir():
            names = [file.relative_to(path).as_posix() for file in path.rglob("*")]
        elif path.is_file():
            try:
                self._zip = zipfile.ZipFile(path)
            except zipfile.BadZipFile as error:
                raise ValueError(f"{path} is no zip, or not all of it: {error}.") from error
            names = self._zip.namelist()
        else:
            raise FileNotFoundError(
                f"There is no {path}. Expected tiny-imagenet-200.zip, or the folder that it holds."
            )
        lists = [name for name in names if name.split("/")[-1] == "wnids.txt"]
        if not lists:
            raise ValueError(f"{path} is not Tiny ImageNet: it has no wnids.txt.")
        self._root = min(lists, key=len).removesuffix("wnids.txt")
        self._names = {
            name.removeprefix(self._root) for name in names if name.startswith(self._root)
        }
        self.wnids = sorted(self._text("wnids.txt").split())

    def class_names(self) -> list[str]:
        """The first name that words.txt has for each class; all that it has where two share one.

        Raises:
            ValueError: if words.txt is missing, or a class in it.
        """
        lines = [line.partition("\t") for line in self._text("words.txt").splitlines()]
        words = {wnid: text.strip() for wnid, _, text in lines}
        unknown = [wnid for wnid in self.wnids if not words.get(wnid)]
        if unknown:
            raise ValueError(f"{self.path}: words.txt has no name for {_listed(unknown)}.")
        short = {wnid: words[wnid].split(",")[0] for wnid in self.wnids}
        for names in (words, {wnid: f"{words[wnid]} ({wnid})" for wnid in self.wnids}):
            shared = {name for name, count in Counter(short.values()).items() if count > 1}
            short = {wnid: names[wnid] if n in shared else n for wnid, n in short.items()}
        return list(short.values())

    def train(self) -> list[tuple[str, str]]:
        """Names of the training images with their classes' wnids.

        Raises:
            ValueError: if a class has none.
        """
        images = {wnid: [] for wnid in self.wnids}
        for name in sorted(self._names):
            parts = name.split("/")
            if len(parts) == 4 and parts[0] == "train" and parts[2] == "images" and parts[3]:
                images.get(parts[1], []).append(name)
        empty = [f"train/{wnid}/images" for wnid, names in images.items() if not names]
        if empty:
            raise ValueError(f"{self.path} has no images in {_listed(empty)}.")
        return [(name, wnid) for wnid, names in images.items() for name in names]

    def validation(self) -> list[tuple[str, str]]:
        """Names of the validation images with their classes' wnids.

        Raises:
            ValueError: if an image or its class is missing.
        """
        lines = [line.split("\t") for line in self._text("val/val_annotations.txt").splitlines()]
        images = [(f"val/images/{line[0]}", line[1]) for line in lines if len(line) > 1]
        missing = [name for name, _ in images if name not in self._names]
        if missing or not images:
            raise ValueError(
                f"{self.path} lacks images of val_annotations.txt: "
                f"{_listed(missing) if missing else 'all'}."
            )
        unknown = sorted({wnid for _, wnid in images} - set(self.wnids))
        if unknown:
            raise ValueError(
                f"{self.path}: val_annotations.txt has classes that wnids.txt has not: "
                f"{_listed(unknown)}."
            )
        return images

    def image(self, name: str) -> bytes:
        """The content of an image file.

        Raises:
            ValueError: if it is broken.
        """
        data = self._bytes(name)
        decode(data, f"{name} in {self.path}")
        return data

    def _text(self, name):
        return self._bytes(name).decode("utf-8")

    def _bytes(self, name):
        if name not in self._names:
            raise ValueError(f"{self.path} has no {name}. Fetch it again, or all of it.")
        if self._zip is None:
            return (self.path / self._root / name).read_bytes()
        try:
            return self._zip.read(self._root + name)
        except (zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{self.path} is damaged: {error}. Fetch it again.") from error


def load(
    data_dir: str | os.PathLike | None = None,
    archive: str | os.PathLike | None = None,
    cache: str | os.PathLike | None = None,
    memory: int = MEMORY,
    progress: bool = True,
) -> ImageData:
    """Loads Tiny ImageNet in 64x64 pixels; prepares it first from an archive or a download.

    Args:
        data_dir: folder of prepared data sets; None for TensorFlow Datasets' own.
        archive: as for `TinyImagenet`.
        cache, memory, progress: as for `coda_keras.data.tf_records.read`.

    Returns:
        `ImageData`, the validation images to test on. The note says if these are not all images,
        or not the original ones.

    Raises:
        FileNotFoundError: if the data is neither there nor to be downloaded.
        ValueError: if files of the archive are missing or broken, or the prepared data are not of
            this archive.
    """
    builder = prepared(TinyImagenet(archive=archive, data_dir=data_dir))
    count = builder.info.splits["train"].num_examples
    if archive is not None and count != len(Archive(archive).train()):
        raise ValueError(
            f"{builder.data_path} was prepared from another archive, with {count} training images. "
            "Name another folder with --data, or delete it."
        )
    data = read(builder, SIZE, cache=cache, memory=memory, progress=progress)
    notes = [f"with {count:,} of its {TRAIN_IMAGES:,} training images"] * (count != TRAIN_IMAGES)
    first = next(iter(builder.as_dataset(split="validation").take(1)))["image"]
    if first.shape[0] != SIZE:
        notes.append(f"images of {first.shape[1]}x{first.shape[0]} pixels scaled to {SIZE}x{SIZE}")
    return data._replace(note=", ".join(notes) or None)


def _listed(names):
    return listed(names, _NAMED, longest=None)
