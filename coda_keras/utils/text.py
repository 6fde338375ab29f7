"""Sentences of messages: names that are nearly right, many names, long lines."""

import difflib
import re
from collections.abc import Iterable, Sequence


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that suggests the most similar of the `known` names, after a space; "" for none.

    >>> nearest("--epohs", ["--epochs", "--seed"])
    ' Did you mean --epochs?'
    """
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {matches[0]}?" if matches else ""


def short(text: object, most: int = 100) -> str:
    """`text` in one line, its end left out where it is long: it may come from anybody.

    >>> short("a long name", most=6)
    'a long... (11 characters)'
    """
    line = " ".join(str(text).split())
    return line if len(line) <= most else f"{line[:most]}... ({len(line)} characters)"


def listed(
    names: Iterable[object], most: int = 10, longest: int | None = 40, separator: str = ", "
) -> str:
    """The first of many names, and how many more there are; "none" for none.

    Args:
        names: objects, of which the `str` is taken.
        most: int, how many are named.
        longest: int, characters of a name, of which the rest is left out; None keeps all.
        separator: str between names.

    >>> listed(["cat", "dog", "owl"], most=2)
    'cat, dog and 1 more'
    """
    names = list(names)
    shown = [str(name) if longest is None else short(name, longest) for name in names[:most]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (separator.join(shown) or "none") + more


def sentence(text: str) -> str:
    """Reduces TensorFlow's error text to what it says: no node names, no assertion frame."""
    line = text.removeprefix("Graph execution error:").strip().split("\n")[0]
    assertion = re.fullmatch(r"assertion failed: \[(.*)\]", line)
    return assertion[1] if assertion else line


def markdown_table(head: Sequence[str], cells: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown.

    >>> markdown_table(["class", "logit"], [["cat", "2.5"]])
    ['| class | logit |', '|---|---|', '| cat | 2.5 |']
    """
    rows = [f"| {' | '.join(row)} |" for row in [head, *cells]]
    return [rows[0], "|" + "---|" * len(head), *rows[1:]]
