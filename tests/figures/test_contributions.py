import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from coda_keras import figures
from coda_keras.evaluation import most_confident
from coda_keras.explanation.explanation import Explanation


def reference_rgb(value, scale):
    strength = max(-1.0, min(1.0, value / scale))
    faded = round(255 * (1 - abs(strength)))
    return [255, faded, faded] if strength >= 0 else [faded, faded, 255]


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 2), (2, 3, 1, 5)])
def test_colours_follow_the_rule_pixel_by_pixel(shape):
    maps = np.random.default_rng(0).normal(size=shape).astype("float32")
    colours = figures.contribution_rgb(maps, scale=1.3)
    assert colours.dtype == np.uint8
    assert colours.shape == (*shape, 3)
    for index in np.ndindex(shape):
        np.testing.assert_allclose(colours[index], reference_rgb(maps[index], 1.3), atol=1)


def test_colours_are_symmetric():
    maps = np.random.default_rng(1).normal(size=(6, 6))
    colours = figures.contribution_rgb(maps)
    np.testing.assert_array_equal(figures.contribution_rgb(-maps), colours[..., ::-1])


def test_scale_of_every_map_broadcasts():
    maps = np.random.default_rng(2).normal(size=(3, 4, 4))
    scales = np.array([0.5, 1.0, 2.0])
    together = figures.contribution_rgb(maps, scales[:, None, None])
    for colours, values, scale in zip(together, maps, scales):
        np.testing.assert_array_equal(colours, figures.contribution_rgb(values, scale))


def test_default_scale_is_the_percentile_of_the_magnitudes():
    magnitudes = np.arange(1, 401, dtype="float64")
    maps = (magnitudes * np.where(magnitudes % 2, 1, -1)).reshape(20, 20)
    # Linear interpolation between order statistics, as supplement A's clipping at 99.75 %.
    rank = 0.9975 * 399
    below = math.floor(rank)
    expected = magnitudes[below] + (rank - below) * (magnitudes[below + 1] - magnitudes[below])
    assert figures.shared_scale(maps) == pytest.approx(expected)
    np.testing.assert_array_equal(
        figures.contribution_rgb(maps), figures.contribution_rgb(maps, scale=expected)
    )


def test_shared_scale_of_maps_of_different_sizes():
    maps = [np.full((2, 2), 1.0), np.full((3, 5), -4.0)]
    assert figures.shared_scale(maps, percentile=100) == 4.0
    assert figures.shared_scale(maps, percentile=0) == 1.0


def test_sparse_maps_fall_back_to_the_largest_value():
    sparse = np.zeros((100, 100))
    sparse[3, 4] = -2.0
    assert figures.shared_scale(sparse) == 2.0


def test_maps_of_zeros_stay_white():
    assert (figures.contribution_rgb(np.zeros((2, 3, 3))) == 255).all()
    assert figures.shared_scale(np.zeros((2, 3, 3))) == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    maps = np.zeros((4, 4))
    maps[1, 2] = bad
    for draw in (figures.contribution_rgb, figures.shared_scale):
        with pytest.raises(ValueError, match="finite"):
            draw(maps)
    with pytest.raises(ValueError, match="finite"):
        figures.plot_contributions(np.zeros((4, 4, 3)), maps)


@pytest.mark.parametrize("scale", [0, -1.0, np.nan])
def test_scale_must_be_positive(scale):
    with pytest.raises(ValueError, match="positive"):
        figures.contribution_rgb(np.ones((2, 2)), scale=scale)


def test_no_maps_at_all_are_refused():
    for maps in ([], np.empty((0, 4, 4))):
        with pytest.raises(ValueError, match="at least one"):
            figures.shared_scale(maps)
    with pytest.raises(ValueError, match="height, width"):
        figures.contribution_rgb(np.ones(3))


def pictures(figure):
    return [image.get_array() for axis in figure.axes for image in axis.images]


def test_plot_of_several_maps_on_one_scale():
    random = np.random.default_rng(3)
    image = random.uniform(size=(5, 8, 3))
    maps = random.normal(size=(3, 5, 8)) * np.array([1, 10, 0.1])[:, None, None]
    figure = figures.plot_contributions(image, maps, titles=["a", "b", "c"], image_title="x")
    drawn = pictures(figure)
    np.testing.assert_allclose(drawn[0], 255 * image, atol=0.5)
    np.testing.assert_array_equal(drawn[1:], figures.contribution_rgb(maps))
    assert [axis.get_title() for axis in figure.axes[:4]] == ["x", "a", "b", "c"]
    bar = figure.axes[-1]
    assert bar.get_ylim() == pytest.approx((-figures.shared_scale(maps), bar.get_ylim()[1]))
    assert {image.get_interpolation() for a in figure.axes[:4] for image in a.images} == {"nearest"}


