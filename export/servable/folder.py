"""The folder of servables: `<root>/<model>/<integer version>/`, and what a stock server needs."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from coda_keras_export.api import MAX_VERSION, max_images
from coda_keras_export.servable import version_policies
from coda_keras_export.servable.version_policies import DEFAULTS, Policies, Policy

from coda_keras.utils.files import write_text

DEPLOY = Path(__file__).parents[1] / "deploy"
SERVER_FILES = ("batching_parameters.txt", "compose.yaml", "monitoring.config")
# Where the compose file mounts the folder.
MOUNT = "/models"
CONFIG = "models.config"
BATCHING = "batching_params.pbtxt"
# Images of several requests that a stock server runs as one batch.
_BATCHED = (1, 2, 4, 8, 16, 32)
# Of a model: number to path.
Versions = dict[int, Path]
# Of files: name, bytes and time of change.
Fingerprint = list[tuple[str, int, int]]


def versions(base: str | os.PathLike) -> Versions:
    """Returns `{version: path}` of a model's folder; other names, such as `.tmp-...`, are not."""
    base = Path(base)
    if not base.is_dir():
        return {}
    # As the stock server reads them: digits only, a number that the API can say.
    return {
        int(path.name): path
        for path in sorted(base.iterdir())
        if re.fullmatch("[0-9]{1,99}", path.name)
        and int(path.name) <= MAX_VERSION
        and path.is_dir()
    }


def look(root: str | os.PathLike) -> tuple[dict[str, Versions], dict[str, OSError]]:
    """Looks for models.

    Returns:
        `(models, unreadable)`: `{model name: {version: path}}` of all that have a version, and
        `{folder name: OSError}` of folders that cannot be looked into.

    Raises:
        OSError: if `root` itself cannot be looked into, as when it is away.
    """
    readable, unreadable = {}, {}
    for path in sorted(Path(root).iterdir()):
        try:
            if of_model := versions(path):
                readable[path.name] = of_model
        except OSError as error:
            unreadable[path.name] = error
    return readable, unreadable


def models(root: str | os.PathLike) -> dict[str, Versions]:
    """Returns `{model name: {version: path}}` of all models that have a version, as `look`."""
    return look(root)[0]


def fingerprint(path: str | os.PathLike) -> Fingerprint | None:
    """Returns what changes when somebody repairs a version; None while it cannot be read."""
    try:
        files = [(str(item), item.stat()) for item in sorted(Path(path).rglob("*"))]
    except OSError:
        return None
    return [(name, status.st_size, status.st_mtime_ns) for name, status in files]


def models_config(
    root: str | os.PathLike,
    mount: str | os.PathLike,
    coming: Iterable[str] = (),
    policies: Policies = DEFAULTS,
) -> str:
    """Returns the text of a `models.config` that serves every model of `root`.

    Args:
        root: folder of servables.
        mount: where the server sees that folder.
        coming: names of models whose first version is about to be published.
        policies: `Policies`: which versions are served.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    for name in sorted({*models(root), *coming}):
        model = config.model_config_list.config.add(
            name=name, base_path=f"{mount}/{name}", model_platform="tensorflow"
        )
        policies.of(name).write_to(model.model_version_policy)
    return text_format.MessageToString(config)


def write_server_files(root: str | os.PathLike, coming: Iterable[str] = ()) -> None:
    """Writes `models.config` anew, and `SERVER_FILES` where they are missing.

    The version policy of a model that is listed already is kept: it may have been edited.

    Raises:
        ValueError: if the `models.config` that is there cannot be parsed.
    """
    root = Path(root)
    header = "# Written by `coda-keras package` for every servable; version policies stay.\n"
    policies = Policies(by_model=listed_policies(root))
    write_text(root / CONFIG, header + models_config(root, MOUNT, coming, policies))
    for name in SERVER_FILES:
        if not (root / name).exists():
            write_text(root / name, (DEPLOY / name).read_text("utf-8"))


def listed_policies(root: str | os.PathLike) -> dict[str, Policy]:
    """Returns `{model name: Policy}` of the `models.config` in `root`; none where there is none.

    Raises:
        ValueError: if it cannot be parsed.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    path, config = Path(root, CONFIG), model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(path.read_text("utf-8", errors="replace"), config)
    except FileNotFoundError:
        return {}
    except text_format.ParseError as error:
        raise ValueError(
            f"Expected a model server's configuration in {path}. Line {str(error).rstrip('.')}. "
            "Correct it, or remove the file: it is then written anew, with default policies."
        ) from error
    return {
        model.name: version_policies.from_config(model.model_version_policy)
        for model in config.model_config_list.config
        if model.HasField("model_version_policy")
    }


def batching_params(height: int, width: int, classes: int) -> str:
    """Returns the text of a servable's `batching_params.pbtxt`, for images of that size.

    What a stock server reads there with `--enable_per_model_batching_parameters`. A larger request
    runs as several batches: clients ask for the names of all classes at once.
    """
    images = max_images(height, width)
    sizes = [size for size in _BATCHED if size <= images]
    return (
        f"max_batch_size {{ value: {max(images, classes)} }}\n"
        "enable_large_batch_splitting { value: true }\n"
        f"max_execution_batch_size {{ value: {sizes[-1]} }}\n"
        "batch_timeout_micros { value: 2000 }\n"
        "max_enqueued_batches { value: 100 }\n"
        + "".join(f"allowed_batch_sizes: {size}\n" for size in sizes)
    )
