import io
import re

import pytest

from coda_keras.utils import progress
from coda_keras.utils.progress import ProgressBar, tracked

pytestmark = pytest.mark.once


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr("tqdm.std.time", clock.monotonic)
    return clock


@pytest.fixture
def stderr(monkeypatch):
    """What takes the place of `sys.stderr`."""

    def replace(file):
        monkeypatch.setattr("sys.stderr", file)
        return file

    return replace


def test_a_terminal_shows_a_bar_with_a_rate_and_the_time_left(stderr, clock):
    terminal = stderr(Terminal())
    for _ in tracked(range(3), "explaining", "image"):
        clock.now += 2
    shown = terminal.getvalue()
    assert re.search(r"\rexplaining:  33%\|.*\| 1/3 \[00:02<00:04, +2.00s/ image\]", shown), shown
    assert "\n" not in shown and shown.endswith("\r")


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_short_work_shows_nothing(kind, stderr, clock):
    terminal = stderr(kind())
    for _ in tracked(iter("ab"), "explaining", "image"):
        clock.now += 0.3
    assert not terminal.getvalue()


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_work_inside_other_work_has_no_bar_of_its_own(kind, stderr, clock):
    file = stderr(kind())
    for _ in tracked(range(2), "outside", "grid"):
        for _ in tracked(range(3), "inside", "image"):
            clock.now += 40
    for _ in tracked(range(2), "afterwards", "grid"):
        clock.now += 40
    shown = file.getvalue()
    assert "outside" in shown and "afterwards" in shown and "inside" not in shown


def test_what_is_not_shown_leaves_room_for_what_is(stderr, clock):
    terminal = stderr(Terminal())
    for _ in tracked(range(2), "outside", "grid", shown=False):
        for _ in tracked(range(3), "inside", "image"):
            clock.now += 2
    assert "inside" in terminal.getvalue() and "outside" not in terminal.getvalue()


def test_a_file_gets_a_line_now_and_then(stderr, clock):
    log = stderr(io.StringIO())
    with ProgressBar("explaining", "image", total=4000, done=1000) as bar:
        for _ in range(3000):
            clock.now += 0.5
            bar.update()
    lines = log.getvalue().split("\n")
    assert "\r" not in log.getvalue()
    assert lines[0] == "explaining: 1060/4000 (26%), 2 image/s, 24 min 30 s left"
    assert lines[-2:] == ["explaining: 4000 in 25 min 0 s", ""]
    # Every 30 s in the first ten minutes, then less often.
    assert 20 + 10 < len(lines) < 25 * 2


def test_slow_work_of_unknown_length_says_how_long_one_takes(stderr, clock):
    log = stderr(io.StringIO())
    for _ in tracked((run for run in range(3)), "training", "run"):
        clock.now += 50
    assert log.getvalue().split("\n")[0] == "training: 1, 50 s/run"


def test_what_fails_does_not_say_that_it_is_done(stderr, clock):
    log = stderr(io.StringIO())
    with pytest.raises(ValueError), ProgressBar("explaining", "image", total=2) as bar:
        clock.now += 50
        bar.update()
        raise ValueError
    assert log.getvalue() == "explaining: 1/2 (50%), 50 s/image, 50 s left\n"
    # And the next work has a bar again.
    with ProgressBar("anew", "image", total=2) as bar:
        clock.now += 50
        bar.update()
    assert "anew: 1/2" in log.getvalue()


def test_lines_stand_above_the_bar(stderr, capsys):
    with ProgressBar("runs", "run", total=2) as bar:
        bar.say("first: 91%")
    assert capsys.readouterr().out == "first: 91%\n"
