"""The folder of a run: whether a run can begin or go on in it."""

import argparse
import json
from pathlib import Path
from typing import Any

from coda_keras.utils.files import check_folder, write_json

ARGUMENTS = "arguments.json"
# These do not change what is computed.
FREE = ("data", "archive", "cache", "output", "checkpoint_every", "keep_checkpoints")


def check(args: argparse.Namespace) -> None:
    """Checks that the run of these arguments can begin or go on in `args.output`.

    More epochs than before are let through: `earlier_epochs` tells of them.

    Raises:
        FileExistsError: if the folder holds a finished run, or one with other arguments.
        NotADirectoryError: if it is a file.
    """
    check_folder(args.output)
    if (args.output / "metrics.json").exists():
        raise FileExistsError(
            f"{args.output} holds a finished run. Choose another --output, or delete the folder."
        )
    changed = _changed(args.output, _arguments(args))
    if "epochs" in changed and args.epochs > (earlier_epochs(args.output) or args.epochs):
        changed.remove("epochs")
    if changed:
        flags = ", ".join("--" + name.replace("_", "-") for name in changed)
        raise FileExistsError(
            f"{args.output} holds an interrupted run with another {flags}. Repeat its command "
            "to resume it, choose another --output, or delete the folder."
        )


def record(args: argparse.Namespace) -> None:
    """Writes the arguments of a run into its folder."""
    write_json(args.output / ARGUMENTS, _arguments(args))


def earlier_epochs(folder: Path) -> int | None:
    """The `--epochs` of the interrupted run in a folder; None without one."""
    return _read(folder).get("epochs")


def _changed(folder: Path, arguments: dict[str, Any]) -> list[str]:
    """Names of the arguments that an interrupted run had otherwise, or had not, or has more."""
    before = _read(folder)
    if not before:
        return []
    missing = object()
    return sorted(
        name
        for name in before.keys() | arguments.keys()
        if name not in FREE and before.get(name, missing) != arguments.get(name, missing)
    )


def _read(folder):
    record = folder / ARGUMENTS
    return json.loads(record.read_text()) if record.exists() else {}


def _arguments(args):
    return {name: value for name, value in vars(args).items() if name not in FREE}
