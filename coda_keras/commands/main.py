"""`coda-keras COMMAND ...`: the commands of the table by their names."""

import sys
from collections.abc import Sequence
from importlib import import_module

from coda_keras import __version__
from coda_keras.commands.table import COMMANDS, TRAIN, Command
from coda_keras.utils.command_line import quiet_when_unread
from coda_keras.utils.text import nearest

PROG = "coda-keras"


@quiet_when_unread()
def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command that the command line names.

    Args:
        arguments: the command and its own arguments; None for those of this process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if words == ["--version"]:
        print(__version__)
        return
    trainings = [command for command in COMMANDS if command.name.startswith(f"{TRAIN} ")]
    others = [command for command in COMMANDS if command not in trainings]
    if words[0] in ("-h", "--help"):
        overview = Command(TRAIN, "", f"Trains a net by a recipe; `{PROG} {TRAIN}` lists them.")
        _tell("COMMAND", [overview, *others])
        print(f"\nIn a clone `python recipes/NAME.py` is `{PROG} NAME`, or `{PROG} {TRAIN} NAME`.")
    elif words[0] != TRAIN:
        _run(_named("command", words[0], others, words[0]), words[1:])
    elif words[1:2] in ([], ["-h"], ["--help"]):
        _tell(f"{TRAIN} RECIPE", trainings)
    else:
        _run(_named("recipe", words[1], trainings, f"{TRAIN} {words[1]}"), words[2:])


def _run(command: Command, arguments: list[str]) -> None:
    """Imports the function of a command and calls it under the name that was typed."""
    module, function = command.target.split(":")
    getattr(import_module(module), function)(arguments, f"{PROG} {command.name}")


def _named(kind: str, word: str, commands: list[Command], name: str) -> Command:
    """The command of that name; ends the program if there is none."""
    for command in commands:
        if command.name == name:
            return command
    names = [_word(command) for command in commands]
    names += [TRAIN] if kind == "command" else []
    names.sort()
    print(
        f"{PROG}: error: there is no {kind} {word!r}.{nearest(word, names)} "
        f"Expected one of {', '.join(names)}.",
        file=sys.stderr,
    )
    sys.exit(2)


def _tell(usage: str, commands: list[Command]) -> None:
    """Prints the names of commands with what they do."""
    width = max(len(_word(command)) for command in commands)
    print(f"usage: {PROG} {usage} ...; each has a --help of its own\n")
    for command in commands:
        print(f"  {_word(command):{width}}  {command.help}")


def _word(command: Command) -> str:
    return command.name.rpartition(" ")[2]
