"""Pages that are made when the site is built, and links into the repository.

The API reference has a page for every module and package of the library, the page of commands the
options of every command as its parser has them, and the model zoo the cards of the presets.
"""

import ast
import contextlib
import io
import json
import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "coda_keras"
API = "# API\n\nNames of `coda_keras` itself:\n\n| name | what it is |\n|---|---|\n"
TIMES = "benchmarks/results/presets.json"
WIDE = "1000"  # columns, so that an option and its help stand in a line each
# Outputs of a notebook's cell that have only lines of a log.
STARTUP = re.compile(
    r'<div class="jp-OutputArea-child">\s*<div class="jp-OutputPrompt[^>]*></div>\s*'
    r'<div [^>]*data-mime-type="application/vnd.jupyter.stderr"[^>]*>\s*'
    r"<pre>(?:(?:WARNING: All log messages|[IEW]\d{4} |To enable the following)[^\n]*\n)+</pre>"
    r"\s*</div>\s*</div>"
)
PAGE = re.compile(r'(?<=href=")(?!https?:)([^"#]+)\.md(?=["#])')
LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_config(config: Any) -> Any:
    """Lists the modules below the API; a project with a public address has links to its source."""
    (reference,) = [part["Reference"] for part in config.nav if "Reference" in part]
    (entry,) = [entry for entry in reference if "API" in entry]
    entry["API"] = ["reference/api.md", *(page for page in api() if page != "reference/api.md")]
    if address := repository():
        config.repo_url, config.edit_uri = address, "edit/main/docs/"
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages; mkdocs calls it by its name."""
    made = {**api(), "reference/command-line.md": commands(), "reference/presets.md": presets()}
    for page, content in made.items():
        # What stands there in the repository is for those who read it without the site.
        if (short := files.get_file_from_path(page)) is not None:
            files.remove(short)
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Leads links to files of the repository that are no pages to where they can be read.

    That is the project's address where its metadata has one; without one the name is shown.
    """
    address = repository()
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def target(found):
        path = (folder / found[1]).resolve()
        if not path.is_relative_to(ROOT) or not path.exists():
            # Also pages that are made: mkdocs says whether they are there.
            return found[0]
        inside = path.is_relative_to(ROOT / "docs")
        uri = path.relative_to(ROOT / "docs").as_posix() if inside else ""
        file = files.get_file_from_path(uri)
        if (file and file.inclusion.is_included()) or not re.search(r"[.\w]", uri or "x"):
            return found[0]
        name = path.relative_to(ROOT).as_posix()
        return f"{address}/blob/main/{name}" if address else f"repository:{name}"

    text = LINK.sub(target, markdown)
    if page.file.src_uri == "tutorials/index.md":
        text += colab(address)
    return re.sub(r"\[([^\]]*)\]\(repository:([^)\s]+)\)", r"\1 (`\2` in the repository)", text)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Leads links of notebooks to pages, which mkdocs does in Markdown only.

    Leaves out what TensorFlow writes when it is imported, which no log level stops.
    """
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    return PAGE.sub(r"\1.html", STARTUP.sub("", html))


def colab(address: str | None) -> str:
    """Links that open the notebooks in Colab, which takes them from GitHub."""
    path = (address or "").partition("https://github.com/")[2]
    names = sorted(file.stem for file in (ROOT / "docs/tutorials").glob("*.ipynb"))
    links = (
        f"[{name}](https://colab.research.google.com/github/{path}/blob/main/docs/tutorials/{name}.ipynb)"
        for name in names
    )
    return f"\n\nOpen the notebooks in Colab: {', '.join(links)}.\n" if path else ""


def repository() -> str | None:
    """The public address of the source, of the project's metadata; None where it has none."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    found = re.search(r"^(?:Repository|Source) *= *\"(https?://[^\"]+)\"", text, re.M)
    return found[1].rstrip("/") if found else None


