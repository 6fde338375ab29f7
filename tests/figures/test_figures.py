"""Figures: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from coda_keras import figures
from coda_keras.figures import (
    Column,
    contribution_rgb,
    figure_rgb,
    save_figure,
    shared_scale,
)


@pytest.fixture
def images(rng):
    return rng.random((3, 6, 8, 3))


def pictures(figure):
    """The pictures of a figure, row by row, colour bars left out."""
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    return [np.asarray(picture) for picture in shown]


def test_a_table_has_a_row_for_each_image_and_a_column_for_each_method(images, rng):
    ours, rise = rng.normal(size=(3, 6, 8)), rng.random((3, 6, 8))
    columns = [Column("Ours", ours, ["a", "b", "c"]), Column("RISE", rise, signed=False)]
    figure = figures.map_table(images, columns, ["cat", "dog", "frog"])
    drawn = pictures(figure)
    assert len(drawn) == 9
    for row in range(3):
        image, signed, own = drawn[3 * row : 3 * row + 3]
        np.testing.assert_array_equal(image, np.rint(255 * images[row]))
        np.testing.assert_array_equal(signed, contribution_rgb(ours[row]))
        lowest = np.unravel_index(rise[row].argmin(), (6, 8))
        highest = np.unravel_index(rise[row].argmax(), (6, 8))
        np.testing.assert_allclose(own[lowest], colormaps["jet"](0.0)[:3])
        np.testing.assert_allclose(own[highest], colormaps["jet"](1.0)[:3])
    texts = {axes.get_title() for axes in figure.axes} | {a.get_ylabel() for a in figure.axes}
    texts |= {axes.get_xlabel() for axes in figure.axes}
    assert texts >= {"input", "Ours", "RISE", "cat", "dog", "frog", "a", "b", "c"}


def test_rows_may_differ_in_their_colours(images, rng):
    maps = rng.random((3, 6, 8))
    columns = [Column(title, maps, signed=[True, False, True]) for title in ("intact", "random")]
    figure = figures.map_table(images, columns, ["Ours", "RISE", "IxG"])
    drawn = pictures(figure)
    for row in (0, 2):
        np.testing.assert_array_equal(drawn[3 * row + 1], contribution_rgb(maps[row]))
    lowest = np.unravel_index(maps[1].argmin(), (6, 8))
    np.testing.assert_allclose(drawn[4][lowest], colormaps["jet"](0.0)[:3])
    assert figure.axes[-1].get_xlabel() == "RISE"
    with pytest.raises(ValueError, match="lengths"):
        figures.map_table(images, [Column("Ours", maps, signed=[True])])


def test_pictures_are_shown_as_they_are_on_a_scale_of_ones_own(images, rng):
    maps, weights = rng.normal(size=(3, 6, 8)), rng.random((3, 6, 8, 3))
    columns = [Column("Ours", maps), Column("weights", weights, pictures=True)]
    figure = figures.map_table(images, columns, scale=0.5)
    drawn = pictures(figure)
    np.testing.assert_array_equal(drawn[4], contribution_rgb(maps[1], 0.5))
    np.testing.assert_array_equal(drawn[5], np.rint(255 * weights[1]))
    assert figure.axes[-1].get_xlabel().replace("\n", " ").endswith("(full colour: 0.5 logits)")


def test_the_keys_of_a_narrow_table_do_not_overlap(images, rng):
    maps = rng.normal(size=(3, 6, 8))
    columns = [Column("Ours", maps), Column("RISE", maps, signed=False)]
    figure = figures.map_table(images, columns)
    figure.draw_without_rendering()
    signed, own = (axes.xaxis.label.get_window_extent() for axes in figure.axes[-2:])
    assert signed.x1 <= own.x0


@pytest.mark.parametrize("scale", ["map", "row", "all"])
def test_maps_share_the_scale_asked_for(scale, images, rng):
    first, second = rng.normal(size=(3, 6, 8)), 5 * rng.normal(size=(3, 6, 8))
    first[1] *= 7
    columns = [Column("first", first), Column("second", second)]
    shown = pictures(figures.map_table(images, columns, scale=scale))
    for row in range(3):
        expected = {
            "map": shared_scale(first[row]),
            "row": shared_scale([first[row], second[row]]),
            "all": shared_scale([first, second]),
        }[scale]
        np.testing.assert_array_equal(shown[3 * row + 1], contribution_rgb(first[row], expected))


def test_maps_may_be_smaller_than_the_images_constant_or_zero(images):
    columns = [
        Column("zero", np.zeros((3, 2, 3))),
        Column("constant", np.ones((3, 1, 1)), signed=False),
    ]
    assert figure_rgb(figures.map_table(images, columns), dpi=40).std() > 0


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ([], {}, "0 columns"),
        ([Column("short", np.zeros((2, 4, 4)))], {}, "lengths"),
        ([Column("ours", np.zeros((3, 4, 4)), ["a"])], {}, "caption"),
        ([Column("ours", np.zeros((3, 4, 4)))], {"row_titles": ["a"]}, "row title"),
        ([Column("ours", np.zeros((3, 4, 4)))], {"scale": "column"}, "'column'"),
    ],
)
def test_tables_refuse_what_does_not_fit(columns, options, message, images):
    with pytest.raises(ValueError, match=message):
        figures.map_table(images, columns, **options)


def test_multi_images_frame_the_cell_of_the_class(rng):
    image, maps = rng.random((12, 18, 3)), rng.normal(size=(9, 12, 18))
    figure = figures.multi_image(image, maps, [f"class {k}" for k in range(9)])
    panels = {axes.get_title(): axes for axes in figure.axes}
    for cell in range(9):
        axes = panels[f"class {cell}"]
        row, column = divmod(cell, 3)
        (frame,) = axes.patches
        assert frame.get_xy() == (6 * column - 0.5, 4 * row - 0.5)
        assert (frame.get_width(), frame.get_height()) == (6, 4)
        expected = contribution_rgb(maps[cell], shared_scale(maps))
        np.testing.assert_array_equal(axes.images[0].get_array(), expected)
    assert figure.axes[-1].get_ylabel() == "contribution (logits)"
    named = figures.multi_image(image, maps, ["a"] * 9, quantity="slope")
    assert named.axes[-1].get_ylabel() == "slope"
    with pytest.raises(ValueError, match="n\\*n maps"):
        figures.multi_image(image, maps[:7], ["a"] * 7)


def test_animations_keep_every_frame(tmp_path, rng):
    frames, maps = rng.random((5, 6, 8, 3)), rng.normal(size=(5, 6, 8))
    animated = figures.animation_frames(frames, maps, height=12)
    assert animated.shape == (5, 12, 2 * 16 + 4, 3) and animated.dtype == np.uint8
    np.testing.assert_array_equal(animated[3, ::2, :16:2], np.rint(255 * frames[3]))
    scaled = contribution_rgb(maps, shared_scale(maps))
    np.testing.assert_array_equal(animated[:, ::2, 20::2], scaled)
    figures.save_gif(animated, tmp_path / "new/video.gif", seconds_per_frame=0.2)
    with Image.open(tmp_path / "new/video.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"]) == (5, (36, 12), 200)
        assert gif.info["loop"] == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["video.gif"]
    with pytest.raises(ValueError, match="Expected frames"):
        figures.animation_frames(frames, maps[:4])


def test_animations_say_what_they_explain_and_on_which_scale(rng):
    frames, maps = rng.random((2, 6, 8, 3)), rng.normal(size=(2, 6, 8))
    plain = figures.animation_frames(frames, maps, height=180)
    titled = figures.animation_frames(frames, maps, height=180, title="zebra")
    assert titled.shape == (2, plain.shape[1] + 72, *plain.shape[2:])
    np.testing.assert_array_equal(titled[:, : plain.shape[1]], plain)
    below = titled[0, plain.shape[1] :]
    for colour in ([255, 0, 0], [0, 0, 255]):
        assert (np.abs(below.astype(int) - colour).max(axis=-1) < 8).any()
    other = figures.animation_frames(frames, maps, height=180, title="horse")
    assert (other[0, plain.shape[1] :] != below).any()


def test_figures_become_files(tmp_path, images, rng):
    figure = figures.map_table(images, [Column("Ours", rng.normal(size=(3, 6, 8)))])
    for suffix, start in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        save_figure(figure, tmp_path / f"figure.{suffix}")
        assert (tmp_path / f"figure.{suffix}").read_bytes().startswith(start)


def test_columns_are_equal_if_they_are_the_same(rng):
    maps = rng.normal(size=(2, 4, 4))
    first, second = (figures.Column("Ours", maps.copy()) for _ in range(2))
    assert first == first and first != second and len({first, second}) == 2
