"""What all commands share: a parser, types of numbers, and how they end: well, or with one line.

Nothing here needs Keras, so that `--help` and mistakes answer at once.
"""

import argparse
import functools
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from coda_keras.backend import startup_lines
from coda_keras.utils import extras
from coda_keras.utils.text import nearest, short

_MAX_SECONDS = 7 * 24 * 3600
# What a shell reports of a program that SIGPIPE ended.
_UNREAD = 141


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and whose help keeps its description's form.

    Options must be written out; the nearest one is suggested for another.
    """

    def __init__(self, **options: Any) -> None:
        style = argparse.RawDescriptionHelpFormatter
        super().__init__(**{"formatter_class": style, "allow_abbrev": False, **options})

    def parse_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        parsed, unknown = self.parse_known_args(args, namespace or argparse.Namespace())
        if unknown:
            known = [name for action in self._actions for name in action.option_strings]
            self.error(
                f"unrecognized arguments: {' '.join(unknown)}."
                f"{nearest(unknown[0].partition('=')[0], known)}"
            )
        return parsed

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


def command(main: Callable[..., None], backend: str | None = None) -> Callable[..., None]:
    """Makes a command of a function: what a user can fix ends with one line and exit code 2.

    These are values that do not fit or become NaN, memory, files, and packages that are missing.
    Ctrl-C ends with 130, and a line that says how to go on: that of the `KeyboardInterrupt`, if it
    has one. Errors may have an `exit_code` of their own. `quiet_when_unread` holds too.

    Keras runs on TensorFlow, whatever a `keras.json` says, unless `KERAS_BACKEND` is set. Of
    TensorFlow's messages those are left that end a program, unless `TF_CPP_MIN_LOG_LEVEL` is set,
    and it computes by oneDNN, unless `TF_ENABLE_ONEDNN_OPTS` is set.

    Args:
        main: a function of a command; see `coda_keras.commands.table`.
        backend: name of the Keras backend that it runs on whatever `KERAS_BACKEND` is, or None.

    Returns:
        A function of the same arguments.
    """

    @quiet_when_unread()
    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
        os.environ["KERAS_BACKEND"] = backend or os.environ.get("KERAS_BACKEND", "tensorflow")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # Off by default on Windows, and on processors without VNNI or AMX, where it is faster too.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        startup_lines.leave_out()
        try:
            main(arguments, prog)
        except BrokenPipeError:
            raise
        except (ValueError, OSError, ImportError, ArithmeticError, MemoryError) as error:
            tell_error(error, prog)
            sys.exit(getattr(error, "exit_code", 2))
        except Exception as error:
            # TensorFlow's error, which is not imported here; in a graph a trace comes before.
            if type(error).__name__ != "ResourceExhaustedError":
                raise
            said = re.search(r"OOM when allocating tensor with shape\S+", str(error))
            tell_error(MemoryError(said[0] if said else str(error)), prog)
            sys.exit(2)
        except KeyboardInterrupt as end:
            resume = "Interrupted; the same command goes on where it stopped, or begins anew."
            print(f"\n{str(end) or resume}", file=sys.stderr)
            sys.exit(getattr(end, "exit_code", 130))

    return run


@contextmanager
def quiet_when_unread() -> Iterator[None]:
    """Ends the program without a message if nobody reads its output any more, as after `| head`.

    Also a decorator. Exit code 141, as of other programs.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at its end, and would print that this failed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_UNREAD)


def check_new(paths: Iterable[Path], overwrite: bool) -> None:
    """Raises FileExistsError if one of the paths exists, unless it may be written over.

    Args:
        paths: all that a command writes.
        overwrite: its option `--overwrite`.
    """
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{path} exists. Give --overwrite to replace it, or choose another name."
            )


def tell_error(error: Exception, prog: str | None) -> None:
    """Prints one line about an error of a command, to the standard error."""
    known = extras.remedy(error.name) if isinstance(error, ModuleNotFoundError) else None
    message = known or " ".join(str(error).split()) or type(error).__name__
    print(f"{prog or Path(sys.argv[0]).name}: error: {message}", file=sys.stderr)


class Failures:
    """Errors after which a command goes on: a line for each, and exit code 1 at its end.

    Args:
        prog: the name of the command, as its `main` takes it.
    """

    def __init__(self, prog: str | None) -> None:
        self._prog, self._count = prog, 0

    def tell(self, error: Exception) -> None:
        """Prints a line about one of them."""
        tell_error(error, self._prog)
        self._count += 1

    def end(self) -> None:
        """Ends the program with exit code 1 if there was any."""
        if self._count:
            sys.exit(1)


def tensorflow_command(main: Callable[..., None]) -> Callable[..., None]:
    """Makes a command as `command` does, which runs on TensorFlow whatever `KERAS_BACKEND` is."""
    return command(main, backend="tensorflow")


def positive_number(text: str) -> float:
    """Reads a finite number above 0; for the `type` of an argument."""
    return _number(text, lambda value: 0 < value < math.inf, f"{text} is not a positive number")


def non_negative_number(text: str) -> float:
    """Reads a finite number from 0 up; for the `type` of an argument."""
    return _number(text, lambda value: 0 <= value < math.inf, f"{text} is not a number from 0 up")


def fraction(text: str) -> float:
    """Reads a number from 0 to 1; for the `type` of an argument."""
    return _number(text, lambda value: 0 <= value <= 1, f"{text} is not a number from 0 to 1")


def integer(low: int, high: int) -> Callable[[str], int]:
    """Returns a type for `add_argument`: whole numbers from `low` to `high`."""

    def parse(text: str) -> int:
        # `int` would take 007, 1_000 and other scripts' digits.
        if not re.fullmatch(r"0|-?[1-9][0-9]{0,30}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {low} to {high}, received {short(text)!r}"
            )
        return int(text)

    return parse


# Types for `add_argument`: how many of something, and the same where there may be none.
positive_int = integer(1, 10**9)
non_negative_int = integer(0, 10**6)


def seconds(text: str) -> float:
    """A type for `add_argument`: more than 0 s, at most a week."""
    message = f"expected seconds, more than 0 and at most {_MAX_SECONDS}, received {short(text)!r}"
    return _number(text, lambda value: 0 < value <= _MAX_SECONDS, message)


def _number(text: str, fits: Callable[[float], bool], message: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not fits(value):
        raise argparse.ArgumentTypeError(message)
    return value
