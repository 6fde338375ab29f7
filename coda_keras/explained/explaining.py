"""A data set explained into Parquet, by this process or by a Ray cluster, and resumed."""

import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from coda_keras.explained import parts
from coda_keras.explained.description import DESCRIPTION, described
from coda_keras.explained.parts import Counts, Explainer, Made
from coda_keras.explained.records import Part, Read, Size, Source, read, reading
from coda_keras.explained.schema import FORMAT, MAPS
from coda_keras.explained.sources import open_source
from coda_keras.explanation.explanation import known_class_names, require_inherent
from coda_keras.models.loading import image_size, load_model, weight_bytes
from coda_keras.models.pretrained import cards
from coda_keras.utils import provenance
from coda_keras.utils.arguments import one_of, positive_int
from coda_keras.utils.files import check_folder, write_json
from coda_keras.utils.progress import ProgressBar


class Explained(NamedTuple):
    """The result of explaining a data set.

    Attributes:
        folder: of the Parquet files.
        rows: number of the images.
        errors: how many of them could not be explained; their rows say why.
    """

    folder: Path
    rows: int
    errors: int


def explain_to_parquet(
    model: Any,
    source: str | os.PathLike | Source,
    folder: str | os.PathLike,
    *,
    split: str = "test",
    data_dir: str | os.PathLike | None = None,
    column: str = "image",
    size: int | None = None,
    maps: str = "float16",
    channels: bool = False,
    limit: int | None = None,
    batch_size: int | None = None,
    ray: str | None = None,
    cpus: int = 1,
    progress: bool = True,
) -> Explained:
    """Explains the predicted class of every image of a data set, and keeps all in Parquet files.

    Each image becomes one row, once. An image that cannot be read becomes a row with an error.
    The files hold so many rows each and appear when they are complete. The same call continues
    where an earlier one ended, however it ended, with Ray or without.

    Args:
        model: a `CoDANet`, the path of a `.keras` file, or the name of a trained preset.
        source: a folder of images, whose folders' names are labels; an `.npz` file; a Parquet
            file or a folder of them; or a name of TensorFlow Datasets.
        folder: path for the files.
        split: of an `.npz` file with `{split}_images`, and of TensorFlow Datasets.
        data_dir: folder of the data sets prepared by TensorFlow Datasets; None for its own.
        column: of the encoded images in Parquet files.
        size: int, pixels a side, for a net that takes images of any size; None for its own.
        maps: type of the numbers in maps, `"float16"` or `"float32"`, or `"none"` for no maps.
        channels: bool, whether to keep the contributions of all six channels beside the maps.
        limit: int, explain only the first so many images; None for all.
        batch_size: int, images that the net sees at once; None for 250, or fewer large ones.
        ray: address of a Ray cluster, `""` for the one that Ray finds, None for this process. The
            machines of a cluster need `source` and `folder` at the same paths.
        cpus: int, cores of each actor of a cluster without GPUs.
        progress: bool, whether to show a progress bar.

    Returns:
        `Explained`.

    Raises:
        ValueError: if the model, the source or an argument is not as described.
        FileNotFoundError: if there is no such source.
        FileExistsError: if the folder holds another data set, or one of other arguments.
    """
    one_of("maps", maps, MAPS)
    if channels and maps == "none":
        raise ValueError("`channels` needs maps. Received: maps='none'.")
    for name, value in (("size", size), ("limit", limit), ("batch_size", batch_size)):
        if value is not None:
            positive_int(name, value)
    folder = Path(folder)
    check_folder(folder)
    net = load_model(model) if isinstance(model, (str, os.PathLike)) else model
    require_inherent(net)
    height, width = (size, size) if size else image_size(net)
    if height is None or width is None:
        raise ValueError("The net takes images of any size. Give one by `size`.")
    pixels = (height, width)
    place: dict[str, Any] = {}
    if isinstance(source, (str, os.PathLike)):
        where = Path(source).resolve() if Path(source).exists() else source
        place = {"place": str(where), "split": split, "column": column}
        place["data_dir"] = data_dir and str(data_dir)
        source = open_source(source, split, data_dir, column)
    labels = source.class_names()
    source = source[:limit]
    if not net.built:
        net.build((None, *pixels, 3))
    about = {
        "format": FORMAT,
        "image_size": list(pixels),
        "maps": maps,
        "channels": channels,
        "images": len(source),
        "class_names": list(known_class_names(net) or map(str, range(net.classes))),
        "label_names": None if labels is None else list(labels),
        "bias": float(np.float32(net.logit_bias)),
        "card": card(model, net),
    }
    count = parts.rows_of_part(pixels, maps, channels)
    # What decides which rows there are and what stands in them.
    identity = {**about, "rows_of_part": count, "source": source.identity()}
    _check_same(folder, identity)
    write_json(folder / DESCRIPTION, {**identity, "opened": place})
    for leftover in folder.glob(".part-*"):
        leftover.unlink(missing_ok=True)
    batch = batch_size or parts.batch_rows(pixels)
    _explain_parts(net, source, folder, about, count, batch, ray, cpus, progress)
    done = [parts.counts(file) for file in sorted(folder.glob("part-*.parquet"))]
    if sum(part.rows for part in done) != len(source):
        raise FileNotFoundError(
            f"{folder} has {sum(part.rows for part in done)} of {len(source)} rows: other machines "
            "wrote the rest elsewhere. Name a folder that all machines share."
        )
    return Explained(folder, len(source), sum(part.errors for part in done))


