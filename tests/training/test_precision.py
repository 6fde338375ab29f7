"""What `--precision auto` chooses on each kind of machine, and what a run says and keeps of it."""

import json

import keras
import numpy as np
import pytest

from coda_keras import CoDANet, DAUConv2D, backend, training
from coda_keras.data.images import ImageData
from coda_keras.training import precision
from coda_keras.training.devices import Devices
from coda_keras.training.precision import EXACT, FAST, Choice, choose
from coda_keras.utils import processors

NONE_NATIVE = "none of amx_bf16, avx512_bf16, bf16, svebf16, without which"
AMX = ["avx512f", "avx512_bf16", "amx_bf16", "amx_tile"]


def unused():
    raise AssertionError("no product is timed")


@pytest.mark.parametrize(
    ("accelerators", "features", "ratio", "policy", "reason"),
    [
        ({}, ["avx", "avx2", "fma"], unused, EXACT, NONE_NATIVE),
        ({}, ["avx512f", "avx512_vnni"], unused, EXACT, NONE_NATIVE),
        ({}, ["asimd", "fphp"], unused, EXACT, NONE_NATIVE),
        ({}, [], unused, EXACT, NONE_NATIVE),
        ({}, AMX, lambda: 0.2, FAST, "has amx_bf16, and a product in bfloat16 takes 0.20 of"),
        ({}, ["avx512_bf16"], lambda: 0.56, FAST, "has avx512_bf16, and a product"),
        ({}, ["asimd", "bf16", "i8mm"], lambda: 0.5, FAST, "the processor has bf16"),
        ({}, ["svebf16"], lambda: 0.5, FAST, "the processor has svebf16"),
        # Of a backend that does not use what the processor has.
        ({}, ["avx512_bf16"], lambda: 1.24, EXACT, "a product in bfloat16 takes 1.24 of the time"),
        # Windows and macOS list no features.
        ({}, None, lambda: 0.6, FAST, "a product in bfloat16 takes 0.60 of the time in float32"),
        ({}, None, lambda: 35.0, EXACT, "a product in bfloat16 takes 35.00 of"),
        ({}, None, lambda: 1.0, EXACT, "takes 1.00 of"),
        ({"NVIDIA H100": True}, [], unused, FAST, "NVIDIA H100 multiplies bfloat16"),
        ({"TPU v4": True}, None, unused, FAST, "TPU v4 multiplies bfloat16"),
        ({"Tesla T4": False}, AMX, unused, EXACT, "Tesla T4 is not known to multiply bfloat16"),
        ({"A100": True, "METAL": False}, AMX, unused, EXACT, "METAL is not known to"),
    ],
)
def test_what_auto_chooses(accelerators, features, ratio, policy, reason):
    chosen = choose(accelerators, features, ratio)
    assert chosen.policy == policy
    assert reason in chosen.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16\n\nflags\t\t: fpu\n", "avx512_bf16"),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\nCPU part\t: 0xd40\n", "bf16"),
        ("processor\t: 0\nisa\t\t: rv64imafdc\n", None),
    ],
)
def test_features_of_processors(text, expected, tmp_path):
    (tmp_path / "cpuinfo").write_text(text)
    features = processors.features(tmp_path / "cpuinfo")
    assert expected in features if expected else features is None


def test_without_a_list_features_are_unknown(tmp_path):
    assert processors.features(tmp_path / "cpuinfo") is None


def test_the_ratio_is_of_times_and_computes_little():
    ratio = precision.product_time_ratio(seconds=0.0)
    assert 0 < ratio < np.inf


def test_this_machine_has_an_answer():
    chosen = precision.of_this_machine()
    assert chosen.policy in (EXACT, FAST) and chosen.reason
    assert list(backend.native_bfloat16()) == list(dict.fromkeys(backend.accelerators()))


@pytest.mark.skipif(backend.NAME != "tensorflow", reason="TensorFlow's names of devices")
@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"device_name": "NVIDIA A100", "compute_capability": (8, 0)}, True),
        ({"device_name": "Tesla V100", "compute_capability": (7, 0)}, False),
        ({"device_name": "METAL"}, False),
    ],
)
def test_gpus_tell_their_capability(details, expected, monkeypatch):
    monkeypatch.setattr("coda_keras.backend.tensorflow._details_of_gpus", lambda: [details])
    assert backend.native_bfloat16() == {details["device_name"]: expected}


# Runs.


