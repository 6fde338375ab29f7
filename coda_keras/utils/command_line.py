"""How the commands of recipes end: well, or with one line."""

import argparse
import difflib
import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and whose help keeps its description's form.

    Options must be written out; the nearest one is suggested for another.
    """

    def __init__(self, **options: Any) -> None:
        style = argparse.RawDescriptionHelpFormatter
        super().__init__(**{"formatter_class": style, "allow_abbrev": False, **options})

    def parse_args(
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> argparse.Namespace:
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [name for action in self._actions for name in action.option_strings]
            self.error(
                f"unrecognized arguments: {' '.join(unknown)}."
                f"{nearest(unknown[0].partition('=')[0], known)}"
            )
        return found

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that suggests the most similar of the `known` names, after a space; "" for none.

    >>> nearest("--epohs", ["--epochs", "--seed"])
    ' Did you mean --epochs?'
    """
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {found[0]}?" if found else ""


def command(main: Callable[[], None]) -> Callable[[], None]:
    """Turns what a user can mend into one line on stderr and exit code 2.

    These are values that do not fit or become NaN, files, and packages that are not installed.
    Ctrl-C ends with 130, and a line that says how to go on: that of the `KeyboardInterrupt`, if it
    has one. Errors may have an `exit_code` of their own.
    """

    @functools.wraps(main)
    def run():
        try:
            main()
        except (ValueError, OSError, ImportError, FloatingPointError) as error:
            print(f"{Path(sys.argv[0]).name}: {' '.join(str(error).split())}", file=sys.stderr)
            sys.exit(getattr(error, "exit_code", 2))
        except KeyboardInterrupt as end:
            said = str(end) or "Interrupted; the same command goes on where it stopped."
            print(f"\n{said}", file=sys.stderr)
            sys.exit(getattr(end, "exit_code", 130))

    return run
