"""Every figure shows images of the same kinds in the same way, and refuses the same ones."""

import numpy as np
import pytest

from coda_keras import figures
from coda_keras.figures import Column

SIDE = 6


def first_picture(figure):
    return figure.axes[0].images[0].get_array()


def in_animation(image, map_):
    return figures.animation_frames(image[None], map_[None], height=1)[0, :, :SIDE]


DRAWN = {
    "plot": lambda image, map_: first_picture(figures.plot_contributions(image, map_)),
    "gallery": lambda image, map_: first_picture(figures.gallery(image[None], map_[None])),
    "table": lambda image, map_: first_picture(
        figures.map_table(image[None], [Column("a map", map_[None])])
    ),
    "multi-image": lambda image, map_: first_picture(
        figures.multi_image(image, np.stack([map_] * 4), ["a title"] * 4)
    ),
    "animation": in_animation,
}


@pytest.fixture(params=DRAWN)
def drawn(request, rng):
    values = rng.normal(size=(SIDE, SIDE))
    return lambda image: DRAWN[request.param](image, values)


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (SIDE, SIDE, 3), "uint8")


def test_8_bit_images_are_shown_as_they_are(drawn, picture):
    np.testing.assert_array_equal(drawn(picture), picture)


def test_8_bit_images_are_not_rescaled_even_if_dark(drawn, picture):
    np.testing.assert_array_equal(drawn(picture // 255), picture // 255)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_shown_from_0_to_1(drawn, picture, dtype):
    np.testing.assert_array_equal(drawn((picture / 255).astype(dtype)), picture)


def test_encoded_images_are_shown_without_complements(drawn, picture):
    image = picture.astype("float32") / 255
    np.testing.assert_array_equal(drawn(np.concatenate([image, 1 - image], -1)), picture)


def test_rounding_beyond_the_range_is_forgiven(drawn):
    image = np.full((SIDE, SIDE, 3), 1 + 1e-6)
    image[0] = -1e-6
    shown = drawn(image)
    assert (shown[0] == 0).all() and (shown[1:] == 255).all()


@pytest.mark.parametrize("value", [1.1, -0.1, 200.0, np.nan])
def test_floats_out_of_range_are_refused(drawn, value):
    image = np.zeros((SIDE, SIDE, 3))
    image[1, 2, 0] = value
    with pytest.raises(ValueError, match="divide 8-bit images by 255"):
        drawn(image)


def test_other_integers_are_refused(drawn, picture):
    for dtype in ("int64", "uint16", "bool"):
        with pytest.raises(ValueError, match=f"dtype {dtype}"):
            drawn(picture.astype(dtype))


def test_other_shapes_are_refused(drawn):
    for shape in ((SIDE, SIDE, 1), (SIDE, SIDE, 4)):
        with pytest.raises(ValueError, match="height, width, 3"):
            drawn(np.zeros(shape))
