"""The rules of the rooms: which folder may import which, and what no file does."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]

# From the ground. A module imports from its own room and from rooms of lower floors.
FLOORS = [
    {"backend"},
    {"utils"},
    {"losses", "figures", "layers", "data", "cluster"},
    {"explorer"},
    {"explanation"},
    {"exporting"},
    {"models"},
    {"attribution", "evaluation", "importing"},
    {"study", "training", "tensorboard", "explained", "face"},
    {"export", "recipes"},
    {"commands", "benchmarks"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# Recipes hand packaging to what trains.
ON_ONE_FLOOR = {("recipes", "export")}
# `coda_keras/__init__` and `__main__`: the one may name everything, whoever imports it does too.
FACE = {"coda_keras", "coda_keras.__main__"}
# The one module of the library that names what is built on it.
TABLE = "coda_keras/commands/table.py"
FOLDERS = {
    "coda_keras": "coda_keras",
    "recipes": "coda_keras_recipes",
    "export": "coda_keras_export",
    "benchmarks": "benchmarks",
}
# The text that is handed to `import_module`, in whole or its beginning. The name of the package
# alone is none: Keras registers classes under it.
MODULE = re.compile(r"(coda_keras\w*|benchmarks)(\.\w+)+\.?(:\w+)?")
FORBIDDEN = {
    "an edit of the path": r"\bsys\.path\b",
    "code made of text": r"\bexec\(|\beval\(",
    "another process in this one's place": r"\bos\.exec[lv]",
    # None says that there is no such module, which is what tests plant.
    "a planted module": r"\bsys\.modules\[.*\] = (?!.*\bNone\b)|\bModuleType\(",
    "a module by its file": r"\bspec_from_file_location\b|\bmodule_from_spec\b",
}


def files(*names: str) -> list[Path]:
    """Python files, and those in folders, by their names from the root of the repository."""
    paths = [path for name in names for path in (ROOT / name, *(ROOT / name).rglob("*"))]
    return sorted(path for path in paths if path.suffix in (".py", ".pyi"))


def module_name(path: Path) -> str:
    folder, *inner = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([FOLDERS[folder], *inner]).removesuffix(".__init__")


@cache
def modules() -> dict[str, Path]:
    return {module_name(path): path for path in files(*FOLDERS)}


def room(module: str) -> str:
    """The room of a module: a folder of the library, or one beside it."""
    package, *inner = module.split(".")
    if package != "coda_keras":
        return package.removeprefix("coda_keras_")
    return "face" if module in FACE else inner[0]


def resolved(dotted: str) -> str | None:
    """The innermost module of ours that a dotted name begins with."""
    parts = dotted.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in modules()), None)


def named(path: Path) -> set[str]:
    """Our modules that a file imports, in functions and for type checkers too, or has as text."""
    package = module_name(path).split(".")[: None if path.stem == "__init__" else -1]
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            found += [f"{origin}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and MODULE.fullmatch(str(node.value)):
            found.append(node.value.partition(":")[0].rstrip("."))
    targets = {resolved(dotted) for dotted in found}
    return {target for target in targets if target is not None}


@cache
def arrows() -> set[tuple[str, str]]:
    """Pairs of a module and a module of another room that it names."""
    return {
        (module, target)
        for module, path in modules().items()
        for target in named(path)
        if room(module) != "face" and room(target) != room(module)
    }


def test_every_room_has_a_floor():
    there = {room(module) for module in modules()}
    assert there == FLOOR.keys()
    assert len(FLOOR) == sum(map(len, FLOORS))


def test_arrows_are_imports_and_names_in_strings():
    assert ("coda_keras.models.coda_net", "coda_keras.layers.dynamic_linear") in arrows()
    assert ("coda_keras.commands.table", "coda_keras_recipes.demo") in arrows()


def test_no_arrow_runs_up_or_along_a_floor():
    wrong = {
        f"{module} -> {target}"
        for module, target in arrows()
        if FLOOR[room(target)] >= FLOOR[room(module)]
        and (room(module), room(target)) not in ON_ONE_FLOOR
    }
    assert wrong == set()


def test_only_the_table_of_commands_names_what_is_built_on_the_library():
    names = re.compile(r"\bcoda_keras_(recipes|export)\b|(from|import) (recipes|export)\b")
    found = {path for path in files("coda_keras") if names.search(path.read_text("utf-8"))}
    found = {str(path.relative_to(ROOT)) for path in found}
    assert found == {TABLE}


def test_at_the_root_of_the_library_lie_its_face_and_the_losses():
    found = {path.stem for path in files("coda_keras") if path.parent.name == "coda_keras"}
    assert found == {"__init__", "__main__", "losses"}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_has(what):
    found = {
        str(path.relative_to(ROOT))
        for path in files(*FOLDERS, "docs", "tests", "setup.py")
        if path != Path(__file__).resolve() and re.search(FORBIDDEN[what], path.read_text("utf-8"))
    }
    assert found == set()


def functions(path: Path, private: bool) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions of a file and its classes; `private`, and those inside of functions too."""
    tree = ast.parse(path.read_text("utf-8"))
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    within = ast.walk(tree) if private else [*tree.body, *(n for c in classes for n in c.body)]
    return [
        node
        for node in within
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (private or node.name[0] != "_")
    ]


def test_functions_say_what_they_return():
    every = [(path, True) for path in files("export", "recipes")]
    every += [(path, False) for path in files("coda_keras")]
    missing = {
        f"{path.relative_to(ROOT)}: {function.name}"
        for path, private in every
        for function in functions(path, private)
        if function.returns is None
    }
    assert missing == set()