@pytest.fixture
def data(rng):
    images = rng.integers(0, 256, (8, 6, 6, 3)).astype("uint8")
    labels = np.arange(8, dtype="int32") % 2
    return ImageData(images, labels, images[:4], labels[:4], ["dark", "bright"])


@pytest.fixture(autouse=True)
def policy_of_others():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def machine(monkeypatch):
    """Lets this machine be another one."""

    def is_one(policy):
        choice = Choice(policy, f"the reason for {policy}")
        monkeypatch.setattr(precision, "of_this_machine", lambda: choice)

    return is_one


def net_of(settings, data):
    return CoDANet([DAUConv2D(2, 2, 1)], temperature=1.0, image_size=6)


def settings_of(folder, asked, epochs=1):
    flags = ["--precision", asked, "--epochs", str(epochs), "--schedule", "steps"]
    values = {"epochs": 1, "batch_size": 4, "schedule": "steps", "halve_every": 3, "output": folder}
    return training.SettingsParser("", **values).settings(flags)


def trained(settings, data):
    return training.train(settings, training.start(settings, Devices), net_of, data)[0]


def recorded(folder):
    return json.loads((folder / "arguments.json").read_text())["precision"]


@pytest.mark.parametrize("policy", [EXACT, FAST])
def test_a_run_says_and_keeps_what_was_chosen(policy, machine, data, tmp_path, capsys):
    machine(policy)
    net = trained(settings_of(tmp_path, "auto"), data)
    assert keras.config.dtype_policy().name == policy
    assert recorded(tmp_path) == policy
    # What a run leaves behind explains exactly.
    assert {layer.compute_dtype for layer in net.body} == {EXACT}
    out, err = capsys.readouterr()
    assert f"Computing in {policy} (--precision auto: the reason for {policy})." in out
    assert "Warning" not in err


@pytest.mark.parametrize("policy", [EXACT, FAST])
def test_a_run_that_goes_on_keeps_its_precision(policy, machine, data, tmp_path, capsys):
    machine(policy)
    trained(settings_of(tmp_path, "auto"), data)
    machine(FAST if policy == EXACT else EXACT)
    capsys.readouterr()
    trained(settings_of(tmp_path, "auto", epochs=2), data)
    assert recorded(tmp_path) == policy
    out, err = capsys.readouterr()
    assert f"Computing in {policy} (as this run began)." in out
    slow = "mixed_bfloat16 is slow here: the reason for float32. --precision auto in another"
    assert (slow in err) == (policy == FAST)


def test_a_run_that_goes_on_refuses_another_precision(machine, data, tmp_path):
    machine(EXACT)
    trained(settings_of(tmp_path, "auto"), data)
    with pytest.raises(FileExistsError, match="with another --precision"):
        training.start(settings_of(tmp_path, FAST, epochs=2), Devices)
    trained(settings_of(tmp_path, EXACT, epochs=2), data)


@pytest.mark.parametrize(("policy", "warned"), [(EXACT, True), (FAST, False)])
def test_bfloat16_where_it_is_slow_is_warned_of(policy, warned, machine, tmp_path, capsys):
    machine(policy)
    training.start(settings_of(tmp_path, FAST), Devices)
    out, err = capsys.readouterr()
    assert "Computing in mixed_bfloat16 (--precision mixed_bfloat16)." in out
    assert ("Warning: mixed_bfloat16 is slow here" in err) == warned


def test_a_precision_that_is_asked_for_needs_no_timing(monkeypatch, data, tmp_path, capsys):
    monkeypatch.setattr(precision, "of_this_machine", unused)
    settings = training.Settings(epochs=1, batch_size=4, output=tmp_path)
    trained(settings, data)
    assert "Computing in float32 (--precision float32)." in capsys.readouterr().out


def test_chosen_or_asked_for_the_weights_are_the_same(machine, data, tmp_path):
    machine(EXACT)
    one = trained(settings_of(tmp_path / "auto", "auto"), data)
    other = trained(settings_of(tmp_path / "asked", EXACT), data)
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_workers_compute_as_their_chief_says(machine, monkeypatch, tmp_path, capsys):
    class Worker(Devices):
        chief = False

        def from_chief(self, text):
            return FAST

    machine(EXACT)
    devices = training.start(settings_of(tmp_path, "auto"), Worker)
    assert devices.precision == FAST == keras.config.dtype_policy().name
    assert "Computing" not in capsys.readouterr().out
