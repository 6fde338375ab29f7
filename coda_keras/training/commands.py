"""How the commands of recipes end: well, or with one line."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path


def command(main: Callable[[], None]) -> Callable[[], None]:
    """Turns what a user can mend into one line on stderr and exit code 2.

    These are values that do not fit, files, and packages that are not installed. Ctrl-C ends with
    130.
    """

    @functools.wraps(main)
    def run():
        try:
            main()
        except (ValueError, OSError, ImportError) as error:
            print(f"{Path(sys.argv[0]).name}: {' '.join(str(error).split())}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("\nInterrupted; the same command goes on where it stopped.", file=sys.stderr)
            sys.exit(130)

    return run
