"""Arguments of functions and classes, checked: their names, numbers and choices."""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

_VARIABLE = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def names(made: type) -> list[str]:
    """Names of the arguments that a class takes, those passed on to its bases included.

    Example:

    >>> class Base:
    ...     def __init__(self, size=1): ...
    >>> class Derived(Base):
    ...     def __init__(self, colour="red", **kwargs): ...
    >>> names(Derived)
    ['colour', 'size']
    """
    taken: list[str] = []
    for base in made.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        taken += [p.name for p in parameters if p.kind not in _VARIABLE and p.name not in taken]
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            break
    return taken


def check(name: str, made: type, given: Iterable[str]) -> None:
    """Raises ValueError, with the names that there are, if `made` takes one of `given` not.

    Args:
        name: what the user calls `made`.
        made: a class.
        given: names of arguments.
    """
    known = names(made)
    unknown = [argument for argument in given if argument not in known]
    if unknown:
        raise ValueError(
            f"{name!r} has no argument {', '.join(unknown)}. Expected some of {', '.join(known)}."
        )


def positive_int(name: str, value: Any, most: int | None = None) -> int:
    """Returns `value` as an int; raises ValueError, naming the argument, unless it is one >= 1.

    Args:
        name: of the argument.
        value: what was given.
        most: the largest that is taken; None for any.
    """
    whole = not isinstance(value, bool) and hasattr(value, "__index__")
    if not whole or value < 1 or (most is not None and value > most):
        limit = "" if most is None else f" of at most {most}"
        raise ValueError(f"`{name}` must be a positive integer{limit}. Received: {name}={value!r}.")
    return int(value)


def one_of(name: str, value: str, known: Sequence[str]) -> str:
    """Returns `value`; raises ValueError, naming the argument, unless it is one of `known`."""
    if value not in known:
        raise ValueError(f"Unknown `{name}`: {value!r}. Expected one of {known}.")
    return value