def api() -> dict[str, str]:
    """A page for every module, and their list."""
    made, rows = {}, []
    for source in modules():
        name = f"{LIBRARY.name}.{source.stem if source.is_file() else source.name}"
        page = f"reference/{name.partition('.')[2]}.md"
        text = source if source.is_file() else source / "__init__.py"
        about = ast.get_docstring(ast.parse(text.read_text("utf-8"))) or ""
        rows.append(f"| [`{name}`]({Path(page).name}) | {about.partition(chr(10))[0]} |\n")
        # The public names of `coda_keras` are those of its modules.
        options = "    options:\n      heading_level: 1\n"
        made[page] = f"---\ntitle: {name}\n---\n\n::: {name}\n{options}"
    head = "\nAll modules:\n\n| module | what it holds |\n|---|---|\n"
    made["reference/api.md"] = (
        f"{API}{''.join(sorted(public_names(), key=str.lower))}{head}{''.join(rows)}"
    )
    return made


def public_names() -> Iterator[str]:
    """Rows of a table: public names with docstrings, and the first lines of these."""
    for node in ast.parse((LIBRARY / "__init__.pyi").read_text("utf-8")).body:
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        (name,) = (alias.name for alias in node.names)
        source = LIBRARY / node.module.replace(".", "/")
        if (source / name).is_dir():
            found = ast.parse((source / name / "__init__.py").read_text("utf-8"))
        else:
            tree = ast.parse(source.with_suffix(".py").read_text("utf-8"))
            kinds = (ast.FunctionDef, ast.ClassDef)
            found = next((n for n in tree.body if isinstance(n, kinds) and n.name == name), None)
        if found and (about := ast.get_docstring(found)):
            first = about.partition("\n")[0]
            yield f"| [`{name}`][coda_keras.{node.module}.{name}] | {first} |\n"


def modules() -> list[Path]:
    """The modules and packages directly in the library, in the order of their names."""
    found = [path for path in LIBRARY.glob("*.py") if not path.name.startswith("_")]
    found += [path.parent for path in LIBRARY.glob("*/__init__.py")]
    return sorted(found)


def commands() -> str:
    """Every command with its options, as `--help` prints them."""
    from coda_keras.commands.table import COMMANDS

    head = (
        "# Commands\n\n`coda-keras COMMAND` works wherever the package is installed. In a clone "
        "`python recipes/NAME.py` and `python export/NAME.py` call the same functions. "
        "`coda-keras COMMAND --help` prints what this page shows, and `KERAS_BACKEND` names the "
        "backend of a training.\n"
    )
    return "\n".join([head, *(described(command) for command in COMMANDS)])


