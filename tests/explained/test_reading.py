"""Explained data sets, opened again."""

import json
import shutil

import keras
import numpy as np
import pytest
from tiny import SIZE

from coda_keras import CoDANet, DAUConv2D, explain_to_parquet
from coda_keras.explained import parts

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from coda_keras.explained.description import DESCRIPTION  # noqa: E402
from coda_keras.explained.reading import Explanations  # noqa: E402

pytestmark = pytest.mark.once
ROWS = 12


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """A folder of explanations, and its rows."""
    folder = tmp_path_factory.mktemp("explained")
    keras.utils.set_random_seed(1)
    layers = [DAUConv2D(4, 3, 3, strides=2), DAUConv2D(3, 3, 3)]
    net = CoDANet(layers, temperature=0.01, image_size=SIZE, class_names=["a", "b", "c"])
    images = np.random.default_rng(0).integers(0, 255, (ROWS, SIZE, SIZE, 3)).astype("uint8")
    np.savez(folder / "data.npz", images=images, labels=np.arange(ROWS) % 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_ROWS", 5)
        explain_to_parquet(net, folder / "data.npz", folder / "out", progress=False)
    return folder / "out", pq.read_table(folder / "out").to_pylist()


@pytest.mark.parametrize("column", ["probability", "negative", "residual", "predicted"])
def test_rows_are_sorted_and_bounded(explained, column):
    folder, rows = explained
    values = [row[column] for row in rows]
    chosen, total = Explanations(folder).choose(sort=column, descending=True, limit=4)
    assert total == ROWS
    assert [values[row] for row in chosen] == sorted(values, reverse=True)[:4]
    low, high = sorted(values)[3], sorted(values)[-3]
    chosen, total = Explanations(folder).choose(sort=column, low=low, high=high)
    assert [values[row] for row in chosen] == [v for v in sorted(values) if low <= v <= high]


def test_rows_are_filtered_by_class_and_mistake(explained):
    folder, rows = explained
    explanations = Explanations(folder)
    right = {row["row"] for row in rows if row["predicted"] == row["label"]}
    chosen, total = explanations.choose(wrong=True)
    assert set(chosen) == set(range(ROWS)) - right and total == len(chosen)
    name = rows[0]["predicted_name"]
    chosen, _ = explanations.choose(predicted=name)
    assert chosen == [row["row"] for row in rows if row["predicted_name"] == name]
    assert explanations.choose(label="1")[0] == [1, 4, 7, 10]
    with pytest.raises(ValueError, match="There is no class 'd'"):
        explanations.choose(label="d")
    with pytest.raises(ValueError, match="None of the images"):
        explanations.choose(sort="probability", low=2.0)


def test_a_view_has_maps_images_and_names_of_its_rows(explained):
    folder, rows = explained
    view = Explanations(folder).view([7, 0, 11])
    assert view.names == ["test/7", "test/0", "test/11"]
    np.testing.assert_array_equal(view.labels, [1, 0, 2])
    np.testing.assert_array_equal(view.maps[1, 0].reshape(-1), np.float32(rows[0]["map"]))
    np.testing.assert_allclose(view.logits[2], rows[11]["logits"])
    sums = view.bias + view.maps.sum((1, 2, 3))
    explained_logits = np.take_along_axis(view.logits, view.class_ids, 1)[:, 0]
    np.testing.assert_allclose(sums, explained_logits, rtol=1e-2, atol=1e-2)
    with np.load(folder.parent / "data.npz") as arrays:
        np.testing.assert_array_equal(view.images, arrays["images"][[7, 0, 11]])


def test_another_folder_is_told(tmp_path):
    with pytest.raises(ValueError, match="holds no explanations"):
        Explanations(tmp_path)


@pytest.fixture
def changed(explained, tmp_path):
    """A copy of the folder with another description, and another first file."""

    def write(about=None, table=None):
        folder = shutil.copytree(explained[0], tmp_path / "changed", dirs_exist_ok=True)
        description = folder / DESCRIPTION
        if isinstance(about, bytes):
            description.write_bytes(about)
        elif about is not None:
            description.write_text(json.dumps({**json.loads(description.read_text()), **about}))
        if table is not None:
            part = folder / "part-000000.parquet"
            pq.write_table(table(pq.read_table(part)), part)
        return folder

    return write


@pytest.mark.parametrize(
    "about",
    [
        b"{",
        b"[]",
        b"7",
        b"\xff",
        b"[" * 100_000,
        {"image_size": [10**9, 10**9]},
        {"image_size": [0, 8]},
        {"image_size": "8"},
        {"rows_of_part": 0},
        {"class_names": None},
        {"class_names": [1, 2, 3]},
        {"bias": "0"},
        {"card": {}},
        {"images": -1},
        {"opened": {"place": 7}},
        {"opened": {"place": "x", "evil": "y"}},
    ],
)
def test_damaged_descriptions_are_refused(changed, about):
    with pytest.raises(ValueError, match="describes no explained images") as error:
        Explanations(changed(about))
    assert "\n" not in str(error.value)


def test_files_with_other_columns_or_rows_are_refused(changed):
    for table in (
        lambda rows: rows.drop_columns(["map"]),
        lambda rows: rows.set_column(0, "row", pa.array(["x"] * len(rows))),
    ):
        with pytest.raises(ValueError, match="has other columns"):
            Explanations(changed(table=table))
    with pytest.raises(ValueError, match="has other columns"):
        Explanations(changed({"class_names": ["a"]}))

    def filled(name, value):
        def change(rows):
            field = rows.schema.field(name)
            values = pa.array([value] * len(rows), field.type)
            return rows.set_column(rows.schema.names.index(name), field, values)

        return change

    for name, value, said in (
        ("predicted", 7, "of no class"),
        ("predicted", None, "without numbers"),
        ("logits", None, "without numbers"),
        ("row", 3, "lacks the rows 0"),
    ):
        folder = changed(table=filled(name, value))
        with pytest.raises(ValueError, match=said):
            Explanations(folder).view([0])
    with pytest.raises(ValueError, match="rows without numbers"):
        Explanations(changed(table=filled("row", None))).choose()
    part = changed() / "part-000001.parquet"
    part.write_bytes(part.read_bytes()[:2000])
    with pytest.raises(ValueError, match="is no Parquet, or damaged"):
        Explanations(part.parent)
