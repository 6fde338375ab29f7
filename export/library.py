"""Parts of the library without the rest of it, which starts TensorFlow."""

import importlib
import importlib.util
import sys
from types import ModuleType


def module(name: str) -> ModuleType:
    """Returns `coda_keras.<name>`, one of the modules that know arrays only.

    Where the library has not been imported, the package around the module is there without having
    been run, until the module is; a later import of the library runs it as ever.
    """
    name = f"coda_keras.{name}"
    if "coda_keras" in sys.modules:
        return importlib.import_module(name)
    spec = importlib.util.find_spec("coda_keras")
    sys.modules["coda_keras"] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module(name)
    finally:
        for each in [each for each in sys.modules if each.partition(".")[0] == "coda_keras"]:
            del sys.modules[each]
