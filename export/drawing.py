"""What the library draws, without the rest of the library, which starts TensorFlow."""

import importlib
import importlib.util
import sys


def figures():
    """Returns `coda_keras.figures`, which knows arrays only.

    Where the library has not been imported, the package around the figures is there without having
    been run, until they are; a later import of the library runs it as ever.
    """
    if "coda_keras" in sys.modules:
        return importlib.import_module("coda_keras.figures")
    spec = importlib.util.find_spec("coda_keras")
    sys.modules["coda_keras"] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module("coda_keras.figures")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "coda_keras"]:
            del sys.modules[name]
