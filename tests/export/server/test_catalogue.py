"""What the embedded server loads and forgets: broken versions, and folders that come and go."""

import os
import shutil
import threading
import weakref
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from coda_keras_export.servable import folder, version_policies
from coda_keras_export.servable.loading import WARM_UP
from coda_keras_export.server.catalogue import Catalogue
from coda_keras_export.server.version import AVAILABLE, FAILED, LOADING, State, Version
from serving import LIMIT, eventually

pytestmark = pytest.mark.tensorflow

SIZE = 4
IMAGES = tf.make_tensor_proto(np.full((1, SIZE, SIZE, 3), 0.5, "float32"))


@pytest.fixture
def root(small_servable, tmp_path):
    """A folder with the models `one` and `two`, each in version 1."""
    for name in ("one", "two"):
        shutil.copytree(small_servable, tmp_path / "servables" / name / "1")
    return tmp_path / "servables"


class Light:
    """A servable without a session, which answers everything with zeros."""

    def __init__(self, path, **_):
        self.path, self._session = path, "open"

    def warm_up(self):
        return 0

    def predict(self, signature, inputs):
        assert self._session == "open"
        return {"logits": np.zeros((1, 3))}

    def close(self):
        self._session = None


@pytest.fixture
def light(monkeypatch):
    """What is loaded loads at once: these tests are about which versions are, and when."""
    monkeypatch.setattr("coda_keras_export.server.catalogue.Servable", Light)


def refresh(catalogue):
    catalogue.refresh()
    catalogue.wait()


def answers(catalogue, name, version=None):
    with catalogue.use(name, version) as (number, servable):
        assert servable.predict("classify", {"images": IMAGES})["logits"].shape == (1, 3)
    return number


def garbled(path):
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"\xff\xff\xff no message")


def of_another_model(path):
    """A request for a signature that the servable lacks."""
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "regress"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(b"corrupt" * 9),
        garbled,
        of_another_model,
    ],
    ids=["half-copied", "corrupt", "garbled", "of another model"],
)
def test_a_version_with_a_broken_warm_up_file_leaves_the_others_be(root, spoil, capsys):
    shutil.copytree(root / "one" / "1", root / "one" / "2")
    spoil(root / "one" / "2" / WARM_UP)
    catalogue = Catalogue(root)
    refresh(catalogue)
    states = catalogue.states("one")
    assert states[1] == (AVAILABLE, "")
    assert states[2].name == FAILED
    assert "warm-up" in states[2].reason
    assert "\n" not in states[2].reason
    assert answers(catalogue, "one") == answers(catalogue, "two") == 1
    # Once, however often it is looked at.
    refresh(catalogue)
    assert capsys.readouterr().err.count("not served") == 1
    shutil.copy(root / "one" / "1" / WARM_UP, root / "one" / "2" / WARM_UP)
    refresh(catalogue)
    assert answers(catalogue, "one") == 2


def test_whatever_loading_raises_is_a_reason(root, light, monkeypatch):
    def raising(path, **_):
        if path.parent.name == "one":
            raise RuntimeError("no such luck")
        return loading(path)

    from coda_keras_export.server import catalogue as module

    loading = module.Servable
    monkeypatch.setattr(module, "Servable", raising)
    catalogue = Catalogue(root)
    refresh(catalogue)
    assert "no such luck" in catalogue.states("one")[1].reason
    assert answers(catalogue, "two") == 1


def test_what_is_loaded_stays_while_the_folder_is_away(root, light):
    catalogue = Catalogue(root)
    refresh(catalogue)
    away = root.rename(root.with_name("away"))
    for _ in range(2):
        with pytest.raises(OSError, match="servables"):
            refresh(catalogue)
        assert answers(catalogue, "one") == answers(catalogue, "two") == 1
    # Nor is a stock server told that there are no models.
    with pytest.raises(OSError, match="servables"):
        folder.models_config(root, "/models")
    # A folder that is there and lacks a model no longer serves it.
    shutil.rmtree(away / "two")
    away.rename(root)
    refresh(catalogue)
    assert answers(catalogue, "one") == 1
    assert catalogue.states("two") == {}


