"""The command line of a training recipe: a flag for every setting that it has a value for."""

import argparse
from collections.abc import Sequence
from dataclasses import Field
from typing import Any

from coda_keras.training.settings import Settings, check_names, setting_fields
from coda_keras.utils.command_line import Parser

# What every recipe has flags for.
COMMON = ("data", "limit_train", "limit_test", "seed", "precision", "replicas", "accumulate")
COMMON += ("deterministic", "checkpoint_every", "keep_checkpoints", "ray", "max_failures")


class SettingsParser(Parser):
    """Reads the flags of a recipe: those of the settings that it has a value for, and `COMMON`.

    Args:
        description: str, the text of `--help`.
        prog: str, the name of the command; None for that of the script.
        **values: the recipe's own values, which the flags default to.

    Attributes:
        groups: argument groups by their headings.

    Raises:
        ValueError: if there is no setting for a value.

    Example:

    >>> SettingsParser("A recipe.", epochs=3).settings(["--seed", "5"]).epochs
    3
    """

    def __init__(self, description: str, prog: str | None = None, **values: Any) -> None:
        super().__init__(description=description, prog=prog)
        check_names(values)
        self.groups: dict[str, Any] = {}
        self.names = []
        for setting in setting_fields():
            if setting.name in values or setting.name in COMMON:
                heading = setting.metadata["heading"]
                if heading not in self.groups:
                    self.groups[heading] = self.add_argument_group(heading)
                default = values.get(setting.name, setting.default)
                _add_flag(self.groups[heading], setting, default)
                self.names.append(setting.name)

    def settings(self, arguments: Sequence[str] | None = None) -> Settings:
        """Reads a command line; None for that of this process."""
        values = vars(self.parse_args(arguments))
        return Settings(**{name: values[name] for name in self.names}, names=tuple(self.names))


def command_line(settings: Settings, without: Sequence[str] = ()) -> list[str]:
    """The flags that ask a recipe for these settings, but for those `without`.

    >>> command_line(Settings(epochs=3, output="runs/a", names=("epochs", "fast", "output")))
    ['--epochs', '3', '--output', 'runs/a']
    """
    line = []
    for name, value in settings.as_dict().items():
        if name not in without and value is not None and value is not False:
            line.append("--" + name.replace("_", "-"))
            line += [] if value is True else [str(value)]
    return line


def _add_flag(group: argparse._ArgumentGroup, setting: Field, default: Any) -> None:
    options = {name: value for name, value in setting.metadata.items() if name != "heading"}
    if default not in (None, False):
        options["help"] += f" (default: {default})"
    if isinstance(default, bool):
        options["action"] = "store_true"
        del options["type"]
    group.add_argument("--" + setting.name.replace("_", "-"), default=default, **options)
