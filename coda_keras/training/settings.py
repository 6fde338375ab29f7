"""The settings of a training, as one frozen dataclass."""

import argparse
from collections.abc import Iterable
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

from coda_keras.training.setting_parts import (
    PARTS,
    Data,
    Distillation,
    Network,
    Optimisation,
    Regularisation,
    Run,
    Schedule,
)
from coda_keras.utils.command_line import nearest


@dataclass(frozen=True, kw_only=True)
class Settings(Network, Optimisation, Schedule, Regularisation, Distillation, Data, Run):
    """All settings of a training. Those of recipes are flags; `coda-keras train digits --help`.

    Args:
        names: settings that the run is recorded with, those that a recipe has flags for; None for
            all.

    Raises:
        ValueError: if there is no such setting, or a value is not one of those that its flag takes.

    Example:

    >>> Settings(epochs=5, temperature=64.0, output="runs/mine").learning_rate
    0.001
    """

    names: tuple[str, ...] | None = None

    def __new__(cls, **values: Any) -> "Settings":
        check_names(values.keys() - {"names"})
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for setting in setting_fields():
            name, metadata, kind = setting.name, setting.metadata, setting.type
            value = getattr(self, name)
            if value is None and setting.default is None:
                continue
            if value is None or isinstance(value, bool) != (kind is bool):
                kind = kind.__name__ if isinstance(kind, type) else kind
                raise ValueError(f"Expected `{name}` as {kind}. Received: {value!r}.")
            if kind is bool:
                continue
            if value not in metadata.get("choices", [value]):
                raise ValueError(
                    f"Expected `{name}` as one of {', '.join(metadata['choices'])}. "
                    f"Received: {value!r}."
                )
            try:
                object.__setattr__(self, name, metadata["type"](str(value)))
            except (argparse.ArgumentTypeError, ValueError) as error:
                raise ValueError(f"`{name}`: {error}.") from error

    @property
    def folder(self) -> Path:
        """`output`, the folder of the run."""
        return Path(self.output)

    def as_dict(self) -> dict[str, Any]:
        """The settings of the run by their names, as its files record them."""
        names = _names() if self.names is None else self.names
        return {name: getattr(self, name) for name in names}


def setting_fields() -> list[Field]:
    """The `dataclasses.Field` of every setting, part by part."""
    return [setting for part in PARTS for setting in fields(part)]


def _names() -> list[str]:
    return [setting.name for setting in setting_fields()]


def check_names(names: Iterable[str]) -> None:
    """Raises ValueError, which suggests the nearest, if there are no settings of these names."""
    known = _names()
    for name in sorted(set(names) - set(known)):
        raise ValueError(f"There is no setting and no flag for {name}.{nearest(name, known)}")
