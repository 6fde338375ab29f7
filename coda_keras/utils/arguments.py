"""Arguments given by name, checked before a class is made with them."""

import inspect
from collections.abc import Iterable

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
    found = []
    for each in made.__mro__:
        if "__init__" not in vars(each):
            continue
        parameters = list(inspect.signature(each.__init__).parameters.values())[1:]
        found += [p.name for p in parameters if p.kind not in _VARIABLE and p.name not in found]
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            break
    return found


def check(name: str, made: type, given: Iterable[str]) -> None:
    """Raises ValueError, with the names that there are, if `made` takes one of `given` not.

    Args:
        name: what the user calls `made`.
        made: a class.
        given: names of arguments.
    """
    known = names(made)
    unknown = [each for each in given if each not in known]
    if unknown:
        raise ValueError(
            f"{name!r} has no argument {', '.join(unknown)}. Expected some of {', '.join(known)}."
        )
