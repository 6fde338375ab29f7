"""Where the modules of 0.2.0 went, told to whoever imports them by their old names."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

PACKAGE = "coda_keras"

# Old names and new ones, below `coda_keras`.
MODULES = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
# Names that left a module which stayed.
NAMES = {"explorer.from_explanation": "explanation.display.explanation_view"}
# Modules whose names packages have now, and what they held.
CONTENTS = {"data": "data.images", "explanation": "explanation.explanation"}


def message(name: str) -> str:
    """What there is to say of a name that went; empty for any other name.

    >>> message("coda_keras.image_files")
    'coda_keras.image_files is coda_keras.data.image_files since 0.3.0.'
    """
    package, _, below = name.partition(".")
    if package != PACKAGE:
        return ""
    new = MODULES.get(below) or NAMES.get(below)
    if new:
        return f"{name} is {PACKAGE}.{new} since 0.3.0."
    parent = below.rpartition(".")[0]
    if parent in CONTENTS:
        home = f"{PACKAGE}.{CONTENTS[parent]}"
        return f"There is no {name}. The module {PACKAGE}.{parent} is {home} since 0.3.0."
    parts = [old for old in MODULES if old.startswith(f"{below}.")]
    if parts:
        went = ", ".join(f"{old} is {MODULES[old]}" for old in parts)
        return f"There is no {name} since 0.3.0: below {PACKAGE} {went}."
    return ""


class _Finder:
    """Is asked last, for modules that nobody has found."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> None:
        reason = message(name)
        if reason:
            # Without `name=`, by which `from coda_keras import ...` would hide the message.
            raise ModuleNotFoundError(reason)


_FINDER = _Finder()


def install() -> None:
    """Makes imports of the old names fail with the new ones in the message."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.append(_FINDER)
