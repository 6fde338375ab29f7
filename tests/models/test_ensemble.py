"""Nets made of nets: averages and views, and their exact maps."""

import keras
import numpy as np
import pytest
from conftest import set_weights
from keras import ops

from coda_keras import (
    CoDANet,
    DAUConv2D,
    DynamicLinear,
    DynamicLinearNet,
    Ensemble,
    Flipped,
    Shifted,
    attribution,
    explain,
    explain_dataset,
    explain_layer,
    with_offset,
    with_views,
)
from coda_keras.explanation.channels import strongest_channels
from coda_keras.layers import views
from coda_keras.models.precision import float32_copy

SIZE = (7, 6)


@keras.saving.register_keras_serializable("tests")
class Brighten(DynamicLinear):
    """Adds a constant to every channel, and says so."""

    def linearize(self, inputs):
        inputs = self.prepare(inputs)
        return inputs + 0.25, with_offset(lambda cotangent: cotangent, 0.25)


def _array(tensor):
    return ops.convert_to_numpy(tensor)


def _net(rng, bias=-2.0, layers=()):
    layers = [*layers, DAUConv2D(6, 3, 3, strides=2), DAUConv2D(4, 3, 3)]
    net = CoDANet(layers, temperature=3.0, logit_bias=bias, image_size=SIZE)
    set_weights(net, rng)
    return net


def _assert_complete(net, images, logits):
    explanation = net.explain(images, "all").numpy()
    np.testing.assert_allclose(explanation.logits, logits, rtol=1e-5, atol=1e-5)
    sums = explanation.bias + explanation.contributions.sum((2, 3, 4)) + explanation.offset
    np.testing.assert_allclose(sums, logits, rtol=1e-4, atol=1e-5)
    assert np.abs(explanation.residual).max() < 1e-4
    return explanation


@pytest.fixture
def images(rng):
    return rng.uniform(size=(3, *SIZE, 3)).astype("float32")


@pytest.mark.parametrize("fill", views.FILLS)
@pytest.mark.parametrize(("rows", "columns"), [(1, -1), (-3, 2), (0, 5), (6, 0), (0, 0)])
def test_shifts_are_matrices_and_their_transposes(rows, columns, fill, rng):
    height, width = SIZE

    def source(position, steps, length):
        place = position - steps
        if fill == "zeros":
            return place if 0 <= place < length else None
        return -place if place < 0 else 2 * (length - 1) - place if place >= length else place

    values = rng.normal(size=(2, *SIZE, 3)).astype("float32")
    expected, back = np.zeros_like(values), np.zeros_like(values)
    for row, column in np.ndindex(*SIZE):
        place = source(row, rows, height), source(column, columns, width)
        if None not in place:
            expected[:, row, column] = values[(slice(None), *place)]
            back[(slice(None), *place)] += values[:, row, column]
    tensor = ops.convert_to_tensor(values)
    np.testing.assert_array_equal(_array(views.shift(tensor, rows, columns, fill)), expected)
    transposed = views.shift_transposed(tensor, rows, columns, fill)
    np.testing.assert_allclose(_array(transposed), back, rtol=1e-5, atol=1e-6)


def test_a_flipped_net_sees_the_mirror_image(rng, images):
    net = _net(rng)
    mirrored = images[:, :, ::-1]
    explanation = _assert_complete(Flipped(net), images, _array(net(mirrored)))
    of_mirror = net.explain(mirrored, "all").numpy()
    np.testing.assert_allclose(explanation.weights, of_mirror.weights[:, :, :, ::-1], atol=1e-6)


@pytest.mark.parametrize("fill", views.FILLS)
def test_a_shifted_net_explains_pixels_of_the_image_itself(fill, rng, images):
    net = _net(rng)
    encoded = np.concatenate([images, 1 - images], axis=-1)
    seen = _array(views.shift(ops.convert_to_tensor(encoded), 1, -2, fill))
    shifted = Shifted(net, 1, -2, fill)
    explanation = _assert_complete(shifted, images, _array(net(seen)))
    if fill == "zeros":
        # The last row and the first columns left the image.
        assert not explanation.weights[:, :, -1].any()
        assert not explanation.weights[:, :, :, :2].any()


def test_an_ensemble_averages_logits_bias_and_maps(rng, images):
    nets = [_net(rng, bias=-1.0), _net(rng, bias=-4.0)]
    both = Ensemble(nets, weights=[0.75, 0.25])
    assert both.logit_bias == -1.75
    assert (both.classes, both.image_size) == (4, SIZE)
    logits = 0.75 * _array(nets[0](images)) + 0.25 * _array(nets[1](images))
    np.testing.assert_allclose(_array(both(images)), logits, rtol=1e-5)
    np.testing.assert_allclose(both.predict(images, verbose=0), logits, rtol=1e-5)
    mean = _assert_complete(both, images, logits)
    parts = [net.explain(images, "all").numpy().contributions for net in nets]
    np.testing.assert_allclose(
        mean.contributions, 0.75 * parts[0] + 0.25 * parts[1], rtol=1e-4, atol=1e-6
    )


