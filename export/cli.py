"""What the commands share: errors as one line and exit code 2, and sentences out of error texts."""

import argparse
import math
import re
import signal
import sys
from pathlib import Path

# TensorFlow Serving's API counts in int64.
MAX_VERSION = 2**63 - 1
_MAX_SECONDS = 7 * 24 * 3600


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


def integer(low, high):
    """Returns a type for `add_argument`: whole numbers from `low` to `high`."""

    def parse(text):
        # `int` would take 007, 1_000 and other scripts' digits.
        if not re.fullmatch(r"0|-?[1-9][0-9]{0,30}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {low} to {high}, received {short(text)!r}"
            )
        return int(text)

    return parse


def seconds(text):
    """A type for `add_argument`: more than 0 s, at most a week."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= _MAX_SECONDS:
        raise argparse.ArgumentTypeError(
            f"expected seconds, more than 0 and at most {_MAX_SECONDS}, received {short(text)!r}"
        )
    return value


def end_signals():
    """The signals that end a server; not SIGHUP where it is ignored, as under `nohup`."""
    ends = [signal.SIGINT, signal.SIGTERM]
    return ends if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [*ends, signal.SIGHUP]


def run(main):
    """Runs a command; what it raises becomes one line on stderr and exit code 2."""
    try:
        main()
    except (ValueError, OSError, ImportError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"{Path(sys.argv[0]).name}: error: {message}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def short(text, most=100):
    """`text` in one line, its end left out where it is long: it may come from anybody."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else f"{line[:most]}... ({len(line)} characters)"


def listed(items, most=10):
    """Names with commas between, the first of many."""
    items = list(items)
    names = ", ".join(short(item, 40) for item in items[:most]) or "none"
    return names if len(items) <= most else f"{names} and {len(items) - most} more"


def sentence(text):
    """Reduces TensorFlow's error text to what it says: no node names, no assertion frame."""
    line = text.removeprefix("Graph execution error:").strip().split("\n")[0]
    assertion = re.fullmatch(r"assertion failed: \[(.*)\]", line)
    return assertion[1] if assertion else line
