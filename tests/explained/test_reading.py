"""Explained data sets, opened again."""

import keras
import numpy as np
import pytest
from tiny import SIZE

from coda_keras import CoDANet, DAUConv2D, explain_to_parquet
from coda_keras.explained import parts

pq = pytest.importorskip("pyarrow.parquet")

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
