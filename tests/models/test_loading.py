"""Files of models: honest ones load, others are refused before they cost anything."""

import io
import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from coda_keras import CoDANet, DAUConv2D, load_model
from coda_keras.models import keras_file
from coda_keras.models.keras_file import CONFIG, WEIGHTS
from coda_keras.utils import inflating

STORED = sorted((Path(__file__).resolve().parents[1] / "fixtures/0.2.0/keras").glob("*.keras"))


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A `.keras` file, trained one step, so that it has the state of an optimiser as well."""
    net = CoDANet([DAUConv2D(3, 2, 3, strides=2), DAUConv2D(3, 2, 1)], image_size=8)
    net.compile("adam", "mse", jit_compile=False)
    net.fit(np.full((2, 8, 8, 3), 0.5, "float32"), np.zeros((2, 3)), verbose=0)
    path = tmp_path_factory.mktemp("models") / "model.keras"
    net.save(path)
    return path


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def spoil(honest, tmp_path):
    """Writes the file with other members, None for none; returns its path."""

    def write(changes, compression=zipfile.ZIP_DEFLATED):
        path = tmp_path / "spoilt.keras"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in {**members(honest), **changes}.items():
                if content is not None:
                    archive.writestr(name, content)
        return path

    return write


@pytest.fixture
def configured(honest, spoil):
    """Writes the file with another configuration."""

    def write(change):
        config = json.loads(members(honest)[CONFIG])
        change(config["config"])
        # As Keras does, not compressed.
        return spoil({CONFIG: json.dumps(config)}, zipfile.ZIP_STORED)

    return write


def weights(honest, change):
    """The bytes of its weights after `change(file, name of the first array)`."""
    buffer = io.BytesIO(members(honest)[WEIGHTS])
    with h5py.File(buffer, "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if is_array(item) else None)
        change(file, names[0])
    return buffer.getvalue()


def is_array(item):
    return isinstance(item, h5py.Dataset)


def refuses(path, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        load_model(path)
    message = str(error.value)
    assert message.startswith(f"{path} cannot be loaded as a Keras model: ")
    assert "\n" not in message


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_files_of_earlier_versions_load(path):
    if path.stem == "five" and keras.__version__ < "3.15":
        pytest.skip("Keras 3.15 wrote arguments that earlier versions do not know")
    expected = keras.models.load_model(path, compile=False).get_weights()
    loaded = load_model(path).get_weights()
    assert len(loaded) == len(expected) > 0
    for weight, other in zip(loaded, expected):
        np.testing.assert_array_equal(weight, other)


def test_weights_of_an_optimiser_are_no_bomb(honest, spoil):
    for path in (honest, spoil({}), spoil({}, zipfile.ZIP_STORED)):
        assert load_model(path).count_params() > 0


@pytest.mark.parametrize(
    ("key", "value"), [("filters", 10**9), ("rank", 10**12), ("kernel_size", 10**6 + 1)]
)
def test_absurd_sizes_are_refused_before_weights_are_made(configured, key, value):
    def change(config):
        config["layers"][0]["config"][key] = value

    refuses(configured(change), "that of a model with [0-9]{10,} bytes of weights")
    # Of what was only weighed nothing is left, which Keras would make after the next scope.
    with keras.StatelessScope():
        pass


def test_numbers_that_no_net_has_are_refused(configured, spoil, honest):
    for change, sentence in [
        (lambda config: config.update(image_size=[10**9, 10**9]), "of at most 67108864 pixels"),
        (lambda config: config.update(logit_bias=float("inf")), "Infinity, which is not finite"),
        (lambda config: config.update(temperature=float("nan")), "NaN, which is not finite"),
        (lambda config: config.update(layers=[]), "`layers` is empty"),
        (lambda config: config.update(layers=config["layers"] * 3000), "2097152 at most"),
    ]:
        refuses(configured(change), sentence)
    text = members(honest)[CONFIG].decode()
    huge = text.replace('"logit_bias": -2.', '"logit_bias": 1e999, "x": -2.')
    assert huge != text
    refuses(spoil({CONFIG: huge}), "1e999, which is not finite")


def test_what_is_no_configuration_is_refused(spoil):
    for content, sentence in [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"{", "is no JSON"),
        (b"\xff\xfe\xff", r"config\.json|codec"),
        (b"7", "cannot be loaded"),
        (None, "it has no config.json"),
    ]:
        refuses(spoil({CONFIG: content}), sentence)
    refuses(spoil({WEIGHTS: None}), "it has no model.weights.h5")
    refuses(spoil({WEIGHTS: b"no weights" * 999}), "cannot be loaded")


def test_what_is_no_archive_is_refused(honest, tmp_path):
    whole = honest.read_bytes()
    for content in (b"", b"no model", whole[: len(whole) // 2]):
        path = tmp_path / "cut.keras"
        path.write_bytes(content)
        refuses(path, "it is no zip archive")


def test_bombs_are_refused_before_they_are_inflated(spoil, honest, monkeypatch):
    bombs = {
        WEIGHTS: bytes(2**25),
        CONFIG: b" " * 2**22 + members(honest)[CONFIG],
        "assets/more": bytes(2**25),
    }

    def reading(*_, **__):
        raise AssertionError("it was read")

    for name, content in bombs.items():
        path = spoil({name: content})
        with monkeypatch.context() as patched:
            patched.setattr(zipfile.ZipFile, "open", reading)
            refuses(path, f"inflate to [0-9]+, more than {inflating.MAX_EXPANSION} times")


def test_weights_that_are_more_than_the_nets_are_refused(spoil, monkeypatch):
    monkeypatch.setattr(keras_file, "_OVERHEAD", 2**10)
    refuses(spoil({WEIGHTS: bytes(2**16)}, zipfile.ZIP_STORED), "its model.weights.h5 has 65536")


def test_arrays_with_more_values_than_bytes_are_refused(spoil, honest):
    def hollow(file, name):
        del file[name]
        file.create_dataset(name, (10**6, 10**6), "f4", chunks=(10**3, 10**3))

    def compressed(file, name):
        del file[name]
        file.create_dataset(name, data=np.zeros((512, 512), "f4"), compression="gzip")

    for change in (hollow, compressed):
        refuses(spoil({WEIGHTS: weights(honest, change)}), "bytes for arrays of")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(spoil, honest, value):
    def change(file, name):
        file[name][...] = value

    refuses(spoil({WEIGHTS: weights(honest, change)}), "weights that are infinite or no numbers")
