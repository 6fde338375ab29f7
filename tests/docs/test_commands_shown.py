"""Commands and code that pages show: options exist, files are there, Python runs as printed."""

import re
import runpy
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from coda_keras.commands.table import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
# They go on from what a page says in words, need a server, or data that is not here.
FRAGMENTS = {
    "docs/captum.md": "torch",
    "docs/guides/backends.md": "a data set",
    "docs/guides/client.md": "a server",
    "docs/guides/export.md": "runtimes",
    "docs/interpretation.md": "a run",
    "docs/scaling.md": "several workers",
    "README.md": "test_readme.py",
}


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.M)


def command_lines(page):
    """The lines of commands that a page shows, in words."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    shown = [
        line
        for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.M)
        for line in block.splitlines()
    ]
    shown += re.findall(r"`(coda-keras [^`]+|python [^`]+\.py[^`]*)`", text)
    for line in shown:
        found = re.search(r"(?:^|\s)(coda-keras|python (?:recipes|export)/\w+\.py)(?= )", line)
        if found and "…" not in line and "COMMAND" not in line and "NAME.py" not in line:
            # Of scripts with quotes around many lines the words will do.
            words = line[found.start(1) :]
            yield (
                words.split()
                if words.count("'") % 2 or words.count('"') % 2
                else shlex.split(words)
            )


@pytest.fixture(scope="module")
def helped():
    """What `--help` of a command prints, by its name."""
    printed = {}

    def text(command, capsys):
        if command.name not in printed:
            module, function = command.target.split(":")
            with pytest.raises(SystemExit):
                getattr(import_module(module), function)(["--help"], command.name)
            printed[command.name] = capsys.readouterr().out
        return printed[command.name]

    return text


def find(words):
    """The command that words of a line name, and the words after it."""
    if words[0] == "python":
        name = Path(words[1]).stem
        (command,) = [row for row in COMMANDS if f".{name}:" in row.target]
        return command, words[2:]
    matching = [row for row in COMMANDS if words[1 : 1 + len(row.name.split())] == row.name.split()]
    assert matching, f"there is no command {' '.join(words[:3])}"
    return matching[0], words[1 + len(matching[0].name.split()) :]


@pytest.mark.once
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_options_of_commands_exist(page, helped, capsys):
    for words in command_lines(page):
        if words == ["coda-keras", "--help"]:
            continue
        command, rest = find(words)
        known = helped(command, capsys)
        if command.name == "sweep":
            # It hands other flags on to recipes.
            known += helped(find(["coda-keras", "train", "cifar10"])[0], capsys)
        for word in rest:
            if word.startswith("--"):
                option = re.escape(word.partition("=")[0])
                assert re.search(rf"{option}\b", known), f"{command.name} has no {word}: {words}"


@pytest.mark.once
def test_commands_work_from_a_wheel_too():
    """Files of a clone stand in sentences only, but for the one that README keeps."""
    pattern = r"^ *python (?:recipes|export)/\w+\.py.*"
    shown = {page: re.findall(pattern, page.read_text("utf-8"), re.M) for page in PAGES}
    assert shown.pop(ROOT / "README.md") == ["python recipes/cifar10.py"]
    assert not any(shown.values())


@pytest.mark.once
@pytest.mark.process
@pytest.mark.tensorflow
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_runs_as_printed(page, tmp_path, monkeypatch):
    code = blocks(page, "python")
    if not code:
        pytest.skip("no Python")
    if (name := page.relative_to(ROOT).as_posix()) in FRAGMENTS:
        pytest.skip(f"needs {FRAGMENTS[name]}")
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "page.py"
    script.write_text("\n\n".join(code))
    runpy.run_path(str(script))


@pytest.mark.once
def test_files_named_exist():
    pattern = r"(?<![\w/.-])((?:recipes|export|docs|benchmarks|coda_keras|tests)/[\w/-]+\.\w+)"
    named = {name for page in PAGES for name in re.findall(pattern, page.read_text("utf-8"))}
    assert len(named) > 20
    missing = sorted(
        name for name in named if not (ROOT / name).exists() and not name.endswith("NAME.py")
    )
    assert not missing


@pytest.mark.once
@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files_without_the_site_too(name):
    text = re.sub(r"```.*?```", "", (ROOT / name).read_text("utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)\s#]+)", text)
    assert not [link for link in links if not ((ROOT / name).parent / link).exists()]
