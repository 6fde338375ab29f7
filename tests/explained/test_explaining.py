"""Data sets explained into Parquet: rows, resumption, what is refused."""

import json

import keras
import numpy as np
import pytest
from tiny import SIZE

from coda_keras import CoDANet, DAUConv2D, explain_to_parquet
from coda_keras.explained import parts
from coda_keras.explanation.dataset import explain_dataset

pq = pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.slow_on_jax
ROWS = 12
CLASSES = ["north", "east", "south"]


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(1)
    layers = [DAUConv2D(4, 3, 3, strides=2), DAUConv2D(3, 3, 3)]
    return CoDANet(layers, temperature=2.0, image_size=SIZE, class_names=CLASSES)


@pytest.fixture
def images(tmp_path, rng):
    """Twelve images with labels of other names than the net's, in an `.npz` file."""
    arrays = rng.integers(0, 255, (ROWS, SIZE, SIZE, 3)).astype("uint8")
    labels = np.arange(ROWS) % 3
    path = tmp_path / "data.npz"
    np.savez(path, images=arrays, labels=labels, class_names=["south", "north", "up"])
    return path, arrays


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "PART_ROWS", 5)


def frame(folder):
    return pq.read_table(folder).to_pylist()


def test_every_image_is_a_row(net, images, tmp_path):
    path, arrays = images
    options = {"maps": "float32", "channels": True, "batch_size": 2, "progress": False}
    done = explain_to_parquet(net, path, tmp_path / "out", **options)
    assert done == (tmp_path / "out", ROWS, 0)
    assert len(list((tmp_path / "out").glob("part-*.parquet"))) == 3
    rows = frame(tmp_path / "out")
    assert [row["row"] for row in rows] == list(range(ROWS))
    (expected,) = explain_dataset(net, [np.float32(arrays / 255.0)], progress=False)
    logits = np.array([row["logits"] for row in rows])
    np.testing.assert_allclose(logits, expected.logits, atol=1e-5)
    maps = np.array([row["map"] for row in rows]).reshape(-1, SIZE, SIZE)
    largest = np.abs(expected.contribution_map).max()
    np.testing.assert_allclose(maps, expected.contribution_map, atol=1e-5 * largest)
    channels = np.array([row["contributions"] for row in rows]).reshape(-1, SIZE, SIZE, 6)
    np.testing.assert_allclose(channels.sum(-1), maps, atol=1e-5 * largest)
    predicted = [row["predicted"] for row in rows]
    assert predicted == logits.argmax(-1).tolist()
    assert [row["predicted_name"] for row in rows] == [CLASSES[i] for i in predicted]
    np.testing.assert_allclose(
        [row["probability"] for row in rows], 1 / (1 + np.exp(-logits.max(-1))), rtol=1e-5
    )
    share = np.maximum(-maps, 0).sum((1, 2)) / np.abs(maps).sum((1, 2))
    np.testing.assert_allclose([row["negative"] for row in rows], share, atol=1e-5)
    assert max(abs(row["residual"]) for row in rows) < 1e-4
    # By their names where the net has these, else by their numbers.
    assert [row["label"] for row in rows[:3]] == [2, 0, 2]
    assert [row["label_name"] for row in rows[:3]] == ["south", "north", "up"]
    assert {row["error"] for row in rows} == {None}


def test_files_say_what_they_hold(net, images, tmp_path):
    explain_to_parquet(net, images[0], tmp_path / "out", progress=False)
    schema = pq.read_schema(next((tmp_path / "out").glob("*.parquet")))
    about = json.loads(schema.metadata[b"coda_keras"])
    assert about["class_names"] == CLASSES and about["image_size"] == [SIZE, SIZE]
    assert about["bias"] == pytest.approx(net.logit_bias)
    assert about["card"]["parameters"] == net.count_params()
    assert str(schema.field("map").type) == "fixed_size_list<element: halffloat>[64]"
    assert all(field.metadata[b"about"] for field in schema)


