"""What a prompt and a notebook show of explanations and figures."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from coda_keras import CoDANet, DAUConv2D, backend, figures
from coda_keras.explanation import display

# Pictures of arrays, whatever has computed them.
pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def net():
    return CoDANet([DAUConv2D(4, 2, 3), DAUConv2D(3, 2, 1)], temperature=0.1, image_size=8)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(size=(5, 8, 8, 3)).astype("float32")


def shown(explanation):
    return Image.open(io.BytesIO(explanation._repr_png_())).convert("RGB")


def test_an_explanation_is_a_line(net, images):
    explanation = net.explain(images, [2, 0, 1, 1, 0])
    for item in (explanation, explanation.numpy()):
        assert repr(item).startswith("Explanation(5 images of 8x8; class_ids=[2, 0, 1, 1, 0]; ")
        assert f"completeness error at most {explanation.completeness_error.max():.1e})" in repr(
            item
        )
    assert "1 image of 8x8, 3 classes each" in repr(net.explain(images[:1], "all"))
    many = net.explain(images.repeat(100, axis=0))
    assert len(repr(many)) < 200 and "500 images" in repr(many)
    assert "5 images of 8x8; activation=[" in repr(net.explain_layer(images, 1, 2))


def test_classes_have_their_names(net, images):
    named = CoDANet(net.body, temperature=0.1, class_names=["cat", "dog", "small owl"])
    assert "; classes=[small owl, cat]; " in repr(named.explain(images[:2], [2, 0]))
    assert "; classes=[[cat, dog, small owl]]; " in repr(named.explain(images[:1], "all").numpy())
    explanation = named.explain(images[:1], [[2, 0]]).numpy()
    logits = explanation.logits[0]
    columns = [
        figures.Column("contributions", explanation.contribution_map[:, which], [title])
        for which, title in enumerate([f"small owl: {logits[2]:.2f}", f"cat: {logits[0]:.2f}"])
    ]
    weights = figures.weights_rgb(explanation.weights[:, 0])
    columns.append(figures.Column("weights", weights, pictures=True))
    expected = figures.figure_rgb(figures.map_table(images[:1], columns, scale="all"))
    assert np.abs(np.asarray(shown(explanation), "float64") - expected).mean() < 0.5
    assert "small owl" in explanation.show(images[:1])._repr_mimebundle_()["text/html"]
    view = display.explanation_view(explanation, images[:1], ["a", "b", "c"])
    assert view.class_names == ["a", "b", "c"]


def test_what_was_not_computed_is_not_told(net, images):
    explanation = net.explain(images)
    absent = dict.fromkeys(("logits", "residual", "weights", "contributions"))
    some = dataclasses.replace(explanation, **absent)
    assert "class_ids" in repr(some) and "completeness" not in repr(some)
    assert some._repr_png_() is None
    nothing = dataclasses.replace(some, class_ids=None, contribution_map=None, bias=None)
    assert repr(nothing) == "Explanation()"


def test_tensors_without_values_have_shapes(net, images):
    said = []

    def step(x):
        explanation = net.explain(x)
        said.append((repr(explanation), explanation._repr_png_()))
        return explanation.logits

    backend.compiled(step, net)(images)
    ((text, picture),) = said
    assert text.startswith("Explanation(logits: (5, 3), class_ids: (5,)") and picture is None


def test_images_are_those_that_were_explained(net, images):
    explanation = net.explain(images, "all").numpy()
    recovered = display.images_of(explanation.contributions, explanation.weights)
    np.testing.assert_allclose(recovered, images[:, None].repeat(3, axis=1), atol=1e-4)
    assert display.images_of(np.zeros(6), np.zeros(6)).tolist() == [0.5] * 3


@pytest.mark.parametrize("class_ids", [None, [[0, 1], [2, 1], [0, 0], [1, 2], [2, 2]]])
def test_notebooks_show_image_maps_and_weights(class_ids, net, images):
    explanation = net.explain(images, class_ids).numpy()
    several = explanation.contribution_map.reshape(5, -1, 8, 8)
    ids = explanation.class_ids.reshape(5, -1)
    columns = [
        figures.Column(
            "contributions",
            several[:4, which],
            [f"class {k}: {row[k]:.2f}" for k, row in zip(ids[:4, which], explanation.logits)],
        )
        for which in range(several.shape[1])
    ]
    weights = explanation.weights.reshape(5, -1, 8, 8, 6)[:4, 0]
    columns.append(figures.Column("weights", figures.weights_rgb(weights), pictures=True))
    expected = figures.figure_rgb(figures.map_table(images[:4], columns, scale="all"))
    picture = np.asarray(shown(explanation), "float64")
    assert picture.shape == expected.shape
    assert np.abs(picture - expected).mean() < 0.5


def test_layers_show_themselves_where_they_are_explained_by_the_image(net, images):
    assert shown(net.explain_layer(images, 1, 2)).width > 200
    assert net.explain_layer(images, 2, 2, from_layer=1)._repr_png_() is None


def test_figures_show_themselves_in_notebooks(net, images):
    explanation = net.explain(images).numpy()
    maps = explanation.contribution_map
    for figure in (
        figures.plot_contributions(images[0], maps[0]),
        figures.gallery(images, maps),
        figures.map_table(images, [figures.Column("Ours", maps)]),
        figures.confusion_matrix(np.eye(2), ["cat", "dog"]),
    ):
        picture, expected = np.asarray(shown(figure), "float64"), figures.figure_rgb(figure)
        # Drawn a second time letters may move by a part of a pixel.
        assert picture.shape == expected.shape and np.abs(picture - expected).mean() < 1


def test_ipython_finds_the_pictures(net, images):
    formatters = pytest.importorskip("IPython.core.formatters")
    formatter = formatters.DisplayFormatter()
    explanation = net.explain(images)
    for item in (explanation, figures.gallery(images, explanation.numpy().contribution_map)):
        assert formatter.format(item)[0]["image/png"].startswith(b"\x89PNG")


def test_explanations_are_equal_if_they_are_the_same(net, images):
    for explain in (net.explain, lambda x: net.explain_layer(x, 1, 2)):
        first, second = explain(images), explain(images)
        assert first == first and first != second and first.numpy() != first.numpy()
        assert {first: "known"}[first] == "known"
