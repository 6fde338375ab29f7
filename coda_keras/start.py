"""`python -m coda_keras`, which is another name of the command `coda-keras`.

The library is not imported for it: a command sets up its own process, and what a mistake says
should not have to wait for a framework.
"""

import os
import sys
from pathlib import Path

_LIBRARY = Path(__file__).resolve().parent
# In a clone, and in an installation.
_COMMANDS = ("recipes/__main__.py", "coda_keras_commands/recipes/__main__.py")


def asked() -> bool:
    """Whether this process is `python -m coda_keras`, at the time when that imports the package."""
    if sys.argv[:1] != ["-m"] or "-m" not in sys.orig_argv:
        return False
    module = sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1]
    return module == [_LIBRARY.name]


def run() -> None:
    """Becomes the process of a command.

    Raises:
        FileNotFoundError: if the commands are not installed.
    """
    arguments = sys.orig_argv[sys.orig_argv.index("-m") + 2 :]
    paths = [_LIBRARY.parent / path for path in _COMMANDS]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise FileNotFoundError(f"There are no commands beside {_LIBRARY}: no {paths[0]}.")
    os.execv(sys.executable, [sys.executable, str(found[0]), *arguments])
