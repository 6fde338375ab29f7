"""The parser of all commands, the numbers that it reads, and how commands end."""

import os
import sys

import pytest

from coda_keras.utils.command_line import (
    Parser,
    command,
    integer,
    non_negative_number,
    positive_int,
    positive_number,
    seconds,
    tensorflow_command,
)
from coda_keras.utils.text import listed, short

OOM = "OOM when allocating tensor with shape"
# Like that of TensorFlow.
Full = type("ResourceExhaustedError", (Exception,), {})


def refused(read, text, capsys):
    """What a parser says of a value of `--n`."""
    parser = Parser(prog="some.py")
    parser.add_argument("--n", type=read)
    with pytest.raises(SystemExit) as end:
        parser.parse_args([f"--n={text}"])
    assert end.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-3", "2.5", "many", f"1{23 * '0'}"])
def test_counts_are_positive_whole_numbers(text, capsys):
    parser = Parser(prog="some.py")
    parser.add_argument("--n", type=positive_int)
    assert parser.parse_args(["--n", "3"]).n == 3
    assert refused(positive_int, text, capsys) == (
        f"some.py: error: argument --n: expected a whole number from 1 to 1000000000, "
        f"received '{text}' (--help lists the options)\n"
    )


@pytest.mark.parametrize(
    ("read", "text", "value", "wrong"),
    [
        (positive_number, "1e-3", 1e-3, ["0", "-1", "nan", "inf", "much"]),
        (non_negative_number, "0", 0.0, ["-1", "nan", "inf", "much"]),
        (integer(0, 9), "9", 9, ["10", "-1", "07", "1_0", "٣", "1.5"]),
        (seconds, "0.5", 0.5, ["0", "nan", "604801", "soon"]),
    ],
)
def test_numbers_are_of_their_range(read, text, value, wrong, capsys):
    assert read(text) == value
    for other in wrong:
        assert refused(read, other, capsys).startswith("some.py: error: argument --n: ")


def test_options_are_written_out(capsys):
    parser = Parser(prog="some.py")
    parser.add_argument("--epochs")
    for line, said in ((["--epoch", "3"], "--epoch 3. Did you mean --epochs?"), (["-x"], "-x.")):
        with pytest.raises(SystemExit) as end:
            parser.parse_args(line)
        assert end.value.code == 2
        assert f"unrecognized arguments: {said} (--help" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("Not\n so."), "Not so."),
        (FileNotFoundError("Not so."), "Not so."),
        (ImportError("Not so."), "Not so."),
        (FloatingPointError(), "FloatingPointError"),
        (OverflowError("Not so."), "Not so."),
        (Full("Not\n so."), "Not so."),
        (Full("In a graph\nOOM when allocating tensor with shape[2,3] and"), f"{OOM}[2,3]"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(error, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["recipes/some.py"])

    @command
    def main(arguments=None, prog=None):
        raise error

    for prog in (None, "coda-keras some"):
        with pytest.raises(SystemExit) as end:
            main(None, prog)
        assert end.value.code == 2
        assert capsys.readouterr().err == f"{prog or 'some.py'}: error: {said}\n"


def test_an_interruption_says_how_to_go_on(capsys):
    @command
    def main(arguments=None, prog=None):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert "goes on where it stopped" in capsys.readouterr().err


def test_errors_may_have_an_exit_code_of_their_own(capsys):
    ended = KeyboardInterrupt("Go on.")
    ended.exit_code = 143

    @command
    def main(arguments=None, prog=None):
        raise ended

    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 143
    assert capsys.readouterr().err == "\nGo on.\n"


def test_other_errors_keep_their_traceback():
    @command
    def main(arguments=None, prog=None):
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        main()


def test_a_command_gets_the_arguments_that_it_is_given():
    given = []

    @command
    def main(arguments=None, prog=None):
        given.append((arguments, prog))

    main()
    main(["--n", "3"], prog="coda-keras some")
    assert given == [(None, None), (["--n", "3"], "coda-keras some")]


def test_commands_run_on_tensorflow_unless_the_environment_says_otherwise(monkeypatch):
    chosen = []

    @command
    def any_backend(arguments=None, prog=None):
        chosen.append(os.environ["KERAS_BACKEND"])

    @tensorflow_command
    def one_backend(arguments=None, prog=None):
        chosen.append((os.environ["KERAS_BACKEND"], arguments, prog))

    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    any_backend()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    any_backend()
    one_backend(["--n"], prog="some")
    assert chosen == ["tensorflow", "jax", ("tensorflow", ["--n"], "some")]


@pytest.mark.parametrize(
    ("name", "default"), [("TF_CPP_MIN_LOG_LEVEL", "3"), ("TF_ENABLE_ONEDNN_OPTS", "1")]
)
def test_commands_choose_messages_and_kernels_of_tensorflow_unless_set(name, default, monkeypatch):
    values = []

    @command
    def main(arguments=None, prog=None):
        values.append(os.environ[name])

    monkeypatch.delenv(name, raising=False)
    main()
    monkeypatch.setenv(name, "0")
    main()
    assert values == [default, "0"]


def test_lists_are_cut_short():
    assert listed("abc") == "a, b, c"
    assert listed([]) == "none"
    assert listed(map(str, range(12))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
    assert listed("abcd", most=2, separator="; ") == "a; b and 2 more"
    assert listed(["x" * 41]) == f"{'x' * 40}... (41 characters)"
    assert listed(["x" * 41], longest=None) == "x" * 41
    assert short("a\n b") == "a b"
    assert short("x" * 99, 9) == "xxxxxxxxx... (99 characters)"
