"""The pickles of `torch.save`, read by an interpreter that can make tensors and nothing else.

A pickle is a program that may import and call anything. Here its operations are read one by one
(`pickletools.genops` runs nothing), and those that a state dict needs are carried out: no module is
imported, no class is looked up, nothing of the file is called.
"""

import math
import pickletools
from collections.abc import Iterable, Mapping
from io import BytesIO
from itertools import islice
from typing import Any, NamedTuple

# Of some ten thousand tensors; axes as many as NumPy has.
MAX_OPERATIONS, MAX_AXES = 2**20, 64
# Larger numbers can be chosen so that a dict takes hours: all fall into one place of its table.
MAX_KEY = 2**32

# The names of torch's storages, and what their bytes are to NumPy.
DTYPES = {
    "torch FloatStorage": "<f4",
    "torch DoubleStorage": "<f8",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "<i1",
    "torch ByteStorage": "<u1",
    "torch BoolStorage": "?",
}
_DICT = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_OLD_TENSOR = "torch._utils _rebuild_tensor"
_PARAMETER = "torch._utils _rebuild_parameter"
_KNOWN = {_DICT, _TENSOR, _OLD_TENSOR, _PARAMETER, *DTYPES}

# Operations that push what stands in the pickle.
_VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NEW = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT = {"BINPUT", "LONG_BINPUT", "PUT"}
_GET = {"BINGET", "LONG_BINGET", "GET"}


class Storage(NamedTuple):
    """Numbers that lie elsewhere in the file.

    Attributes:
        dtype: str, of NumPy.
        key: str, its name in the file.
        size: int, how many numbers.
    """

    dtype: str
    key: str
    size: int


class Tensor(NamedTuple):
    """A view of a storage: its `offset`, `shape` and `strides` in numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Name(NamedTuple):
    """What a pickle would import."""

    text: str


_MARK = object()


def load(file: BytesIO) -> Any:
    """Reads the next pickle, up to its end mark.

    Args:
        file: bytes, at the first of a pickle.

    Returns:
        Dicts, lists, tuples, numbers, strings and `Tensor`s.

    Raises:
        ValueError: if the pickle is broken, or has anything else; the message begins in lower case.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    operations = islice(pickletools.genops(file), MAX_OPERATIONS)
    try:
        for operation, argument, _ in operations:
            if operation.name == "STOP":
                (value,) = stack
                return value
            _step(operation.name, argument, stack, memo)
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError("its pickle is broken") from error
    raise ValueError(f"its pickle has more than {MAX_OPERATIONS} operations")