def test_an_unreadable_model_folder_is_one_bad_folder(root, light, monkeypatch, capsys):
    catalogue = Catalogue(root)
    refresh(catalogue)
    looking = Path.iterdir

    def iterdir(path):
        if path == root / "one":
            raise PermissionError(13, "Permission denied", str(path))
        return looking(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    shutil.copytree(root / "two" / "1", root / "two" / "2")
    for _ in range(2):
        refresh(catalogue)
    assert answers(catalogue, "one") == 1
    assert answers(catalogue, "two") == 2
    # Said once, not at every look.
    assert capsys.readouterr().err.count("Permission denied") == 1
    assert list(folder.models(root)) == ["two"]
    monkeypatch.undo()
    shutil.rmtree(root / "one")
    refresh(catalogue)
    assert catalogue.states("one") == {}


def test_a_thousand_models_are_not_all_named(tmp_path):
    catalogue = Catalogue(tmp_path)
    served = Version(tmp_path)
    served.state = State(AVAILABLE)
    catalogue._versions = {(f"model-{number:03}", 1): served for number in range(1000)}
    refused = pytest.raises(tf.errors.NotFoundError, match=r"model-000 1, .* and 990 more")
    with refused as error, catalogue.use("lion"):
        pass
    assert len(error.value.message) < 300


def test_reasons_are_cut_short(root, light, monkeypatch):
    from coda_keras_export.server import catalogue as module

    def raising(path, **_):
        raise ValueError("why " * 10**5)

    monkeypatch.setattr(module, "Servable", raising)
    catalogue = Catalogue(root)
    refresh(catalogue)
    assert len(catalogue.states("one")[1].reason) < 1100


def versions(root, *numbers):
    for number in numbers:
        if not (root / "one" / str(number)).exists():
            shutil.copytree(root / "one" / "1", root / "one" / str(number))


def served(catalogue, name="one"):
    states = catalogue.states(name)
    return sorted(version for version, state in states.items() if state.name == AVAILABLE)


@pytest.fixture
def broken(monkeypatch):
    """Versions of the model `one` that fail to load; how often each was tried."""
    from coda_keras_export.server import catalogue as module

    broken, tried, loading = set(), Counter(), module.Servable

    def load(path, **options):
        tried[int(path.name)] += path.parent.name == "one"
        if path.parent.name == "one" and int(path.name) in broken:
            raise ValueError(f"version {path.name} is broken")
        return loading(path, **options)

    monkeypatch.setattr(module, "Servable", load)
    return broken, tried


def test_the_latest_versions_are_served_and_older_ones_closed(root, broken):
    _, tried = broken
    versions(root, 2, 3)
    catalogue = Catalogue(root)
    refresh(catalogue)
    assert served(catalogue) == [2, 3]
    assert not tried[1]
    with catalogue.use("one", 2) as (_, old):
        versions(root, 4, 5)
        refresh(catalogue)
        assert served(catalogue) == [4, 5]
        # A request that has begun ends on its version.
        assert old.predict("classify", {"images": IMAGES})["logits"].shape == (1, 3)
    assert old._session is None


def test_dropped_sessions_are_collected(root):
    catalogue = Catalogue(root)
    refresh(catalogue)
    with catalogue.use("one") as (_, servable):
        graph = weakref.ref(servable._session.graph)
    del servable
    shutil.rmtree(root / "one")
    refresh(catalogue)
    assert graph() is None


def test_other_policies(root, light):
    versions(root, 2, 3)
    for texts, expected in [
        (["all"], [1, 2, 3]),
        (["latest:1"], [3]),
        (["latest:1", "one=specific:1,2,9"], [1, 2]),
    ]:
        catalogue = Catalogue(root, policies=version_policies.parse(texts))
        refresh(catalogue)
        assert served(catalogue) == expected


def test_older_versions_serve_until_a_newer_one_does(root, light, broken):
    breaks, tried = broken
    versions(root, 2, 3, 4)
    breaks |= {3, 4}
    catalogue = Catalogue(root, policies=version_policies.parse(["latest:1"]))
    refresh(catalogue)
    # Those that fail are not counted among the latest, whether the server has just begun or not.
    assert served(catalogue) == [2]
    assert not tried[1]
    breaks -= {3}
    versions(root, 5)
    breaks |= {5}
    (root / "one" / "3" / "repaired").touch()
    # The first look tries the new one; as that fails, older ones are wanted again.
    for _ in range(2):
        refresh(catalogue)
    assert served(catalogue) == [3]
    assert catalogue.states("one")[5].reason == "version 5 is broken"


def test_a_version_that_fails_is_tried_less_and_less_often(root, light, broken):
    breaks, tried = broken
    versions(root, 2)
    breaks.add(2)
    now = [0.0]
    catalogue = Catalogue(root, clock=lambda: now[0])
    attempts = []
    for now[0] in range(70):
        before = tried[2]
        refresh(catalogue)
        attempts += [now[0]] * (tried[2] - before)
    assert attempts == [0, 1, 3, 7, 15, 31, 63]
    assert answers(catalogue, "one") == 1
    # Changed files are a reason to try at once.
    breaks.clear()
    refresh(catalogue)
    assert served(catalogue) == [1]
    (root / "one" / "2" / "repaired").touch()
    refresh(catalogue)
    assert served(catalogue) == [1, 2]


def test_models_load_side_by_side_and_are_served_as_they_come(root, light, monkeypatch):
    from coda_keras_export.server import catalogue as module

    gate, both, loading = threading.Event(), threading.Barrier(2), module.Servable.warm_up

    def slowly(servable):
        both.wait(LIMIT)
        if servable.path.parent.name == "one":
            assert gate.wait(LIMIT)
        return loading(servable)

    monkeypatch.setattr(module.Servable, "warm_up", slowly)
    loaded = threading.Event()
    catalogue = Catalogue(root, loaders=2, attempted=lambda *_: loaded.set())
    catalogue.refresh()
    try:
        assert loaded.wait(LIMIT)
        assert answers(catalogue, "two") == 1
        assert catalogue.states("one") == {1: (LOADING, "")}
        assert catalogue.models() == {"one": False, "two": True}
        refused = pytest.raises(tf.errors.UnavailableError, match="still loading")
        with refused, catalogue.use("one"):
            pass
        # Another look does not load it twice.
        catalogue.refresh()
    finally:
        gate.set()
    catalogue.wait()
    assert answers(catalogue, "one") == 1


def test_the_newest_of_every_model_come_first(root, light, monkeypatch):
    from coda_keras_export.server import catalogue as module

    versions(root, 2)
    shutil.copytree(root / "one" / "2", root / "two" / "2")
    order, loading = [], module.Servable

    def load(path, **options):
        order.append((path.parent.name, path.name))
        return loading(path, **options)

    monkeypatch.setattr(module, "Servable", load)
    refresh(Catalogue(root, loaders=1))
    assert order == [("one", "2"), ("two", "2"), ("one", "1"), ("two", "1")]


def test_what_is_deleted_while_it_loads_is_not_served(root, monkeypatch):
    from coda_keras_export.server import catalogue as module

    begun, gate, loading = threading.Event(), threading.Event(), module.Servable.warm_up
    loaded = []

    def slowly(servable):
        loaded.append(servable)
        begun.set()
        assert gate.wait(LIMIT)
        return loading(servable)

    monkeypatch.setattr(module.Servable, "warm_up", slowly)
    shutil.rmtree(root / "two")
    catalogue = Catalogue(root)
    catalogue.refresh()
    assert begun.wait(LIMIT)
    shutil.rmtree(root / "one")
    catalogue.refresh()
    gate.set()
    catalogue.wait()
    assert catalogue.states("one") == {}
    assert [servable._session for servable in loaded] == [None]


GRAPH = "saved_model.pb"


def resized(size):
    def spoil(path):
        with path.open("r+b") as file:
            file.truncate(size)

    return spoil


def replaced(make):
    def spoil(path):
        path.unlink()
        make(path)

    return spoil


@pytest.mark.parametrize(
    ("name", "spoil", "sentence"),
    [
        (GRAPH, resized(3 << 30), "has 3221225472 bytes, more than the 134217728"),
        ("variables/variables.index", resized(40 << 30), "has 42949672960 bytes"),
        (WARM_UP, resized(40 << 30), "has 42949672960 bytes"),
        (GRAPH, replaced(os.mkfifo), "no complete SavedModel"),
        (GRAPH, replaced(lambda path: path.symlink_to("/dev/zero")), "no complete SavedModel"),
    ],
    ids=["graph", "index", "warm-up", "fifo", "device"],
)
def test_files_of_absurd_sizes_are_not_read(root, monkeypatch, name, spoil, sentence):
    shutil.copytree(root / "one" / "1", root / "one" / "2")
    spoil(root / "one" / "2" / name)
    loading = tf.compat.v1.saved_model.load

    def load(session, tags, path):
        assert not path.endswith("one/2"), "it was read"
        return loading(session, tags, path)

    monkeypatch.setattr(tf.compat.v1.saved_model, "load", load)
    catalogue = Catalogue(root)
    refresh(catalogue)
    state = catalogue.states("one")[2]
    assert (state.name, sentence in state.reason) == (FAILED, True), state.reason
    assert answers(catalogue, "one") == answers(catalogue, "two") == 1


def test_a_load_that_hangs_is_given_up_and_its_repair_tried(root, light, monkeypatch):
    from coda_keras_export.server import catalogue as module

    gates = {"2": threading.Event()}
    tried, loading, now = Counter(), module.Servable, [0.0]

    def load(path, **options):
        tried[path.name] += path.parent.name == "one"
        if path.parent.name == "one" and path.name in gates:
            gates[path.name].wait(LIMIT)
        return loading(path, **options)

    monkeypatch.setattr(module, "Servable", load)
    attempts = []
    catalogue = Catalogue(
        root,
        loaders=1,
        load_seconds=LIMIT,
        attempted=lambda path, loaded: attempts.append((path.name, loaded)),
        clock=lambda: now[0],
    )
    refresh(catalogue)
    shutil.copytree(root / "one" / "1", root / "one" / "2")
    catalogue._loaders.seconds = 0.05
    refresh(catalogue)
    state = catalogue.states("one")[2]
    assert (state.name, "more than 0.05 s to load" in state.reason) == (FAILED, True)
    assert attempts[-1] == ("2", False)
    # One thread is all there is, and it still hangs; yet others load.
    catalogue._loaders.seconds = LIMIT
    shutil.copytree(root / "two" / "1", root / "two" / "2")
    refresh(catalogue)
    assert answers(catalogue, "two") == 2
    # It would hang again.
    now[0] = 10.0**6
    refresh(catalogue)
    assert (tried["2"], served(catalogue)) == (1, [1])
    hanging = gates.pop("2")
    (root / "one" / "2" / "repaired").touch()
    refresh(catalogue)
    assert (tried["2"], served(catalogue)) == (2, [1, 2])
    # What ends after all changes nothing.
    entry = catalogue._versions["one", 2]
    servable = entry.servable
    hanging.set()
    eventually(lambda: not entry.hanging)
    assert entry.servable is servable
    assert answers(catalogue, "one") == 2


def test_a_load_that_ends_while_it_is_given_up_is_tried_again(root, light, monkeypatch):
    from coda_keras_export.server import catalogue as module

    shutil.rmtree(root / "two")
    gate, loading, now = threading.Event(), module.Servable, [0.0]

    def load(path, **options):
        gate.wait(LIMIT)
        return loading(path, **options)

    def attempted(path, loaded):
        if not loaded:
            (entry,) = catalogue._versions.values()
            before = entry.hanging
            gate.set()
            eventually(lambda: entry.hanging == before - 1)

    monkeypatch.setattr(module, "Servable", load)
    catalogue = Catalogue(root, load_seconds=0.05, attempted=attempted, clock=lambda: now[0])
    refresh(catalogue)
    assert served(catalogue) == []
    catalogue._loaders.seconds, now[0] = LIMIT, 10.0**6
    refresh(catalogue)
    assert served(catalogue) == [1]
