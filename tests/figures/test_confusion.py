import numpy as np
import pytest

from coda_keras import figures


def test_shares_of_every_class_are_drawn_and_written():
    counts = np.array([[3, 1, 0], [0, 0, 0], [2, 0, 6]])
    (axes,) = figures.confusion_matrix(counts, ["cat", "dog", "owl"]).axes
    np.testing.assert_allclose(
        axes.images[0].get_array(), [[0.75, 0.25, 0], [0, 0, 0], [0.25, 0, 0.75]]
    )
    assert axes.images[0].get_clim() == (0, 1)
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "75", (1, 0): "25", (0, 2): "25", (2, 2): "75"}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "owl"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_many_classes_are_drawn_without_numbers_and_names():
    counts = np.ones((50, 50))
    (axes,) = figures.confusion_matrix(counts, [f"class {k}" for k in range(50)]).axes
    assert not axes.texts
    assert "class 0" not in [label.get_text() for label in axes.get_yticklabels()]


@pytest.mark.parametrize("counts", [np.ones((2, 3)), -np.ones((3, 3)), np.full((3, 3), np.nan)])
def test_what_does_not_fit_is_refused(counts):
    with pytest.raises(ValueError, match=r"Expected counts \(3, 3\)"):
        figures.confusion_matrix(counts, ["cat", "dog", "owl"])