def test_plot_of_an_encoded_image_and_a_single_map():
    random = np.random.default_rng(4)
    rgb = random.uniform(size=(4, 4, 3))
    values = random.normal(size=(4, 4))
    plain = figures.plot_contributions(rgb, values, "title", colour_bar=False)
    encoded = figures.plot_contributions(np.concatenate([rgb, 1 - rgb], axis=-1), [values])
    for one, other in zip(pictures(plain), pictures(encoded)):
        np.testing.assert_array_equal(one, other)
    assert len(plain.axes) == 2
    assert plain.axes[1].get_title() == "title"


def test_wrong_shapes_and_numbers_are_refused():
    with pytest.raises(ValueError, match="height, width, 3"):
        figures.plot_contributions(np.zeros((3, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="one image"):
        figures.plot_contributions(np.zeros((2, 3, 3, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="1 titles"):
        figures.plot_contributions(np.zeros((3, 3, 3)), np.zeros((3, 3)), ["a", "b"])


@pytest.mark.parametrize("shared", [True, False])
def test_gallery_draws_every_pair(shared):
    random = np.random.default_rng(5)
    images = random.uniform(size=(7, 4, 6, 3))
    maps = random.normal(size=(7, 4, 6)) * np.arange(1, 8)[:, None, None]
    titles = [f"number {index}" for index in range(7)]
    figure = figures.gallery(images, maps, titles, columns=3, shared=shared)
    drawn = pictures(figure)
    scales = [figures.shared_scale(maps if shared else values) for values in maps]
    for index in range(7):
        np.testing.assert_allclose(drawn[2 * index], 255 * images[index], atol=0.5)
        expected = figures.contribution_rgb(maps[index], scales[index])
        np.testing.assert_array_equal(drawn[2 * index + 1], expected)
        assert figure.axes[index].get_title() == titles[index]
    assert len(figure.axes) == 9 + shared


def test_colour_bar_of_a_gallery_names_what_the_maps_show():
    images, maps = np.zeros((1, 4, 4, 3)), np.ones((1, 4, 4))
    for options, expected in (({}, "contribution (logits)"), ({"quantity": "slope"}, "slope")):
        figure = figures.gallery(images, maps, **options)
        # In lines that are not longer than the bar.
        bar = figure.axes[-1]
        assert bar.get_ylabel().replace("\n", " ") == expected
        figure.draw_without_rendering()
        assert bar.yaxis.label.get_window_extent().height < 1.1 * bar.get_window_extent().height


def test_gallery_of_several_maps_an_image():
    random = np.random.default_rng(7)
    images = random.uniform(size=(2, 4, 4, 6))
    maps = random.normal(size=(2, 3, 4, 4))
    figure = figures.gallery(images, maps, columns=1)
    drawn = pictures(figure)
    assert len(drawn) == 8
    expected = figures.contribution_rgb(maps)
    for index in range(2):
        np.testing.assert_array_equal(drawn[4 * index + 1 : 4 * index + 4], expected[index])


def over_white(rgba):
    return np.rint(255 * (rgba[..., 3:] * rgba[..., :3] + 1 - rgba[..., 3:]))


def test_plot_shows_weights_right_of_the_maps_over_white():
    random = np.random.default_rng(8)
    image, maps = random.uniform(size=(5, 8, 3)), random.normal(size=(2, 5, 8))
    weights = random.normal(size=(2, 5, 8, 6)) * np.array([1, 4])[:, None, None, None]
    drawn = pictures(figures.plot_contributions(image, maps, ["a", "b"], weights=weights))
    assert len(drawn) == 5
    np.testing.assert_array_equal(drawn[1:3], figures.contribution_rgb(maps))
    np.testing.assert_array_equal(drawn[3:], over_white(figures.weights_rgba(weights)))

    figure = figures.plot_contributions(image, maps[0], "a", weights=weights[1])
    assert [axis.get_title() for axis in figure.axes[:3]] == ["", "a", "weights"]
    expected = over_white(figures.weights_rgba(weights[1]))
    np.testing.assert_array_equal(pictures(figure)[2], expected)


@pytest.mark.parametrize("shared", [True, False])
def test_gallery_shows_weights_right_of_the_maps(shared):
    random = np.random.default_rng(9)
    images, maps = random.uniform(size=(3, 4, 4, 3)), random.normal(size=(3, 2, 4, 4))
    weights = random.normal(size=(3, 4, 4, 6)) * np.arange(1, 4)[:, None, None, None]
    drawn = pictures(figures.gallery(images, maps, weights=weights, shared=shared))
    assert len(drawn) == 3 * 4
    together = figures.weights_rgba(weights)
    for index in range(3):
        rgba = together[index] if shared else figures.weights_rgba(weights[index])
        np.testing.assert_array_equal(drawn[4 * index + 3], over_white(rgba))
        expected = figures.contribution_rgb(maps if shared else maps[index])
        expected = expected[index] if shared else expected
        np.testing.assert_array_equal(drawn[4 * index + 1 : 4 * index + 3], expected)


def test_gallery_shows_several_weights_an_image():
    weights = np.random.default_rng(10).normal(size=(2, 3, 4, 4, 6))
    drawn = pictures(figures.gallery(np.zeros((2, 4, 4, 3)), np.ones((2, 4, 4)), weights=weights))
    expected = over_white(figures.weights_rgba(weights))
    np.testing.assert_array_equal([drawn[2:5], drawn[7:10]], expected)


def test_gallery_needs_weights_for_each_image():
    with pytest.raises(ValueError, match=r"2 images.*3 of them"):
        figures.gallery(np.zeros((2, 3, 3, 3)), np.ones((2, 3, 3)), weights=np.ones((3, 3, 3, 6)))


def test_figure_rgb_shows_the_colours():
    figure = figures.gallery(np.zeros((1, 2, 2, 3)), np.full((1, 2, 2), 3.0), ["title"])
    pixels = figures.figure_rgb(figure, dpi=50)
    assert pixels.dtype == np.uint8
    assert pixels.shape[-1] == 3
    for colour in ([255, 0, 0], [0, 0, 0], [255, 255, 255]):
        assert (pixels == colour).all(axis=-1).mean() > 0.05


def test_gallery_titles_stay_within_their_pair():
    title = "great crested grebe predicted as sulphur-crested cockatoo"
    maps = np.ones((4, 3, 3))
    figure = figures.gallery(np.ones((4, 3, 3, 3)), maps, [title] * 4, columns=4)
    figure.draw_without_rendering()
    for axis in figure.axes[:4]:
        text, pair = axis.title.get_window_extent(), axis.get_window_extent()
        assert text.width <= 1.1 * pair.width
        assert text.y1 <= figure.bbox.y1


def test_gallery_needs_matching_numbers():
    with pytest.raises(ValueError, match="2 images and 3 maps"):
        figures.gallery(np.zeros((2, 3, 3, 3)), np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="0 images"):
        figures.gallery([], [])


def reference_most_confident(logits, labels, per_class):
    picked = []
    for label in range(logits.shape[1]):
        right = [
            (-row[label], index)
            for index, row in enumerate(logits)
            if labels[index] == label and max(row) == row[label]
        ]
        picked += [index for _, index in sorted(right)[:per_class]]
    return picked


@pytest.mark.parametrize("per_class", [1, 3, None])
def test_most_confident(per_class):
    random = np.random.default_rng(6)
    logits = random.normal(size=(60, 4))
    labels = random.integers(0, 3, size=60)
    expected = reference_most_confident(logits, labels, per_class)
    explanation = Explanation(logits, *[None] * 6)
    for given in (labels, labels[:, None], np.eye(4)[labels]):
        np.testing.assert_array_equal(
            np.concatenate(most_confident(explanation, given, per_class)), expected
        )
    assert len(expected) > 0


def test_most_confident_of_nothing_correct_is_empty():
    assert all(len(indices) == 0 for indices in most_confident(np.eye(3), [1, 2, 0]))
    with pytest.raises(ValueError, match="label"):
        most_confident(np.eye(3), [1, 2])


def test_figures_are_written_whole_or_not_at_all(tmp_path):
    figure = figures.plot_contributions(np.zeros((4, 4, 3)), np.ones((4, 4)), "a title")
    for suffix, head in [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]:
        path = tmp_path / "new" / f"figure.{suffix}"
        figures.save_figure(figure, path)
        assert path.read_bytes().startswith(head)
    with Image.open(tmp_path / "new" / "figure.png") as picture:
        assert picture.width > picture.height > 150
    with pytest.raises(ValueError, match=r"figure\.xyz"):
        figures.save_figure(figure, tmp_path / "new" / "figure.xyz")

    class Broken(Figure):
        def savefig(self, path, **kwargs):
            path.write_bytes(b"half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        figures.save_figure(Broken(), tmp_path / "new" / "figure.png")
    assert len(list((tmp_path / "new").iterdir())) == 3
    assert (tmp_path / "new" / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_contributions_of_six_channels_are_no_maps(rng):
    images, contributions = rng.uniform(size=(2, 5, 4, 3)), rng.normal(size=(2, 5, 4, 6))
    for draw in (
        lambda: figures.plot_contributions(images[0], contributions[0]),
        lambda: figures.gallery(images, contributions),
    ):
        with pytest.raises(ValueError, match=r"\(5, 4, 6\); give `contribution_map`"):
            draw()
    # Five maps of four rows and six columns are no such thing, and a list is what it says.
    figures.plot_contributions(images[0], rng.normal(size=(5, 4, 7)))
    figures.plot_contributions(images[0], list(contributions[0]))


def test_a_gallery_has_a_note_below(rng):
    images, maps = rng.uniform(size=(2, 5, 5, 3)), rng.normal(size=(2, 5, 5))
    figure = figures.gallery(images, maps, note="No correctly classified image of owl.")
    figure.draw_without_rendering()
    (note,) = [text for text in figure.texts if "owl" in text.get_text()]
    lowest = min(axes.get_window_extent().y0 for axes in figure.axes)
    assert note.get_window_extent().y1 <= lowest + 1
