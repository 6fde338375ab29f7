"""Splits of TensorFlow Datasets as sources of images."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from coda_keras.explained.records import Records, Size, decoded
from coda_keras.explained.sources import check_known


@dataclass(frozen=True)
class TfdsSplit:
    """Images `start` to `stop` of a split, in the order of its files."""

    name: str
    split: str
    data_dir: str | None
    start: int
    stop: int

    @classmethod
    def open(cls, name: str, split: str, data_dir: str | os.PathLike | None) -> "TfdsSplit":
        from coda_keras.data.tf_batches import prepared

        whole = cls(name, split, None if data_dir is None else str(data_dir), 0, 0)
        info = prepared(whole._builder()).info
        if "image" not in info.features:
            raise ValueError(f"{name} has no images. It has {', '.join(info.features)}.")
        check_known(split, list(info.splits))
        return replace(whole, stop=info.splits[split].num_examples)

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, rows: slice) -> "TfdsSplit":
        start, stop, _ = rows.indices(len(self))
        return replace(self, start=self.start + start, stop=self.start + stop)

    def read(self, size: Size) -> Records:
        import tensorflow_datasets as tfds

        rows = tfds.core.ReadInstruction(self.split, from_=self.start, to=self.stop, unit="abs")
        examples = self._builder().as_dataset(
            split=rows,
            decoders={"image": tfds.decode.SkipDecoding()},
            # One file after the other: the same order every time.
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        found = list(examples.as_numpy_iterator())
        labels = [int(row["label"]) if "label" in row else None for row in found]
        ids = [f"{self.split}/{number}" for number in range(self.start, self.stop)]
        return decoded(ids, labels, [_constant(row["image"]) for row in found], size)

    def identity(self) -> dict[str, Any]:
        full_name = self._builder().info.full_name
        return {"kind": "tfds", "name": full_name, "split": self.split, "images": len(self)}

    def class_names(self) -> Sequence[str] | None:
        features = self._builder().info.features
        return getattr(features["label"], "names", None) if "label" in features else None

    def _builder(self) -> Any:
        import tensorflow_datasets as tfds

        return tfds.builder(self.name, data_dir=self.data_dir)


def _constant(content: bytes) -> Any:
    return lambda: content
