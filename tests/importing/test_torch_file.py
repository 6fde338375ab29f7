"""Files of `torch.save`: honest ones are read without torch, all others are refused."""

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from coda_keras.importing import tensor_pickle, torch_file

pytestmark = pytest.mark.once
STORED = Path(__file__).resolve().parents[1] / "fixtures/torch"
BASE = np.arange(24, dtype="float32").reshape(2, 3, 4) / 8
LINEAR = {"weight": np.arange(6, dtype="float32").reshape(2, 3) / 4, "bias": np.float32([-1, 2])}
EXPECTED = {
    **LINEAR,
    "transposed": BASE.transpose(2, 1, 0),
    "part": BASE[1, 1:, ::2],
    "half": BASE[0].astype("float16"),
    "double": BASE[0].astype("float64"),
    "steps": np.int64(7),
    "flags": np.array([True, False]),
    "none": np.zeros((0, 3), "float32"),
    "parameter": BASE[0],
}
STATE = {"weight": np.ones((2, 3), "float32"), "bias": np.zeros(2, "float32")}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("zip", EXPECTED), ("pickles", EXPECTED), ("checkpoint", LINEAR)],
)
def test_what_torch_saved_is_read(name, expected):
    state = torch_file.read(STORED / f"{name}.pth")
    assert state.keys() == expected.keys()
    for key, array in state.items():
        assert array.dtype == np.asarray(expected[key]).dtype, key
        np.testing.assert_array_equal(array, expected[key])


def test_what_is_written_is_read(tmp_path):
    arrays = {"0.a": BASE.transpose(2, 0, 1), "ä": np.zeros((0, 2)), "": np.float64(3)}
    torch_file.write(tmp_path / "state.pkl", arrays)
    state = torch_file.read(tmp_path / "state.pkl")
    assert list(state) == list(arrays)
    for key, array in state.items():
        assert array.dtype == "float32"
        np.testing.assert_array_equal(array, arrays[key])


def test_torch_loads_what_is_written(tmp_path):
    torch = pytest.importorskip("torch")
    torch_file.write(tmp_path / "state.pkl", {"a": BASE, "b": BASE[0, 0]})
    state = torch.load(tmp_path / "state.pkl", weights_only=True)
    np.testing.assert_array_equal(state["a"].numpy(), BASE)
    np.testing.assert_array_equal(state["b"].numpy(), BASE[0, 0])


@pytest.fixture
def refuses(tmp_path):
    """Asserts that a file of these bytes is refused in one line, and that nothing was run."""

    def check(content, sentence):
        path = tmp_path / "state.pkl"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=sentence) as error:
            torch_file.read(path)
        message = str(error.value)
        assert message.startswith(f"{path} cannot be read as a state dict of `torch.save`: ")
        assert "\n" not in message and len(message) < 400
        assert not (tmp_path / "ran").exists()

    return check


def archive(pickled, numbers=(b"\0" * 24, b"\0" * 8), order=b"little"):
    """The bytes of an archive like torch's, with this pickle and these storages."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("net/data.pkl", pickled)
        file.writestr("net/byteorder", order)
        for number, content in enumerate(numbers):
            file.writestr(f"net/data/{number}", content)
    return buffer.getvalue()


def pickles(*values):
    """The bytes of a file as torch wrote them before, with these pickles after the first three."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    return b"".join(pickle.dumps(value, 2) for value in [*head, *values])


