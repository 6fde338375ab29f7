"""Commands in an installation without extras: what they need is told, what needs nothing runs."""

import pytest
from installation import python, without

from coda_keras import examples
from coda_keras.commands.table import COMMANDS
from coda_keras.utils.extras import EXTRAS

pytestmark = pytest.mark.process

ALL = """
import contextlib, io, sys
from coda_keras.commands.main import main
for words in {lines!r}:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
        try:
            main(words)
        except SystemExit as end:
            told = (err.getvalue() + out.getvalue()).strip().replace(chr(10), "|")
            print(end.code, told, file=sys.__stdout__)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The packages of an installation without extras; a few that TensorFlow brings are missing."""
    folder = tmp_path_factory.mktemp("site")
    absent = [module for modules in EXTRAS.values() for module in modules]
    without(folder, *absent, "anywidget", "jax", "torch")
    return folder


def test_help_and_mistakes_need_no_extra(site, tmp_path):
    words = [command.name.split() for command in COMMANDS]
    lines = [[*name, flag] for name in words for flag in ("--help", "--hepl")]
    done = python(site, "-c", ALL.format(lines=lines), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert len(answers) == len(lines)
    for line, answer in zip(lines, answers):
        expected = "0 usage: " if line[-1] == "--help" else "2 coda-keras "
        assert answer.startswith(expected), answer


def test_a_command_whose_extra_is_absent_says_what_to_type(site, tmp_path):
    image = str(examples.paths()[0])
    lines = {
        ("serve", "--models", "."): "serve",
        ("package", "--model", "s_coda_cifar10", "--out", "out", "--name", "a"): "serve",
        ("ask", "--model", "a", image): "serve",
        ("accept", "localhost:1", "a"): "serve",
        ("explore", "--server", "localhost:1", "--model", "a", image): "serve",
        ("train", "cifar10", "--output", "run"): "train",
        ("train", "resnet56", "--output", "run"): "train",
        ("evaluate", "--model", "s_coda_cifar10"): "train",
        ("explain-data", ".", "--model", "s_coda_cifar10", "--out", "out"): "parquet",
        ("sweep", "s_coda_sq_t10", "--ray", "--output", "out"): "cluster",
    }
    done = python(site, "-c", ALL.format(lines=[list(line) for line in lines]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert len(answers) == len(lines)
    for (line, extra), answer in zip(lines.items(), answers):
        assert answer.startswith("2 coda-keras "), answer
        assert answer.partition("|")[2] == "" and f"'coda-keras[{extra}]'" in answer, (line, answer)
    assert not (tmp_path / "out").exists() and not (tmp_path / "run").exists()


def test_images_are_explained_without_extras_and_without_a_model(site, tmp_path):
    (tmp_path / "photo.png").symlink_to(examples.paths()[0])
    done = python(site, "-m", "coda_keras", "explain", "photo.png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert "s_coda_quarter_cifar10" in first and second.startswith("photo.png: airplane ")
    assert (tmp_path / "explained/photo.png").is_file()
