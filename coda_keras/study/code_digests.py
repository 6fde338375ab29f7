"""Short names of values, and of the code that computes numbers: other code computes anew.

What is digested is said here, whatever the modules import: for all numbers what runs models and
explains them, and for those of a method or metric its module and what that takes from its room.
"""

import ast
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from coda_keras import backend

PACKAGE = Path(__file__).parents[1]

# Rooms and modules that every number depends on, beside the module of the running backend.
COMMON = (
    "backend/__init__.py",
    "backend/arrays.py",
    "layers",
    "explanation/class_ids.py",
    "explanation/computing.py",
    "explanation/explanation.py",
    "explanation/layer.py",
    "explanation/tensors.py",
    "models/coda_net.py",
    "models/dynamic_linear_net.py",
    "models/ensemble.py",
    "models/resnet.py",
    "models/views.py",
)
# What rooms say about their modules decides no number.
REGISTRY = "registry"
# What can have a docstring.
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def digest(data: Any) -> str:
    """Returns a short name of bytes, or of anything that JSON can hold."""
    if not isinstance(data, bytes):
        data = json.dumps(data, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:12]


def common_code() -> str:
    """Returns a short name of the code that every number depends on."""
    return code_digest(common_files())


def room_code(module: str) -> str:
    """Returns a short name of the code of a method or metric, `common_code` aside.

    Args:
        module: name of the module that defines it; one outside of this library has no code.
    """
    return code_digest(room_files(module))


def common_files() -> list[Path]:
    """The files of `COMMON`, and that of the running backend."""
    paths = [PACKAGE / name for name in (*COMMON, f"backend/{backend.NAME}.py")]
    return [file for path in paths for file in (path.glob("*.py") if path.is_dir() else [path])]


def room_files(module: str) -> list[Path]:
    """The file of a module, and those of all modules of its room that it imports."""
    package, _, inner = module.partition(".")
    room = PACKAGE / inner.partition(".")[0]
    if package != PACKAGE.name:
        return []
    waiting, files = {inner.rpartition(".")[2]}, {}
    while waiting:
        name = waiting.pop()
        file = room / f"{name}.py"
        if name not in {*files, REGISTRY} and file.is_file():
            files[name] = file
            text = file.read_text(encoding="utf-8")
            waiting |= _imported(text, f"{PACKAGE.name}.{room.name}")
    return list(files.values())


def code_digest(files: list[Path]) -> str:
    """Returns a short name of the code of Python files; comments and docstrings do not count."""
    texts = {file: file.read_text(encoding="utf-8") for file in sorted(files)}
    return digest([[f.relative_to(PACKAGE).as_posix(), _code(texts[f])] for f in texts])


# A study asks again and again, for every slice of its numbers.
@functools.cache
def _imported(text, room):
    """Names of modules of a room that a file imports, in functions too."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name.removeprefix(f"{room}.") for name in names if name.rpartition(".")[0] == room}


@functools.cache
def _code(text):
    """The code of a file without docstrings, as text."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
