"""The commands by their names: `coda-keras COMMAND ...` runs a script of recipes/ or export/.

    coda-keras train digits --epochs 5      recipes/digits.py --epochs 5
    coda-keras package ...                  export/package.py ...
    coda-keras explain ...                  recipes/explain.py ...

The scripts and their flags are the same; `python -m coda_keras` is another name. Nothing but the
script is imported, so that a mistake is told at once.
"""

import ast
import re
import sys
from pathlib import Path
from types import ModuleType

# A clone, or the package `coda_keras_commands` of an installation: what both lie in.
ROOT = Path(__file__).resolve().parents[1]
# Other than by their own names.
SCRIPTS = {"package": "export/package.py", "serve": "export/serve.py", "ask": "export/client.py"}
FIRST = ("train", "explain", "package", "serve", "ask", "interpret")


def main() -> None:
    """Runs the script that the command line names."""
    command, *arguments = sys.argv[1:] or ["--help"]
    trainings, others = scripts()
    if command == "--version":
        print(version())
    elif command in ("-h", "--help"):
        about = {name: summary(path) for name, path in others.items()}
        about["train"] = "Trains a net by a recipe; `coda-keras train` lists them."
        order = [*FIRST, *sorted(about.keys() - set(FIRST))]
        tell("COMMAND", {name: about[name] for name in order})
    elif command != "train":
        run(command, chosen("command", command, others), arguments)
    elif not arguments or arguments[0] in ("-h", "--help"):
        tell("train RECIPE", {name: summary(path) for name, path in trainings.items()})
    else:
        recipe = chosen("recipe", arguments[0], trainings)
        run(f"train {arguments[0]}", recipe, arguments[1:])


def scripts() -> tuple[dict[str, Path], dict[str, Path]]:
    """Returns `(trainings, others)`, each a dict from names to scripts."""
    recipes = {path.stem: path for path in sorted(ROOT.glob("recipes/[a-z]*.py"))}
    trainings = {
        name: path for name, path in recipes.items() if "training.train(" in path.read_text("utf-8")
    }
    others = {name: path for name, path in recipes.items() if name not in trainings}
    return trainings, {**others, **{name: ROOT / path for name, path in SCRIPTS.items()}}


def chosen(kind: str, name: str, known: dict[str, Path]) -> Path:
    """The script of that name; ends the program if there is none."""
    if name not in known:
        names = ", ".join(sorted(known))
        print(f"coda-keras: there is no {kind} {name!r}. Expected one of {names}.", file=sys.stderr)
        sys.exit(2)
    return known[name]


def run(name: str, script: Path, arguments: list[str]) -> None:
    """Runs a script as the program of this process, under the name by which it was called."""
    sys.argv = [f"coda-keras {name}", *arguments]
    # As `runpy.run_path`, which would call the program after the file.
    sys.modules["__main__"] = module = ModuleType("__main__")
    module.__file__ = str(script)
    exec(compile(script.read_text("utf-8"), str(script), "exec"), vars(module))


def summary(script: Path) -> str:
    """The first line of a script's docstring."""
    return ast.get_docstring(ast.parse(script.read_text("utf-8"))).partition("\n")[0]


def tell(what: str, about: dict[str, str]) -> None:
    """Prints names with what they do."""
    width = max(map(len, about))
    print(f"usage: coda-keras {what} ...; each has a --help of its own\n")
    for name, text in about.items():
        print(f"  {name:{width}}  {text}")


def version() -> str:
    """The version of the library, which is not imported for it."""
    # Beside the recipes in a clone, beside `coda_keras_commands` in an installation.
    place = next(place for place in (ROOT, ROOT.parent) if (place / "coda_keras").is_dir())
    text = (place / "coda_keras/__init__.py").read_text("utf-8")
    return re.search(r'__version__ = "(.+)"', text)[1]


if __name__ == "__main__":
    main()