class Calls:
    """What a pickle can hold: a call of anything."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_nothing_that_a_pickle_asks_for_is_run(refuses, tmp_path):
    ran = tmp_path / "ran"
    for value in [
        Calls(os.system, f"touch {ran}"),
        Calls(eval, f"open({str(ran)!r}, 'w')"),
        Calls(getattr, "text", "upper"),
        {"weight": Calls(open, str(ran), "w")},
        Calls(np.zeros, 3),
    ]:
        for protocol in range(2, 6):
            refuses(archive(pickle.dumps(value, protocol)), "asks for .*, which is no tensor")
        refuses(pickles(value, []), "asks for .*, which is no tensor")
    # Python 2's way to an object, and a class that is known but makes nothing.
    refuses(archive(b"\x80\x02(ios\nsystem\nS'true'\no."), "operation INST|is no tensor")
    refuses(archive(b"\x80\x02ctorch\nFloatStorage\n)\x81."), "the operation NEWOBJ, which no")
    refuses(archive(b"\x80\x02ctorch\nFloatStorage\n)R."), "calls torch.FloatStorage")
    refuses(archive(b"\x80\x02ccollections\nOrderedDict\n(]tR."), "which makes no tensor")


def tensor(shape=(2, 3), strides=(3, 1), offset=0, count=6, key="0"):
    """The pickle of a state dict of one tensor, made of these values."""
    honest = tensor_pickle.dump({"weight": (2, 3)})
    integer, text = tensor_pickle._int, tensor_pickle._text
    place = integer(6) + b"tQ" + integer(0) + b"(" + integer(2) + integer(3) + b"t"
    place += b"(" + integer(3) + integer(1) + b"t"
    assert honest.count(place) == 1
    other = integer(count) + b"tQ" + integer(offset)
    for sizes in (shape, strides):
        other += b"(" + b"".join(map(integer, sizes)) + b"t"
    return honest.replace(place, other).replace(text("0"), text(key))


def test_views_beyond_their_numbers_are_refused(refuses):
    numbers = [b"\0" * 24]
    for pickled, sentence in [
        (tensor(offset=1), "'weight' reaches beyond its numbers"),
        (tensor(strides=(4, 1)), "reaches beyond"),
        (tensor(shape=(2**30, 2**30), strides=(0, 0)), "reaches beyond"),
        (tensor(shape=(2, 3, 1)), "reaches beyond"),
        (tensor(offset=-1), "pickle is broken"),
        (tensor(strides=(-3, 1)), "pickle is broken"),
        (tensor(count=7), "cut off, or its numbers '0' are not as many"),
        (tensor(count=2**31 - 1), "are not as many"),
        (tensor(key="1"), "it lacks the numbers '1'"),
        (tensor(key="../0"), "it lacks the numbers"),
        (tensor(key="x" * 10_000), "it lacks the numbers"),
    ]:
        refuses(archive(pickled, numbers), sentence)
    refuses(archive(tensor(), numbers, b"big"), "lowest byte first")


def test_absurdly_many_axes_and_keys_that_collide_are_refused(refuses):
    numbers = [b"\0" * 4]
    many = (2**30,) * 10_000
    refuses(archive(tensor(shape=many, strides=many), numbers), "a tensor of 10000 axes")
    for key in (2**61 - 1, -1):
        refuses(archive(pickle.dumps({key: None}, 2)), "its pickle is broken")


def test_what_is_no_state_dict_is_refused(refuses):
    for value in [7, [], {}, {"weight": 3}, {"state_dict": {}}, {1: 2}, {"weight": {"a": 1}}, "x"]:
        refuses(archive(pickle.dumps(value, 2)), "no state dict")
        refuses(pickles(value, []), "no state dict")
    refuses(b"", "neither a zip archive nor a pickle")
    refuses(b"PK\x03\x04" + bytes(100), "neither a zip archive nor a pickle")
    refuses(b"\x89HDF\r\n" + bytes(100), "neither a zip archive nor a pickle")
    refuses(pickle.dumps(3, 2), "pickle exhausted|does not begin")
    refuses(pickle.dumps(3, 2) * 4, "does not begin as files of")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("config.json", "{}")
    refuses(buffer.getvalue(), "without the data.pkl")


def test_keys_and_names_that_are_no_text_are_refused(refuses):
    nested = ()
    for _ in range(60):
        nested = (nested, nested)
    for keys in ([[]], [nested]):
        refuses(pickles() + tensor() + pickle.dumps(keys, 2), "numbers that belong to no tensor")
    refuses(archive(b"\x80\x04))\x93."), "its pickle is broken")


def test_damaged_deflated_members_are_refused(refuses):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("net/data.pkl", tensor())
    damaged = bytearray(buffer.getvalue())
    damaged[30 + len("net/data.pkl")] = 255
    refuses(bytes(damaged), "invalid block type")


def test_files_that_are_cut_off_are_refused(refuses):
    for name in ("zip", "pickles"):
        whole = (STORED / f"{name}.pth").read_bytes()
        for length in range(0, len(whole), 97):
            refuses(whole[:length], ".")


def test_files_with_a_byte_changed_are_read_or_refused(refuses, tmp_path):
    """Whatever a byte becomes, no other error is raised."""
    random = np.random.default_rng(0)
    path = tmp_path / "changed.pth"
    for name in ("zip", "pickles"):
        whole = bytearray((STORED / f"{name}.pth").read_bytes())
        for place in random.integers(0, len(whole), 300):
            changed = whole.copy()
            changed[place] ^= int(random.integers(1, 256))
            path.write_bytes(changed)
            try:
                torch_file.read(path)
            except ValueError as error:
                assert "cannot be read as a state dict" in str(error)


def test_bombs_are_refused_before_they_burst(refuses, monkeypatch):
    huge = io.BytesIO()
    with zipfile.ZipFile(huge, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("net/data.pkl", tensor(count=2**22))
        file.writestr("net/data/0", bytes(2**24))
    refuses(huge.getvalue(), "would inflate to")
    # A place in the memo that an array for it would take 32 GiB.
    refuses(archive(b"\x80\x02]r" + struct.pack("<I", 2**32 - 1) + b"."), "no state dict")
    # Texts, bytes and numbers that are said to be longer than the file.
    for opcode, size in [(b"X", "<I"), (b"\x8d", "<Q"), (b"B", "<I"), (b"\x96", "<Q")]:
        refuses(archive(b"\x80\x02" + opcode + struct.pack(size, 2**31) + b"."), "expected|exhaust")
    # A list in itself, and lists of lists: nothing walks along them.
    refuses(archive(b"\x80\x02]q\x00h\x00a."), "no state dict")
    refuses(archive(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."), "no state dict")
    with monkeypatch.context() as patched:
        patched.setattr(torch_file, "MAX_BYTES", 1000)
        for content in (archive(tensor(count=250), [bytes(1000)]), b"\x80\x02" * 1000):
            refuses(content, "bytes, more than 1000")
    monkeypatch.setattr(tensor_pickle, "MAX_OPERATIONS", 1000)
    refuses(archive(b"\x80\x02" + b"NN" * 1000 + b"."), "more than 1000 operations")
