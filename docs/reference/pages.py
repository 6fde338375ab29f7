"""The pages of the API reference: one for every module and package of the library."""

import ast
from pathlib import Path

from mkdocs.structure.files import File

LIBRARY = Path(__file__).resolve().parents[2] / "coda_keras"
HEAD = "# API reference\n\n| module | what it holds |\n|---|---|\n"


def on_files(files, config):
    """Adds the pages; mkdocs calls it by its name."""
    rows = []
    for source in modules():
        name = f"{LIBRARY.name}.{source.stem if source.is_file() else source.name}"
        page = f"reference/{name.partition('.')[2]}.md"
        text = source if source.is_file() else source / "__init__.py"
        about = ast.get_docstring(ast.parse(text.read_text("utf-8"))) or ""
        rows.append(f"| [`{name}`]({Path(page).name}) | {about.partition(chr(10))[0]} |\n")
        # The public names of `coda_keras` are those of its modules.
        files.append(File.generated(config, page, content=f"# {name}\n\n::: {name}\n"))
    index = File.generated(config, "reference/index.md", content=HEAD + "".join(rows))
    files.append(index)
    return files


def modules():
    """The modules and packages directly in the library, in the order of their names."""
    found = [path for path in LIBRARY.glob("*.py") if not path.name.startswith("_")]
    found += [path.parent for path in LIBRARY.glob("*/__init__.py")]
    return sorted(found)