def test_offsets_are_told_apart_by_nets_of_nets(rng, images):
    net = _net(rng, layers=[Brighten()])
    plain = _net(rng)
    for made in (net, Ensemble([Flipped(net), plain])):
        explanation = _assert_complete(made, images, _array(made(images)))
        assert np.abs(explanation.offset).min() > 1e-4
        predicted = explain(made, images).numpy()
        rows, ids = np.arange(3), predicted.class_ids
        np.testing.assert_allclose(predicted.offset, explanation.offset[rows, ids], rtol=1e-4)
    assert not plain.explain(images).numpy().offset.any()
    layer = explain_layer(net, images, "logits", 2).numpy()
    sums = layer.contribution_map.sum((1, 2)) + layer.offset
    np.testing.assert_allclose(sums, layer.activation, rtol=1e-4, atol=1e-5)
    assert np.abs(layer.offset).min() > 1e-4


@pytest.mark.parametrize("name", ["flip", "shifts"])
def test_views_by_name_survive_a_file_with_their_weights_once(name, rng, images, tmp_path):
    net = _net(rng)
    seen = with_views(net, name)
    assert seen.count_params() == net.count_params()
    assert len(seen.get_weights()) == len(net.get_weights())
    np.testing.assert_allclose(sum(seen.shares), 1, rtol=1e-6)
    seen.save(tmp_path / "seen.keras")
    net.save(tmp_path / "net.keras")
    sizes = [(tmp_path / f"{file}.keras").stat().st_size for file in ("seen", "net")]
    assert sizes[0] < 1.5 * sizes[1]
    loaded = keras.models.load_model(tmp_path / "seen.keras")
    for again in (loaded, float32_copy(seen)):
        assert again.count_params() == net.count_params()
        np.testing.assert_array_equal(_array(again(images)), _array(seen(images)))


def test_shifts_weigh_as_much_as_the_image_itself(rng, images):
    net = _net(rng)
    shifted = [net, *(Shifted(net, by, by) for by in (-1, 1))]
    logits = [(_array(one(images)) + _array(Flipped(one)(images))) / 2 for one in shifted]
    expected = logits[0] / 2 + (logits[1] + logits[2]) / 4
    np.testing.assert_allclose(_array(with_views(net, "shifts")(images)), expected, rtol=1e-5)


def test_ensembles_go_where_a_net_goes(rng, images):
    seen = with_views(_net(rng), "flip")
    labels = np.array([0, 3, 1])
    (explanation,) = explain_dataset(seen, [(images, labels)], "labels", progress=False)
    expected = seen.explain(images, labels).numpy()
    np.testing.assert_allclose(explanation.contributions, expected.contributions, atol=1e-6)
    maps = attribution.get("contributions")(seen, images, labels)
    np.testing.assert_allclose(maps, expected.contribution_map, atol=1e-6)
    assert attribution.get("occlusion", patch_size=3, stride=3)(seen, images, labels).shape == (
        3,
        *SIZE,
    )
    for refused in (
        lambda: explain_layer(seen, images, 1, 0),
        lambda: strongest_channels(seen, images, labels),
    ):
        with pytest.raises(ValueError, match="is no chain of layers"):
            refused()


def test_an_ensemble_trains(rng, images):
    nets = [_net(rng), _net(rng)]
    both = Ensemble(nets)
    before = [net.get_weights()[0].copy() for net in nets]
    both.compile("sgd", run_eagerly=True)
    both.fit(images, np.array([0, 1, 2]), verbose=0)
    assert all(np.any(net.get_weights()[0] != old) for net, old in zip(nets, before))


class Own(DynamicLinearNet):
    """A user's net: the mean of each colour, a class each."""

    def call(self, images):
        return self.linearize(images)[0]

    def linearize(self, images):
        encoded = images if images.shape[-1] == 6 else ops.concatenate([images, 1 - images], -1)
        size = SIZE[0] * SIZE[1]

        def pullback(cotangent):
            return ops.broadcast_to(cotangent[:, None, None] / size, ops.shape(encoded))

        return ops.mean(encoded, axis=(1, 2)), pullback


def test_a_net_of_ones_own_is_explained_and_averaged(images):
    net = Own()
    explanation = explain(net, images, "all").numpy()
    sums = explanation.contributions.sum((2, 3, 4))
    np.testing.assert_allclose(sums, explanation.logits, rtol=1e-5)
    mean = Ensemble([net, Flipped(net)]).explain(images).numpy()
    assert mean.completeness_error.max() < 1e-4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda net: Ensemble([]), "`members` has 0 nets"),
        (lambda net: Ensemble([net] * 1025), "`members` has 1025 nets"),
        (lambda net: Ensemble([net, net], [0.5, 0.6]), "`weights` must be 2 numbers"),
        (lambda net: Ensemble([net], [0.5, 0.5]), "`weights` must be 1 numbers"),
        (lambda net: Ensemble([keras.layers.Dense(3)]), "has no `linearize`"),
        (lambda net: Shifted(net, 0.5), "`rows` must be an integer"),
        (lambda net: Shifted(net, 1, fill="black"), "Unknown `fill`"),
        (lambda net: Shifted(net, 0, 6), "less than the 6 pixels"),
        (lambda net: with_views(net, "crop"), "Unknown `views`"),
        (lambda net: Ensemble([net, CoDANet(net.body, image_size=9)]), "different `image_size`"),
        (
            lambda net: Ensemble([net, CoDANet(net.body[:-1], image_size=net.image_size)]),
            "different numbers of classes",
        ),
    ],
)
def test_wrong_arguments_are_refused(make, message, rng):
    with pytest.raises(ValueError, match=message):
        make(_net(rng))
