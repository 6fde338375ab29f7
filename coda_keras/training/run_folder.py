"""The folder of a run: whether a run can begin or go on in it."""

from pathlib import Path
from typing import Any

from coda_keras.training.setting_parts import AUTO
from coda_keras.training.settings import Settings
from coda_keras.utils.files import check_folder, read_json, write_json

ARGUMENTS = "arguments.json"
# These do not change what is computed.
FREE = ("data", "archive", "cache", "output", "checkpoint_every", "keep_checkpoints")
FREE += ("ray", "max_failures")


def check(settings: Settings) -> None:
    """Checks that the run of these settings can begin or go on in `settings.output`.

    More epochs than before are let through, and "auto" for any precision: `earlier` tells of them.

    Raises:
        FileExistsError: if the folder holds a finished run, or one with other arguments.
        NotADirectoryError: if it is a file.
    """
    folder = settings.folder
    check_folder(folder)
    if (folder / "metrics.json").exists():
        raise FileExistsError(
            f"{folder} holds a finished run. Choose another --output, or delete the folder."
        )
    check_same(settings)


def check_same(settings: Settings) -> None:
    """Checks that a run in `settings.output`, if there is one, has these settings.

    Raises:
        FileExistsError: if it has others.
    """
    folder = settings.folder
    changed = _changed(folder, _recorded(settings))
    if "epochs" in changed and settings.epochs > earlier(folder, "epochs", settings.epochs):
        changed.remove("epochs")
    if "precision" in changed and settings.precision == AUTO:
        changed.remove("precision")
    if changed:
        flags = ", ".join("--" + name.replace("_", "-") for name in changed)
        raise FileExistsError(
            f"{folder} holds a run with another {flags}. Repeat its command to resume it, choose "
            "another --output, or delete the folder."
        )


def record(settings: Settings) -> None:
    """Writes the settings of a run into its folder."""
    write_json(settings.folder / ARGUMENTS, _recorded(settings))


def earlier(folder: Path, name: str, default: Any = None) -> Any:
    """A setting of the run in a folder; the default if it has none, or without a run."""
    return _read(folder).get(name, default)


def _changed(folder: Path, arguments: dict[str, Any]) -> list[str]:
    """Names of the arguments that an interrupted run had otherwise."""
    before = _read(folder)
    if not before:
        return []
    return sorted(
        name
        for name in before.keys() | arguments.keys()
        if name not in FREE and before.get(name, _default(name)) != arguments.get(name)
    )


def _default(name):
    """What a run did that was recorded before there was a setting."""
    return getattr(Settings, name, None)


def _read(folder):
    path = folder / ARGUMENTS
    return read_json(path) if path.exists() else {}


def _recorded(settings):
    return {name: value for name, value in settings.as_dict().items() if name not in FREE}
