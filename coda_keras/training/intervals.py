"""Numbers of steps and times, such as `--checkpoint-every` takes."""

import argparse

UNITS = {"s": 1, "min": 60, "h": 3600}


def interval(text: str) -> tuple[int | None, float | None]:
    """Reads "500" as 500 steps and "90s", "20min" or "2h" as a time.

    >>> interval("500"), interval("20min")
    ((500, None), (None, 1200.0))

    Returns:
        `(steps, seconds)`, one of them None.

    Raises:
        ValueError: if it is neither.
    """
    number = text.rstrip("".join(UNITS))
    unit = text[len(number) :]
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if value > 0 and unit in UNITS:
        return None, value * UNITS[unit]
    if value >= 1 and not unit and number.isdecimal():
        return int(number), None
    raise ValueError(f"{text} is neither a number of steps nor a time such as 90s, 20min or 2h.")


def interval_text(text: str) -> str:
    """Returns the text of an interval; for the `type` of an argument."""
    try:
        interval(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text