def _step(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    """Carries out one operation."""
    if name in _VALUES:
        stack.append(argument)
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
    elif name in _NEW:
        stack.append(_NEW[name]())
    elif name in _PUT:
        memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in _GET:
        stack.append(memo[argument])
    elif name == "MARK":
        stack.append(_MARK)
    elif name == "TUPLE":
        stack.append(tuple(_after_mark(stack)))
    elif name in _TUPLES:
        count = _TUPLES[name]
        items = tuple(stack[-count:])
        del stack[-count:]
        stack.append(items)
    elif name in ("APPEND", "APPENDS"):
        items = [stack.pop()] if name == "APPEND" else _after_mark(stack)
        _of_type(stack[-1], list).extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        if name == "SETITEM":
            items = stack[-2:]
            del stack[-2:]
        else:
            items = _after_mark(stack)
        keys = [_key(key) for key in items[::2]]
        _of_type(stack[-1], dict).update(zip(keys, items[1::2], strict=True))
    elif name == "GLOBAL":
        stack.append(_name(argument))
    elif name == "STACK_GLOBAL":
        attribute, module = stack.pop(), stack.pop()
        # The text of a tuple nested by the memo is exponentially long.
        stack.append(_name(f"{_of_type(module, str)} {_of_type(attribute, str)}"))
    elif name == "REDUCE":
        arguments, made = stack.pop(), stack.pop()
        stack.append(_make(_of_type(made, _Name).text, _of_type(arguments, tuple)))
    elif name == "BUILD":
        # The versions of torch's modules, which a state dict carries as an attribute.
        stack.pop()
        _of_type(stack[-1], dict)
    elif name == "BINPERSID":
        stack.append(_storage(_of_type(stack.pop(), tuple)))
    elif name not in ("PROTO", "FRAME"):
        raise ValueError(f"its pickle has the operation {name}, which no tensors need")


def _after_mark(stack: list[Any]) -> list[Any]:
    """What was pushed since the last mark; the mark goes with it."""
    start = len(stack) - 1
    while stack[start] is not _MARK:
        start -= 1
        if start < 0:
            raise IndexError("no mark")
    items = stack[start + 1 :]
    del stack[start:]
    return items


def _name(text: str) -> _Name:
    if text not in _KNOWN:
        raise ValueError(f"its pickle asks for {text.replace(' ', '.')[:80]}, which is no tensor")
    return _Name(text)


def _make(name: str, arguments: tuple[Any, ...]) -> Any:
    if name == _DICT and not arguments:
        return {}
    if name == _PARAMETER:
        return _of_type(arguments[0], Tensor)
    if name in (_TENSOR, _OLD_TENSOR):
        storage, offset, shape, strides = arguments[:4]
        if len(_of_type(shape, tuple)) > MAX_AXES:
            raise ValueError(f"its pickle has a tensor of {len(shape)} axes")
        return Tensor(
            _of_type(storage, Storage),
            _count(offset),
            tuple(map(_count, shape)),
            tuple(map(_count, _of_type(strides, tuple))),
        )
    raise ValueError(f"its pickle calls {name.replace(' ', '.')}, which makes no tensor")


def _storage(record: tuple[Any, ...]) -> Storage:
    kind, dtype, key, _, size, *view = record
    if kind != "storage" or view not in ([], [None]):
        raise ValueError("its pickle names numbers in a way that `torch.save` does not")
    return Storage(DTYPES[_of_type(dtype, _Name).text], _of_type(key, str), _count(size))


def _of_type(value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} in place of {kind}")
    return value


def _key(value: Any) -> str | int:
    if isinstance(value, int) and not 0 <= value < MAX_KEY:
        raise TypeError("a key that is no small number")
    return _of_type(value, (str, int))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**48:
        raise TypeError("a size that is no natural number")
    return value


def dump(shapes: Mapping[str, Iterable[int]]) -> bytes:
    """The pickle of a state dict of float32 tensors, whose storages are called "0", "1", ...

    Args:
        shapes: the shapes of the tensors by their names, whose order is that of the storages.

    Returns:
        bytes, which `load` and `torch.load` read.
    """
    parts = [b"\x80\x02", _new(_DICT), b"("]
    for number, (name, shape) in enumerate(shapes.items()):
        sizes = [int(size) for size in shape]
        strides = [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
        storage = [
            _text("storage"),
            _global("torch FloatStorage"),
            _text(str(number)),
            _text("cpu"),
            _int(math.prod(sizes)),
        ]
        parts += [
            _text(name),
            _global(_TENSOR),
            _tuple(
                [
                    _tuple(storage) + b"Q",
                    _int(0),
                    _tuple(map(_int, sizes)),
                    _tuple(map(_int, strides)),
                    b"\x89",
                    _new(_DICT),
                ]
            ),
            b"R",
        ]
    return b"".join([*parts, b"u."])


def _global(name: str) -> bytes:
    return b"c" + name.replace(" ", "\n").encode() + b"\n"


def _new(name: str) -> bytes:
    return _global(name) + b")R"


def _text(text: str) -> bytes:
    content = text.encode()
    return b"X" + len(content).to_bytes(4, "little") + content


def _int(number: int) -> bytes:
    return b"J" + number.to_bytes(4, "little", signed=True)


def _tuple(items: Iterable[bytes]) -> bytes:
    return b"(" + b"".join(items) + b"t"
