"""How the commands of recipes end: well, or with one line."""

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and whose help keeps its description's form."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


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