def test_what_is_missing_is_explained_and_nothing_else(net, images, tmp_path):
    folder = tmp_path / "out"
    explain_to_parquet(net, images[0], folder, progress=False)
    before = frame(folder)
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    # A file without its end has never its name; what a killed process leaves has another.
    (folder / "part-000001.parquet").rename(folder / ".part-000001.0123.parquet")
    explain_to_parquet(net, images[0], folder, progress=False)
    assert frame(folder) == before
    changed = {p.name for p in folder.glob("*.parquet") if p.stat().st_mtime_ns != times[p.name]}
    assert changed == {"part-000001.parquet"}
    assert not list(folder.glob(".part*"))
    with pytest.raises(FileExistsError, match="explanations with another maps"):
        explain_to_parquet(net, images[0], folder, maps="none", progress=False)
    with pytest.raises(FileExistsError, match="another images, source"):
        explain_to_parquet(net, images[0], folder, limit=7, progress=False)


def test_a_bad_image_is_a_row_with_an_error(net, tmp_path):
    from PIL import Image

    for name in ("a", "b", "c"):
        folder = tmp_path / "images" / "north"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 8), "red").save(folder / f"{name}.png")
    (folder / "b.png").write_bytes(b"none")
    done = explain_to_parquet(net, tmp_path / "images", tmp_path / "out", progress=False)
    assert (done.rows, done.errors) == (3, 1)
    first, bad, last = frame(tmp_path / "out")
    assert bad["error"].startswith("north/b.png is no image") and bad["id"] == "north/b.png"
    assert bad["label"] == 0 and bad["label_name"] == "north"
    numbers = (
        "predicted",
        "predicted_name",
        "probability",
        "residual",
        "negative",
        "logits",
        "map",
    )
    assert {bad[name] for name in numbers} == {None}
    assert first["logits"] == last["logits"] and first["error"] is None


def test_classes_without_a_name_for_each_are_numbered(images, tmp_path):
    net = CoDANet([DAUConv2D(4, 3, 3)], temperature=2.0, image_size=SIZE)
    net.class_names = ["a", "b"]
    explain_to_parquet(net, images[0], tmp_path / "out", maps="none", progress=False)
    about = json.loads((tmp_path / "out/_explained.json").read_text())
    assert about["class_names"] == ["0", "1", "2", "3"]


def test_maps_can_be_left_out(net, images, tmp_path):
    explain_to_parquet(net, images[0], tmp_path / "out", maps="none", limit=4, progress=False)
    rows = frame(tmp_path / "out")
    assert len(rows) == 4 and "map" not in rows[0] and len(rows[0]["logits"]) == 3


def test_arguments_that_do_not_fit_are_told(net, images, tmp_path):
    with pytest.raises(ValueError, match="`channels` needs maps"):
        explain_to_parquet(net, images[0], tmp_path / "out", maps="none", channels=True)
    with pytest.raises(ValueError, match="Unknown `maps`"):
        explain_to_parquet(net, images[0], tmp_path / "out", maps="int8")
    for name in ("size", "limit", "batch_size"):
        with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
            explain_to_parquet(net, images[0], tmp_path / "out", **{name: 0})
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.parquet").touch()
    with pytest.raises(FileExistsError, match="other Parquet files"):
        explain_to_parquet(net, images[0], tmp_path / "other")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/cat.png").touch()
    with pytest.raises(FileExistsError, match="holds other files"):
        explain_to_parquet(net, images[0], tmp_path / "pictures")


def test_parts_are_bounded_in_memory():
    for size in ((32, 32), (224, 224), (1000, 1000)):
        rows = parts.rows_of_part(size, "float16", False)
        assert 1 <= rows <= parts.PART_ROWS
        assert rows * size[0] * size[1] * 5 <= max(parts.PART_BYTES, size[0] * size[1] * 5)
