"""The command `coda-keras`: its table, what every command says at once, and mistakes."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import coda_keras
from coda_keras.commands import main as commands
from coda_keras.commands.table import COMMANDS

pytestmark = pytest.mark.once
ROOT = Path(__file__).resolve().parents[2]
FRAMEWORKS = {"keras", "tensorflow", "jax", "torch"}
ONCE = """
import contextlib, io, sys
from coda_keras.commands.main import main
for words in {lines!r}:
    with contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main(words)
        except SystemExit as end:
            print("ended", end.code, err.getvalue().strip(), flush=True)
print("imported", *sorted({{name.partition(".")[0] for name in sys.modules}}))
"""

WRONG = """
from coda_keras.utils.command_line import command

@command
def main(arguments=None, prog=None):
    print("told so far")
    raise ValueError("wrong")

main([], "some")
"""
UNLESS_WINDOWS = pytest.mark.skipif(os.name == "nt", reason="a closed pipe is another error there")


def called(*words):
    return subprocess.run(
        [sys.executable, "-m", "coda_keras", *words], capture_output=True, text=True
    )


@pytest.mark.parametrize("command", COMMANDS, ids=[command.name for command in COMMANDS])
def test_help_and_mistakes_need_no_framework(command):
    words = command.name.split()
    lines = [[*words, "--help"], [*words, "--hepl"]]
    done = subprocess.run(
        [sys.executable, "-c", ONCE.format(lines=lines)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: coda-keras {command.name} " in done.stdout
    # An example that works from a wheel too.
    assert f"\n    coda-keras {command.name}" in done.stdout
    *_, first, second, imported = done.stdout.splitlines()
    assert first == "ended 0 "
    assert second.startswith(f"ended 2 coda-keras {command.name}: error: ")
    assert FRAMEWORKS & set(imported.split()) == set()


def test_overviews_and_mistakes_import_nothing():
    lines = [[], ["--help"], ["train"], ["train", "--help"], ["bake"], ["train", "bread"]]
    done = subprocess.run(
        [sys.executable, "-c", ONCE.format(lines=lines)], capture_output=True, text=True
    )
    imported = set(done.stdout.splitlines()[-1].split())
    assert not (FRAMEWORKS | {"numpy", "coda_keras_recipes", "coda_keras_export"}) & imported
    assert done.stdout.count("ended 2") == 2


def unread(*words, **environment):
    """Runs Python with an output that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, *words],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    os.close(writing)
    return done


@UNLESS_WINDOWS
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["--help"], ["train"], ["evaluate", "--help"], ["experiments"]])
def test_output_that_nobody_reads_is_no_error(words, unbuffered):
    done = unread("-m", "coda_keras", *words, PYTHONUNBUFFERED=unbuffered)
    assert done.stderr == ""
    # argparse ignores that its help could not be written.
    assert done.returncode == (0 if "evaluate" in words and unbuffered else 141)


@UNLESS_WINDOWS
def test_errors_are_told_when_nobody_reads_the_output():
    done = unread("-c", WRONG, PYTHONUNBUFFERED="")
    assert (done.stderr, done.returncode) == ("some: error: wrong\n", 141)


@pytest.mark.parametrize("command", COMMANDS, ids=[command.name for command in COMMANDS])
def test_targets_are_functions_of_recipes_and_export(command):
    module, function = command.target.split(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert command.help.endswith(".") and len(command.help) < 100


def test_every_recipe_is_a_command():
    recipes = (ROOT / "recipes").glob("[a-z]*.py")
    scripts = {path.stem for path in recipes if "\ndef main(" in path.read_text("utf-8")}
    targets = {command.target.partition(":")[0] for command in COMMANDS}
    assert scripts == {
        target.rpartition(".")[2] for target in targets if target.startswith("coda_keras_recipes.")
    }


def test_names_and_help_are_listed(capsys):
    commands.main([])
    everything = capsys.readouterr().out
    commands.main(["train"])
    trainings = capsys.readouterr().out
    for command in COMMANDS:
        shown = trainings if command.name.startswith("train ") else everything
        assert f"  {command.name.removeprefix('train ')} " in shown and command.help in shown
    assert "  train " in everything and "digits" not in everything.split("explain")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["explian"], "command 'explian'. Did you mean explain? Expected one of accept, ask, "),
        (["bake"], "there is no command 'bake'. Expected one of accept, ask, demo, "),
        (["trian"], "Did you mean train?"),
        (["train", "digit"], "there is no recipe 'digit'. Did you mean digits? Expected one of "),
    ],
)
def test_names_that_are_none_are_told_with_those_there_are(words, said, capsys):
    with pytest.raises(SystemExit) as end:
        commands.main(words)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("coda-keras: error: ") and said in line


def test_a_module_is_called_as_the_command_is():
    assert called("--version").stdout == f"{coda_keras.__version__}\n"
    mistake = called("serve", "--models", "nowhere")
    assert mistake.returncode == 2
    assert mistake.stderr.startswith("coda-keras serve: error: There is no servable in nowhere")


def test_a_script_is_called_by_its_file():
    script = [sys.executable, ROOT / "recipes/explain.py"]
    shown = subprocess.run([*script, "--help"], capture_output=True, text=True)
    assert shown.stdout.startswith("usage: explain.py ")
    mistake = subprocess.run([*script, "--model", "none", "no.png"], capture_output=True, text=True)
    assert mistake.returncode == 2
    assert mistake.stderr == "explain.py: error: There is no image file no.png.\n"