def described(command: Any) -> str:
    """The section of a command."""
    prog = f"coda-keras {command.name}"
    _, *blocks = helped(command, prog).split("\n\n")
    # Blocks of options have a heading, the last line before indented ones.
    about = [block for block in blocks if not heading(block)]
    lines = [f"## {prog}", "", "\n\n".join(about), ""]
    for block in filter(heading, blocks):
        title, *entries = block.splitlines()
        rows = list(options(entries))
        if rows:
            lines += [f"**{title.rstrip(':').capitalize()}**", "", "| | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def helped(command: Any, prog: str) -> str:
    """What `--help` prints."""
    module, function = command.target.split(":")
    printed, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDE
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            getattr(import_module(module), function)(["--help"], prog)
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return printed.getvalue()


def heading(block: str) -> bool:
    """Whether a block of a help text is a heading and its options."""
    lines = block.splitlines()
    return bool(re.match(r"\S.*:$", lines[0])) and all(line[:2] == "  " for line in lines[1:])


def options(lines: list[str]) -> Iterator[str]:
    """Rows of a table: an option, and what it does."""
    entries = []
    for line in lines:
        found = re.match(r"  (\S.*?)(?:  +(.*))?$", line)
        if found:
            entries.append([found[1], found[2] or ""])
        elif entries:
            entries[-1][1] += f" {line.strip()}"
    for name, text in entries:
        if not name.startswith("-h, "):
            escaped = re.sub(r"([|<>*_\[\]])", r"\\\1", text.strip())
            yield f"| `{name.replace('|', chr(92) + '|')}` | {escaped} |"


def presets() -> str:
    """The model zoo: every trained preset by its card, and the sizes of the untrained ones."""
    from coda_keras.models.presets import PRESETS
    from coda_keras.models.pretrained import cards

    timed = json.loads((ROOT / TIMES).read_text("utf-8"))
    times = {row["preset"]: row["milliseconds_per_image"] for row in timed["results"]}
    machine = f"{timed['hardware']['processor']}, {timed['hardware']['cores']} cores"
    parts = [
        "# Model zoo\n",
        'Nets that come with the package: `CoDANet.from_preset("NAME")`, or `--model NAME` of a '
        "command. All numbers are those of their cards, which `coda-keras evaluate --model NAME` "
        "repeats, and the times are those of `python benchmarks/presets.py`.\n",
    ]
    for name, card in cards().items():
        if name not in times:
            raise PluginError(f"{TIMES} has no times of {name}: run benchmarks/presets.py.")
        parts.append(zoo_entry(card, times[name], machine))
    parts += [
        "## Untrained sizes\n",
        "The networks of the paper's Table C.1, with initial weights. `rank_scale` changes all "
        "ranks, `classes` the last layer.\n",
        "| preset | in the paper | parameters | images | classes |\n|---|---|---|---|---|",
        *(
            f"| `{name}` | {size.label} | {size.parameters:,} | {size.image_size}x"
            f"{size.image_size} | {size.filters[-1]} |"
            for name, size in PRESETS.items()
        ),
        "",
        *(f"`{name}`: {size.note}\n" for name, size in PRESETS.items() if size.note),
    ]
    return "\n".join(parts)


def zoo_entry(card: Any, times: dict, machine: str) -> str:
    """The section of a trained preset."""
    details = card.details
    scores, training, storage = details["scores"], details["training"], details["storage"]
    hardware = training["hardware"]
    recipe = as_command(details["recipe"])
    facts = {
        "classes": ", ".join(card.class_names),
        "trained and tested on": f"{details['data']['name']}, {details['data']['note']}",
        "test accuracy": f"{card.test_accuracy:.2%} of {scores['test_images']:,} images",
        "localisation": f"{card.localisation:.3f} on {scores['grids']} grids (chance 0.111)",
        "localisation by the authors' rule": (
            f"{scores['published_rule_localisation']:.3f} on {scores['published_rule_grids']} grids"
        ),
        "largest completeness error": f"{scores['completeness_error']:.1e}",
        "parameters": f"{card.parameters:,}",
        "size": f"{storage['bytes'] / 1e6:.1f} MB as {storage['dtype']}",
        "a prediction": speed(times["predict"], machine),
        "with its explanation": speed(times["explain"], machine),
        "temperature T": f"{card.temperature:g}",
        "last training" if card.fine_tuned else "training": (
            f"`{recipe}`: {training['epochs']} epochs, "
            f"{training['images_seen']:,} images, {training['seconds'] / 60:.0f} minutes on "
            f"{hardware['cores']} cores ({', '.join(hardware['gpus']) or hardware['processor']})"
        ),
        **({"selection": details["selection"]} if "selection" in details else {}),
        **({"teacher": teacher_facts(details["teacher"])} if "teacher" in details else {}),
        "licence": details["licence"],
        "intended use": details["intended_use"],
        "limits": details["limits"],
        "SHA-256 of the weights": f"`{card.sha256}`",
    }
    lines = [f"## {card.name}\n", f"{card.description}.\n"]
    lines += [f"![Photographs, contribution maps and weights](../images/presets/{card.name}.png)\n"]
    lines += ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items()), ""]
    return "\n".join(lines)


def teacher_facts(teacher: dict[str, Any]) -> str:
    """What a card says of the teacher of its net."""
    images = "training images held out from it" if teacher["held_out"] else "test images"
    return (
        f"`{as_command(teacher['recipe'])}`: {teacher['accuracy']:.2%} of {teacher['images']:,} "
        f"{images}, with six views {teacher['six_view_accuracy']:.2%}; "
        f"{teacher['training_seconds'] / 60:.0f} minutes, and "
        f"{teacher['seconds_of_logits'] / 60:.0f} for its logits"
    )


def as_command(recipe: str) -> str:
    """The command that does the same as a call of a recipe's script."""
    return re.sub(r"python recipes/(\w+)\.py", r"coda-keras train \1", recipe)


def speed(times: dict[str, float], machine: str) -> str:
    """Times by the size of batches, as a cell of a table."""
    each = ", ".join(f"{value:.1f} ms per image in batches of {n}" for n, value in times.items())
    return f"{each} ({machine})"
