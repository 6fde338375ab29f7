"""What the commands answer before they do anything."""

import contextlib
import io
import os
import sys

import pytest
from coda_keras_export import accept, client, package, serve
from processes import run_in_new_python

from coda_keras.utils import processors

COMMANDS = (accept, client, package, serve)


def say(command, *arguments):
    """Runs a command that ends at once; returns its exit code and what it said."""
    told = io.StringIO()
    output, errors = contextlib.redirect_stdout(told), contextlib.redirect_stderr(told)
    with output, errors, pytest.raises(SystemExit) as end:
        command.main(list(arguments), prog="coda-keras it")
    return end.value.code, told.getvalue()


def ask_all():
    for command in COMMANDS:
        code, told = say(command, "--help")
        assert (code, told.startswith("usage: coda-keras it ")) == (0, True), told
        code, told = say(command, "--verson", "1")
        assert (code, told.count("\n")) == (2, 1), told
        assert told.startswith("coda-keras it: error: ")
    missing = ["--models", "/nowhere"]
    for code, told in (
        say(serve, *missing),
        say(serve, *missing, "--version-policy", "newest"),
        say(client, "--model", "tiny", "/nowhere.png"),
        say(package, "--model", "x.keras", "--out", "out", "--name", "a/b"),
        say(package, "--model", "x.keras", "--out", "out", "--name", "a", "--version", "0"),
    ):
        assert (code, told.count("\n")) == (2, 1), told
    assert not {name.partition(".")[0] for name in sys.modules} & {"keras", "tensorflow"}


def test_help_and_mistakes_need_no_keras():
    run_in_new_python(ask_all)


def test_rest_is_told_to_be_the_stock_servers():
    _, shown = say(serve, "--help")
    assert "REST is the stock server's: " in " ".join(shown.split())
    code, told = say(serve, "--models", "/nowhere", "--rest_api_port=8501")
    assert (code, told.count("\n")) == (2, 1)
    assert "gRPC. REST is the stock server's: " in told


def test_the_server_starts_where_systems_tell_no_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert processors.cores() == os.cpu_count()
    code, told = say(serve, "--help")
    assert (code, f"at once ({os.cpu_count()})" in " ".join(told.split())) == (0, True)
