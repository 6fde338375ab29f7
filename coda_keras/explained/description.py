"""What a folder of explained images says of its making."""

import json
from pathlib import Path
from typing import Any

from coda_keras.utils.text import listed, short

# Readers of Parquet leave names out that begin so.
DESCRIPTION = "_explained.json"
# Of some ten thousand classes; pixels as of the largest images of a `CoDANet`.
_MAX_BYTES, _MAX_PIXELS = 2**24, 2**26
_KINDS = {
    **dict.fromkeys(("images", "rows_of_part"), int),
    **dict.fromkeys(("image_size", "class_names"), list),
    **dict.fromkeys(("source", "opened", "card"), dict),
    **{"maps": str, "channels": bool, "bias": float},
}


def described(folder: Path) -> dict[str, Any] | None:
    """What a folder says of its making; None if it says nothing.

    Raises:
        ValueError: if that is damaged.
    """
    file = folder / DESCRIPTION
    if not file.exists():
        return None
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it has more than {_MAX_BYTES} bytes")
        about = json.loads(file.read_text("utf-8"))
        wrong = [name for name, kind in _KINDS.items() if not isinstance(about[name], kind)]
        if wrong:
            raise ValueError(f"its {listed(wrong)} are of another type")
        if not _fits(about):
            raise ValueError("its sizes, counts or names are out of range")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else short(error)
        raise ValueError(f"{file} describes no explained images: {reason}.") from error
    return about


def _fits(about: dict[str, Any]) -> bool:
    names = [*about["class_names"], about["card"]["name"]]
    sides, opened = about["image_size"], about["opened"]
    return (
        all(isinstance(name, str) for name in names)
        and len(sides) == 2
        and all(isinstance(side, int) and side > 0 for side in sides)
        and sides[0] * sides[1] <= _MAX_PIXELS
        and min(about["images"], about["rows_of_part"]) > 0
        and all(isinstance(value, str | None) for value in opened.values())
        and opened.keys() <= {"place", "split", "column", "data_dir"}
    )
