"""Panels about metrics: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from coda_keras import figures
from coda_keras.figures import Entry, Panel, Row


def a_box(rng):
    low, median, high = np.sort(rng.random(3))
    return float(rng.random()), (low, median, high)


def test_boxes_show_mean_and_quartiles_of_both_kinds(rng):
    ours, theirs, other = (a_box(rng) for _ in range(3))
    entries = [Entry("Ours", "red", ours, published_box=theirs), Entry("RISE", "green", other)]
    panel = Panel("localised", entries, y_label="share", y_range=(0, 1.1), reference=0.25)
    (axes,) = figures.metrics_figure([Row("a net", [panel])]).axes
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    for box, (_, (low, _, high)) in zip(boxes, [ours, theirs, other]):
        assert (box.get_y(), box.get_y() + box.get_height()) == pytest.approx((low, high))
    dots = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert dots == [ours[0], theirs[0], other[0]]
    written = [float(text.get_text()) for text in axes.texts]
    np.testing.assert_allclose(written, dots, atol=0.005)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Ours", "RISE"]
    assert set(axes.lines[-1].get_ydata()) == {0.25}
    assert axes.get_title() == "localised (dotted: uniform)"
    assert axes.get_ylabel() == "share"
    assert axes.get_ylim() == (0, 1.1)


@pytest.mark.parametrize(("mean", "text"), [(0.5, ".50"), (-0.25, "-.25"), (12.34, "12.3")])
def test_means_of_any_size_are_readable(mean, text):
    panel = Panel("score", [Entry("Ours", "red", (mean, (mean - 1, mean, mean + 1)))])
    (axes,) = figures.metrics_figure([Row("a net", [panel])]).axes
    assert [note.get_text() for note in axes.texts] == [text]


def test_curves_show_the_numbers_given(rng):
    ours, theirs = (np.arange(9), rng.random(9)), (np.arange(5), rng.random(5))
    entries = [Entry("Ours", "red", curve=ours, published_curve=theirs), Entry("RISE", "green")]
    (axes,) = figures.metrics_figure([Row("a net", [Panel("removed", entries)])]).axes
    dashed, solid = axes.lines
    assert (dashed.get_linestyle(), solid.get_linestyle()) == ("--", "-")
    np.testing.assert_allclose(solid.get_xydata(), np.transpose(ours))
    np.testing.assert_allclose(dashed.get_xydata(), np.transpose(theirs))
    # A method without a curve is not in the legend of the curves.
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["Ours", "this run", "published"]


def test_curves_over_names_are_marked():
    curve = (("none", "layer_2", "layer_1"), (1.0, 0.5, -0.1))
    entries = [Entry("Ours", "red", curve=curve)]
    panel = Panel("similar", entries, reference=0.0, markers=True)
    (axes,) = figures.metrics_figure([Row("a net", [panel])]).axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), curve[1])
    assert axes.lines[0].get_marker() == "o"
    assert [label.get_text() for label in axes.get_xticklabels()] == list(curve[0])
    assert axes.get_title() == "similar"


def test_each_row_has_the_panels_given(rng):
    box = [Entry("Ours", "red", a_box(rng))]
    curve = [Entry("Ours", "red", curve=((0, 1), (0.2, 0.1)))]
    rows = [
        Row("first", [Panel("a", box), Panel("b", curve), Panel("c", curve)]),
        Row("second", [Panel("d", curve)]),
    ]
    titles = [axes.get_title() for axes in figures.metrics_figure(rows).axes]
    assert titles == ["a", "b", "c", "d"]


@pytest.mark.parametrize("rows", [[], [Row("no panels", [])], [Row("empty", [Panel("a", [])])]])
def test_nothing_to_draw_is_refused(rows):
    with pytest.raises(ValueError, match="at least one row"):
        figures.metrics_figure(rows)


def test_the_first_curve_lies_on_top_and_published_ones_below():
    def curve(height):
        return (0, 1), (height, height)

    entries = [
        Entry("Ours", "red", curve=curve(0.1), published_curve=curve(0.2)),
        Entry("LIME", "olive", curve=curve(0.1), published_curve=curve(0.2)),
    ]
    (axes,) = figures.metrics_figure([Row("a net", [Panel("removed", entries)])]).axes
    order = sorted(axes.lines, key=lambda line: line.get_zorder())
    assert [(line.get_color(), line.get_linestyle()) for line in order] == [
        *(("olive", "--"), ("red", "--"), ("olive", "-"), ("red", "-")),
    ]


def test_boxes_say_how_many_they_are_about(rng):
    entries = [Entry("Ours", "red", a_box(rng), count=500), Entry("RISE", "green", a_box(rng))]
    panel = Panel("localised", entries, x_label="(number of multi-images)")
    (axes,) = figures.metrics_figure([Row("a net", [panel])]).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Ours (500)", "RISE"]
