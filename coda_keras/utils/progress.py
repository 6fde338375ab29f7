"""How long work shows itself: one bar on a terminal, a line now and then in a log file.

Work inside other work that has a bar shows none of its own.
"""

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from operator import length_hint
from types import TracebackType
from typing import Any, TextIO, TypeVar

Item = TypeVar("Item")

# Shorter work shows no bar, and no line in a log.
BAR_SECONDS, LINE_SECONDS = 1.0, 30.0
# Of the time passed, that passes between two lines once this is more than `LINE_SECONDS`.
LINE_SHARE = 0.05
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]"

_open = threading.local()


class ProgressBar:
    """The progress of some work, as a context: a bar with a rate and the time left, or lines.

    Args:
        label: str, what is being done.
        unit: str, what is counted, such as "image".
        total: int, how many there are, or None where that is not known.
        done: int, how many of them were done before.
        shown: bool, whether to show anything.
        file: text file to write to; None for `sys.stderr`.

    Example:

    >>> with ProgressBar("explaining", "image", total=2) as progress:
    ...     progress.update()
    """

    def __init__(
        self,
        label: str,
        unit: str,
        total: int | None = None,
        done: int = 0,
        shown: bool = True,
        file: TextIO | None = None,
    ) -> None:
        self.label, self.unit, self.total = label, unit, total
        self.done = self._before = done
        self._shown, self._file = shown, file
        self._bar: Any = None

    def __enter__(self) -> "ProgressBar":
        self._nested = getattr(_open, "bar", False)
        self._shown = self._shown and not self._nested
        _open.bar = self._nested or self._shown
        self._file = self._file or sys.stderr
        self._begin = self._last = time.monotonic()
        if self._shown and self._file is not None and self._file.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                desc=self.label,
                unit=f" {self.unit}",
                total=self.total,
                initial=self.done,
                file=self._file,
                delay=BAR_SECONDS,
                bar_format=None if self.total is None else _BAR,
                dynamic_ncols=True,
                leave=False,
            )
        return self

    def update(self, count: int = 1) -> None:
        """Counts what has been done since."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._shown:
            now = time.monotonic()
            if now - self._last >= max(LINE_SECONDS, LINE_SHARE * (now - self._begin)):
                self._last = now
                self._write(self._line(now - self._begin))

    def say(self, line: str) -> None:
        """Prints a line, above the bar if there is one."""
        if self._bar is None:
            print(line, flush=True)
        else:
            self._bar.write(line)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _open.bar = self._nested
        if self._bar is not None:
            self._bar.close()
        elif kind is None and self._last > self._begin:
            self._write(f"{self.label}: {self.done} in {duration(time.monotonic() - self._begin)}")

    def _write(self, line):
        print(line, file=self._file, flush=True)

    def _line(self, seconds):
        count, done = self.done - self._before, str(self.done)
        rate = f"{seconds / count:.3g} s/{self.unit}"
        if count >= seconds:
            rate = f"{count / seconds:.3g} {self.unit}/s"
        if not self.total:
            return f"{self.label}: {done}, {rate}"
        left = duration(seconds / count * max(0, self.total - self.done))
        percent = 100 * self.done // self.total
        return f"{self.label}: {done}/{self.total} ({percent}%), {rate}, {left} left"


def tracked(
    items: Iterable[Item], label: str, unit: str, total: int | None = None, shown: bool = True
) -> Iterator[Item]:
    """Yields items while their `ProgressBar` is shown.

    Args:
        items: iterable.
        label, unit, shown: as for `ProgressBar`.
        total: int, how many there are; None for their length, if they have one.
    """
    total = total or length_hint(items) or None
    with ProgressBar(label, unit, total, shown=shown) as progress:
        for item in items:
            yield item
            progress.update()


def duration(seconds: float) -> str:
    """Returns a time in its two largest units.

    >>> duration(4.2), duration(754), duration(7300)
    ('4 s', '12 min 34 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
