"""Accuracy and localisation over a setting: every line shows the numbers given."""

import pytest

from coda_keras.figures import Curve, sweep_figure


def test_both_scores_have_a_line_for_each_kind_and_the_published_ones():
    squash = Curve(
        "SQ", "red", {10: 0.5, 100: 0.25}, {10: 0.125}, published_localisation={10: 0.75}
    )
    figure = sweep_figure([squash, Curve("L2", "blue", {}, {})], "T", "small", logarithmic=True)
    accuracy, localisation = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["test accuracy", "localisation, 3x3"]
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}
    (line,) = accuracy.lines
    assert line.get_xydata().tolist() == [[10, 0.5], [100, 0.25]]
    published, ours, uniform = localisation.lines
    assert (published.get_linestyle(), ours.get_linestyle()) == ("--", "-")
    assert published.get_xydata().tolist() == [[10, 0.75]]
    assert ours.get_xydata().tolist() == [[10, 0.125]]
    assert uniform.get_ydata() == pytest.approx([1 / 9, 1 / 9])
    assert figure.get_suptitle() == "small"


@pytest.mark.parametrize(
    ("values", "expected"), [((1.077, 3.951), ["1.08", "3.95"]), ((1.0, 10.0), None)]
)
def test_a_logarithmic_axis_within_a_decade_has_the_numbers_of_the_nets(values, expected):
    curve = Curve("SQ", "red", dict.fromkeys(values, 0.5), {})
    (axes,) = sweep_figure([curve], "million parameters", logarithmic=True).axes
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert (labels == expected) == (expected is not None)


def test_unknown_scores_have_no_panel():
    figure = sweep_figure([Curve("SQ", "red", {"0": 0.5}, {})], "λ")
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0"]
    with pytest.raises(ValueError, match="at least one row"):
        sweep_figure([Curve("SQ", "red", {}, {})], "λ")