def card(model: Any, net: Any) -> dict[str, Any]:
    """What is known of a net: the card of a trained preset, else what the net itself says."""
    weights = hashlib.sha256(weight_bytes(net)).hexdigest()[:16]
    if isinstance(model, str) and model in cards():
        return {**cards()[model]._asdict(), "weights": weights}
    return {
        "name": net.name,
        "temperature": getattr(net, "temperature", None),
        "parameters": net.count_params(),
        "weights": weights,
        "versions": provenance.versions(("coda-keras", "keras")),
    }


def _check_same(folder: Path, identity: dict[str, Any]) -> None:
    """Raises FileExistsError if a folder holds something else."""
    before = described(folder)
    if before is None:
        if any(folder.glob("*.parquet")):
            raise FileExistsError(f"{folder} holds other Parquet files. Name another folder.")
        # Readers of the folder take every file for Parquet, but for those that begin so.
        if any(not path.name.startswith(("_", ".")) for path in folder.glob("*")):
            raise FileExistsError(f"{folder} holds other files. Name another folder.")
        return
    changed = sorted(name for name in identity if _plain(identity[name]) != before.get(name))
    if changed:
        raise FileExistsError(
            f"{folder} holds explanations with another {', '.join(changed)}. Repeat the earlier "
            "arguments to continue them, name another folder, or delete this one."
        )


def _plain(value: Any) -> Any:
    """A value as it comes back from JSON."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _explain_parts(
    net: Any,
    source: Source,
    folder: Path,
    about: dict[str, Any],
    count: int,
    batch: int,
    ray: str | None,
    cpus: int,
    progress: bool,
) -> None:
    """Explains the parts whose files are not there."""
    size, total = tuple(about["image_size"]), len(source)
    missing = [
        Part(number, first, source[first : first + count])
        for number, first in enumerate(range(0, total, count))
        if not parts.path(folder, number).exists()
    ]
    done = total - sum(len(part.source) for part in missing)
    with ProgressBar("explaining", "image", total, done, shown=progress) as bar:
        if not missing:
            return
        if ray is None:
            explainer = Explainer(net, folder, about, batch)
            for part in _read_ahead(missing, size):
                explainer(part, bar.update)
            return
        from coda_keras.cluster import ray_engine

        ray_engine.connect(ray)
        made = Made(_content(net), folder.resolve(), about, batch)
        for written in ray_engine.map_parts(missing, reading(size), made, cpus):
            bar.update(Counts(*written).rows)


def _read_ahead(missing: Sequence[Part], size: Size) -> Iterator[Read]:
    """Reads the next part while the one before is explained."""
    with ThreadPoolExecutor(1) as pool:
        pending: deque[Any] = deque()
        try:
            for part in missing:
                pending.append(pool.submit(read, part, size))
                if len(pending) > 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _content(net: Any) -> bytes:
    """A net as the content of a `.keras` file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        net.save(file)
        return file.read_bytes()
