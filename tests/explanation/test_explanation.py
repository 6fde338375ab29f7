import dataclasses
import itertools

import numpy as np
import oracle
import pytest
from conftest import BACKEND, EXACT_DTYPE, as_oracle, gradients, set_weights
from keras import ops

from coda_keras import CoDANet, DAUConv2D, Explanation, explain, explain_layer, linearize

TEMPERATURE = 3.0
CLASSES = 5
TOLERANCE = (
    {"rtol": 1e-8, "atol": 1e-10} if EXACT_DTYPE == "float64" else {"rtol": 2e-4, "atol": 2e-5}
)


@pytest.fixture(scope="module")
def net():
    layers = [
        DAUConv2D(4, 2, 3, strides=2, rescale="l2", dtype=EXACT_DTYPE),
        DAUConv2D(3, 3, 3, dtype=EXACT_DTYPE, implementation="patches"),
        DAUConv2D(CLASSES, 2, 1, use_bias=False, dtype=EXACT_DTYPE),
    ]
    net = CoDANet(layers, temperature=TEMPERATURE, dtype=EXACT_DTYPE, image_size=(7, 6))
    set_weights(net, np.random.default_rng(5))
    return net


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(6).uniform(size=(3, 7, 6, 3)).astype(EXACT_DTYPE)


@pytest.fixture(scope="module")
def expected(net, images):
    """Encoded images and rows of W_{0->L} of all classes, by the oracle."""
    encoded = np.array([oracle.encode(image) for image in images])
    layers = [as_oracle(layer) for layer in net.body]
    weights = np.array([oracle.weights_of_logits(x, layers, TEMPERATURE) for x in encoded])
    return encoded, weights


def test_all_classes_equal_the_oracle(net, images, expected):
    encoded, weights = expected
    explanation = net.explain(images, "all").numpy()
    assert explanation.weights.shape == (3, CLASSES, 7, 6, 6)
    np.testing.assert_array_equal(explanation.class_ids, [list(range(CLASSES))] * 3)
    np.testing.assert_allclose(explanation.weights, weights, **TOLERANCE)
    contributions = weights * encoded[:, None]
    np.testing.assert_allclose(explanation.contributions, contributions, **TOLERANCE)
    np.testing.assert_allclose(
        explanation.contribution_map, contributions.sum(axis=-1), **TOLERANCE
    )
    logits = contributions.sum(axis=(2, 3, 4)) + net.logit_bias
    np.testing.assert_allclose(explanation.logits, logits, **TOLERANCE)
    np.testing.assert_allclose(explanation.logits, ops.convert_to_numpy(net(images)), **TOLERANCE)
    assert explanation.bias == pytest.approx(net.logit_bias)
    assert explanation.residual.shape == (3, CLASSES)
    assert np.all(np.abs(explanation.residual) < (1e-12 if EXACT_DTYPE == "float64" else 1e-5))


def test_predicted_class_by_default(net, images, expected):
    explanation = net.explain(images).numpy()
    predicted = np.argmax(explanation.logits, axis=-1)
    np.testing.assert_array_equal(explanation.class_ids, predicted)
    rows = expected[1][np.arange(3), predicted]
    np.testing.assert_allclose(explanation.weights, rows, **TOLERANCE)
    assert explanation.contribution_map.shape == (3, 7, 6)
    assert explanation.residual.shape == (3,)
    assert explanation.bias.shape == ()


@pytest.mark.parametrize(
    ("class_ids", "as_array"),
    [
        ([4, 0, 2], [4, 0, 2]),
        ((4, 0, 2), [4, 0, 2]),
        (np.array([4, 0, 2], "uint8"), [4, 0, 2]),
        (2, [2, 2, 2]),
        (np.int64(2), [2, 2, 2]),
        ([[1, 1], [0, 4], [3, 2]], [[1, 1], [0, 4], [3, 2]]),
        (np.array([[1], [0], [3]]), [[1], [0], [3]]),
    ],
)
def test_forms_of_class_ids(class_ids, as_array, net, images, expected):
    as_array = np.array(as_array)
    batch = np.arange(3).reshape(3, *[1] * (as_array.ndim - 1))
    for given in (class_ids, ops.convert_to_tensor(np.array(class_ids), "int32")):
        explanation = net.explain(images, given).numpy()
        assert explanation.class_ids.dtype == np.int32
        np.testing.assert_array_equal(explanation.class_ids, as_array)
        np.testing.assert_allclose(explanation.weights, expected[1][batch, as_array], **TOLERANCE)
        assert explanation.contribution_map.shape == (*as_array.shape, 7, 6)
        assert explanation.residual.shape == as_array.shape
        assert np.all(np.abs(explanation.residual) < 1e-5)


@pytest.mark.parametrize(
    ("class_ids", "message"),
    [
        ("some", "Unknown `class_ids`: 'some'.*'all' or None"),
        ([0.0, 1.0, 2.0], "must be integers. Received dtype float64"),
        ([True, False, True], "must be integers. Received dtype bool"),
        ([0, 5, 1], "must lie in 0 to 4. Received values from 0 to 5"),
        (-1, "must lie in 0 to 4. Received values from -1 to -1"),
        ([0, 1], r"\(batch,\) or \(batch, n\).*shape \(2,\) for 3 images"),
        (np.zeros((2, 3), int), r"shape \(2, 3\) for 3 images"),
        (np.zeros((3, 1, 1), int), r"shape \(3, 1, 1\) for 3 images"),
    ],
)
def test_bad_class_ids(class_ids, message, net, images):
    with pytest.raises(ValueError, match=message):
        net.explain(images, class_ids)


@pytest.mark.parametrize(
    ("class_ids", "message"),
    [
        ([0, 5, 1], "must lie in 0 to 4. Received values from 0 to 5"),
        ([[0, 1], [0, -1], [3, 2]], "must lie in 0 to 4. Received values from -1 to 3"),
        (7, "must lie in 0 to 4. Received values from 7 to 7"),
        ([0.0, 1.0, 2.0], "must be integers. Received dtype float32"),
    ],
)
def test_bad_class_ids_given_as_tensors(class_ids, message, net, images):
    kind = "float32" if "dtype" in message else "int32"
    with pytest.raises(ValueError, match=message):
        net.explain(images, ops.convert_to_tensor(np.array(class_ids, kind)))


def check_that_bad_classes_are_nan(explained_in_compiled_code, net, images, kind):
    for class_ids in ([1, 5, 4], [-1, 0, 2], [[4, 1], [2, 1], [0, -7]]):
        class_ids = np.array(class_ids, kind)
        bad = (class_ids < 0) | (class_ids >= CLASSES)
        explanation = explained_in_compiled_code(images, class_ids)
        expected = net.explain(images, np.where(bad, 0, class_ids)).numpy()
        for name in ("weights", "contributions", "contribution_map", "residual"):
            values = ops.convert_to_numpy(getattr(explanation, name))
            assert np.all(np.isnan(values[bad])), name
            np.testing.assert_allclose(values[~bad], getattr(expected, name)[~bad], **TOLERANCE)


@pytest.mark.tensorflow
def test_xla_makes_bad_classes_nan(net, images):
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def explained(images, class_ids):
        return net.explain(images, class_ids)

    check_that_bad_classes_are_nan(explained, net, images, "int64")
    # Of 2^32 + 1 int32 would leave a 1.
    weights = explained(images, np.array([1, 2**32 + 1, 0])).weights
    assert np.all(np.isnan(weights[1]))


@pytest.mark.skipif(BACKEND != "jax", reason="jax.jit")
def test_jit_makes_bad_classes_nan(net, images):
    import jax

    explained = jax.jit(net.explain)
    check_that_bad_classes_are_nan(explained, net, images, "int32")


@pytest.mark.tensorflow
def test_graphs_refuse_bad_classes(net, images):
    import tensorflow as tf

    @tf.function(reduce_retracing=True, autograph=False)
    def explained(images, class_ids):
        return net.explain(images, class_ids).contribution_map

    explained(images, tf.constant([1, 0, 4]))
    for class_ids in ([1, 5, 4], [-1, 0, 2]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="must lie in 0 to 4"):
            explained(images, tf.constant(class_ids))


def test_encoded_images_give_the_same_explanation(net, images, expected):
    one = net.explain(images, 1).numpy()
    other = net.explain(expected[0].astype(EXACT_DTYPE), 1).numpy()
    np.testing.assert_allclose(one.weights, other.weights, **TOLERANCE)
    np.testing.assert_allclose(one.contributions, other.contributions, **TOLERANCE)


def test_other_image_sizes(net, rng):
    larger = rng.uniform(size=(1, 10, 13, 3)).astype(EXACT_DTYPE)
    explanation = net.explain(larger).numpy()
    assert explanation.contribution_map.shape == (1, 10, 13)
    assert np.all(np.abs(explanation.residual) < 1e-5)


def test_no_evidence_contributes_nothing(net):
    explanation = net.explain(np.zeros((2, 7, 6, 6), EXACT_DTYPE), "all").numpy()
    assert np.all(np.isfinite(explanation.weights))
    np.testing.assert_array_equal(explanation.contributions, 0)
    np.testing.assert_array_equal(explanation.residual, 0)
    np.testing.assert_allclose(explanation.logits, net.logit_bias, rtol=1e-6)


@pytest.mark.parametrize("rescale", ["squash", "l2"])
def test_residual_of_a_preset_is_rounding_only(rescale, rng):
    net = CoDANet.from_preset("s_coda", rescale=rescale, rank_scale=1 / 32, temperature=1.0)
    images = rng.uniform(size=(1, 12, 12, 3)).astype("float32")
    explanation = net.explain(images, "all").numpy()
    size = np.sum(np.abs(explanation.contributions), axis=(2, 3, 4))
    assert np.all(size > 0)
    assert np.all(np.abs(explanation.residual) < 2e-6 * (size + abs(net.logit_bias)))


def test_mixed_precision_explains_in_float32(net, images, expected):
    mixed = CoDANet(
        [
            DAUConv2D.from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})
            for layer in net.body
        ],
        temperature=TEMPERATURE,
        dtype="mixed_bfloat16",
        image_size=(7, 6),
    )
    mixed.set_weights(net.get_weights())
    explanation = mixed.explain(images.astype("float32"), "all").numpy()
    for values in (
        explanation.logits,
        explanation.weights,
        explanation.contributions,
        explanation.residual,
    ):
        assert values.dtype == np.float32
    size = np.sum(np.abs(explanation.contributions), axis=(2, 3, 4))
    assert np.all(np.abs(explanation.residual) < 0.02 * size)
    difference = explanation.weights - expected[1]
    assert np.sqrt(np.mean(difference**2)) < 0.03 * np.sqrt(np.mean(expected[1] ** 2))


def test_penalty_on_the_linear_map_has_the_right_gradient(net, images):
    """Eq. 10 needs the gradient of mean |W_{0->L}| by the parameters."""
    one = images[:1]
    _, explanation = gradients(
        lambda x: ops.mean(ops.abs(net.explain(x, 2).weights)), net.trainable_variables, one
    )
    rng = np.random.default_rng(8)
    point = [np.asarray(w, "float64") for w in net.get_weights()]
    direction = [rng.normal(size=w.shape) for w in point]

    def penalty(step):
        remaining = iter([w + step * d for w, d in zip(point, direction)])
        layers = []
        for layer in net.body:
            parameters = {v.name: next(remaining) for v in layer.variables}
            layers.append(as_oracle(layer)._replace(**parameters))
        encoded = oracle.encode(np.asarray(one[0], "float64"))
        return np.mean(np.abs(oracle.weights_of_logits(encoded, layers, TEMPERATURE)[2]))

    slope = (penalty(1e-6) - penalty(-1e-6)) / 2e-6
    by_parameters = sum(np.sum(g * d) for g, d in zip(explanation, direction))
    assert by_parameters == pytest.approx(slope, rel=1e-6 if EXACT_DTYPE == "float64" else 1e-3)


@pytest.mark.parametrize(("start", "stop"), list(itertools.combinations(range(4), 2)))
@pytest.mark.parametrize("position", [None, (2, 1)])
def test_layers_equal_the_oracle(start, stop, position, net, images, expected):
    layers = [as_oracle(layer) for layer in net.body]
    channel = 2
    computed = explain_layer(net, images, stop, channel, position, from_layer=start).numpy()
    for index, encoded in enumerate(expected[0]):
        values = oracle.activations(encoded, layers)
        matrix = oracle.matrix_between(encoded, layers, start, stop)
        rows = matrix.reshape(*values[stop].shape, *values[start].shape)[:, :, channel]
        activation = values[stop][:, :, channel]
        if position is None:
            row, activation = rows.sum(axis=(0, 1)), activation.sum()
        else:
            row, activation = rows[position], activation[position]
        np.testing.assert_allclose(computed.weights[index], row, **TOLERANCE)
        np.testing.assert_allclose(computed.contributions[index], row * values[start], **TOLERANCE)
        np.testing.assert_allclose(
            computed.contribution_map[index], (row * values[start]).sum(axis=-1), **TOLERANCE
        )
        np.testing.assert_allclose(computed.activation[index], activation, **TOLERANCE)
        np.testing.assert_allclose(computed.contributions[index].sum(), activation, **TOLERANCE)


@pytest.mark.parametrize("start", range(4))
def test_logits_equal_the_oracle(start, net, images, expected):
    """Contributions of layer l to class c (Fig. A.6), another class for every image."""
    layers = [as_oracle(layer) for layer in net.body]
    classes = [4, 0, 2]
    computed = explain_layer(net, images, "logits", classes, from_layer=start).numpy()
    for index, (encoded, class_id) in enumerate(zip(expected[0], classes)):
        inputs = oracle.activations(encoded, layers)[start]
        matrix = oracle.matrix_between(encoded, layers, start, 3)
        row = matrix.reshape(-1, CLASSES, *inputs.shape)[:, class_id].sum(axis=0) / TEMPERATURE
        logit = oracle.logits(encoded, layers, TEMPERATURE, 0.0)[class_id]
        np.testing.assert_allclose(computed.weights[index], row, **TOLERANCE)
        np.testing.assert_allclose(computed.contributions[index], row * inputs, **TOLERANCE)
        np.testing.assert_allclose(computed.activation[index], logit, **TOLERANCE)
        np.testing.assert_allclose(computed.contribution_map[index].sum(), logit, **TOLERANCE)


@pytest.mark.parametrize("layer", [1, 3, "logits"])
@pytest.mark.parametrize("position", [None, (0, 1)])
def test_a_channel_for_every_image(layer, position, net, images):
    position = None if layer == "logits" else position
    together = explain_layer(net, images, layer, np.array([2, 0, 1]), position).numpy()
    for index, channel in enumerate([2, 0, 1]):
        alone = explain_layer(net, images[index : index + 1], layer, channel, position).numpy()
        for field in dataclasses.fields(together):
            one, other = getattr(together, field.name)[index], getattr(alone, field.name)[0]
            np.testing.assert_allclose(one, other, **TOLERANCE)


def test_layers_and_classes_have_names(net, images):
    names = ["ship", "cat", "dog", "owl", "frog"]
    named = CoDANet(net.body, temperature=TEMPERATURE, dtype=EXACT_DTYPE, class_names=names)
    first, _, last = (layer.name for layer in net.body)
    for given, same in (
        ((first, 2), (1, 2)),
        ((last, "dog", (2, 1), first), (3, 2, (2, 1), 1)),
        (("logits", ["owl", "ship", "cat"], None, last), ("logits", [3, 0, 1], None, 3)),
    ):
        by_name, by_number = named.explain_layer(images, *given), net.explain_layer(images, *same)
        np.testing.assert_array_equal(by_name.numpy().weights, by_number.numpy().weights)
    for channel in ("dot", ["dog", "dot", "cat"], ["dog", 3, "cat"]):
        with pytest.raises(ValueError, match=r"no class ('dot'. Did you mean dog\?|3)"):
            named.explain_layer(images, "logits", channel)
    with pytest.raises(ValueError, match=rf"no layer '{first}x'. Did you mean {first}\?"):
        named.explain_layer(images, f"{first}x", 0)


def test_linearize_is_the_matrix_of_the_net(net, images, expected):
    outputs, pullback = net.linearize(images)
    encoded, weights = expected
    linear = np.einsum("bcyxi,byxi->bc", weights, encoded)
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), linear, **TOLERANCE)
    cotangent = np.random.default_rng(2).normal(size=(3, CLASSES))
    pulled = pullback(ops.convert_to_tensor(cotangent, EXACT_DTYPE))
    rows = np.einsum("bc,bcyxi->byxi", cotangent, weights)
    np.testing.assert_allclose(ops.convert_to_numpy(pulled), rows, **TOLERANCE)


def test_maps_between_layers_compose(net, images, expected):
    """W_{0->3} = W_{1->3} W_{0->1}: the row of the later map, pulled back through the first."""
    later = net.explain_layer(images, 3, 4, from_layer=1)
    encoded = ops.convert_to_tensor(expected[0], EXACT_DTYPE)
    _, pullback = linearize(net.body[:1], encoded)
    whole = net.explain_layer(images, 3, 4)
    np.testing.assert_allclose(
        ops.convert_to_numpy(pullback(later.weights)),
        ops.convert_to_numpy(whole.weights),
        **TOLERANCE,
    )


def test_last_layer_and_logit_explain_the_same(net, images):
    logit = net.explain(images, 3).numpy()
    layer = net.explain_layer(images, len(net.body), 3).numpy()
    np.testing.assert_allclose(layer.weights / TEMPERATURE, logit.weights, **TOLERANCE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": 0}, "0 <= from_layer < layer <= 3.*layer=0"),
        ({"layer": 4}, "0 <= from_layer < layer <= 3.*layer=4"),
        ({"layer": 2, "from_layer": 2}, "layer=2, from_layer=2"),
        ({"layer": 2, "from_layer": -1}, "from_layer=-1"),
        ({"layer": 1, "channel": 4}, "Layer 1 has channels 0 to 3.*channel=4"),
        ({"layer": 1, "channel": -1}, "channel=-1"),
        ({"layer": 1, "position": (4, 0)}, r"Layer 1 has 4x3 positions.*position=\(4, 0\)"),
        ({"layer": 1, "position": (0, -1)}, r"position=\(0, -1\)"),
        ({"layer": 1, "position": (1.5, 0)}, r"two integers.*position=\(1.5, 0\)"),
        ({"layer": "logits", "from_layer": 4}, "layer='logits', from_layer=4"),
        ({"layer": "logits", "from_layer": -1}, "from_layer=-1"),
        ({"layer": "last"}, "no layer 'last'. Expected a number up to 3, layer='logits' or one of"),
        ({"layer": "logit"}, "no layer 'logit'. Did you mean logits?"),
        ({"layer": 2, "from_layer": "logits"}, "no layer 'logits'"),
        ({"layer": 2, "channel": "cat"}, "channels by number; names are those of classes"),
        ({"layer": 3, "channel": "cat"}, "of a net with `class_names`. Received: channel='cat'"),
        ({"layer": 1.0}, "Received: layer=1.0"),
        ({"layer": "logits", "channel": 5}, "Layer logits has channels 0 to 4.*channel=5"),
        ({"layer": "logits", "position": (0, 0)}, r"no positions.*position=\(0, 0\)"),
        ({"layer": 1, "channel": [0, 4, 1]}, r"channels 0 to 3.*channel=\[0, 4, 1\]"),
        ({"layer": 1, "channel": [0, 1]}, "a channel for each of 3 images. Received 2"),
        ({"layer": 1, "channel": 1.0}, "must be an integer, or one for each image.*=1.0"),
        ({"layer": 1, "channel": [[0], [1], [2]]}, "must be an integer, or one for each image"),
    ],
)
def test_bad_layer_arguments(arguments, message, net, images):
    with pytest.raises(ValueError, match=message):
        net.explain_layer(images, **{"channel": 0, **arguments})


@pytest.mark.parametrize("class_ids", [[1, 0], [[1, 1, 0], [0, 2, 1]]])
def test_completeness_error_is_relative_to_the_logit_less_its_bias(class_ids):
    logits = np.array([[3.0, 1.5, -4.0], [0.5 + 1e-3, 8.5, 0.5]])
    class_ids = np.array(class_ids, "int32")
    residual = 1e-4 * (1 + np.arange(class_ids.size).reshape(class_ids.shape))
    explanation = Explanation(logits, class_ids, None, None, None, np.float64(0.5), -residual)
    expected = [
        residual[at] / max(abs(logits[at[0], class_ids[at]] - 0.5), 0.01)
        for at in np.ndindex(class_ids.shape)
    ]
    np.testing.assert_allclose(explanation.completeness_error.ravel(), expected, rtol=1e-12)


def test_completeness_error_of_tensors(net, images):
    explanation = net.explain(images, "all")
    assert explanation.completeness_error.shape == (3, CLASSES)
    np.testing.assert_array_equal(
        explanation.completeness_error, explanation.numpy().completeness_error
    )
    assert 0 < explanation.completeness_error.max() < 1e-3


def test_fields_that_were_not_computed_stay_none(net, images):
    some = dataclasses.replace(net.explain(images), weights=None, bias=None).numpy()
    assert some.weights is None
    assert some.bias is None
    assert isinstance(some.logits, np.ndarray)


def test_method_and_function_are_the_same(net, images):
    by_method, by_function = net.explain(images, 1), explain(net, images, 1)
    assert isinstance(by_method, Explanation)
    np.testing.assert_array_equal(by_method.numpy().weights, by_function.numpy().weights)
    assert isinstance(by_function.numpy().weights, np.ndarray)


@pytest.mark.parametrize("class_ids", [None, 1, "all", [0, 4, 2], [[0, 1], [4, 4], [2, 3]]])
def test_parts_of_a_batch_are_explained_as_the_whole(class_ids, net, images):
    whole = net.explain(images, class_ids).numpy()
    parts = net.explain(images, class_ids, batch_size=2).numpy()
    for name, values in whole.arrays().items():
        np.testing.assert_allclose(getattr(parts, name), values, **TOLERANCE)
        assert np.shape(getattr(parts, name)) == np.shape(values)


def test_parts_of_a_batch_are_checked_as_the_whole(net, images):
    with pytest.raises(ValueError, match="Received shape \\(2,\\) for 3 images"):
        net.explain(images, [0, 1], batch_size=2)
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        net.explain(images, batch_size=0)


@pytest.mark.tensorflow
def test_explaining_inside_a_graph_of_unknown_sizes(net, images, expected):
    import tensorflow as tf

    images_spec = tf.TensorSpec((None, None, None, 3), EXACT_DTYPE)

    @tf.function(input_signature=[images_spec, tf.TensorSpec((None,), tf.int64)], autograph=False)
    def of_one_class(images, class_ids):
        return net.explain(images, class_ids).weights

    @tf.function(input_signature=[images_spec], autograph=False)
    def of_all_classes(images):
        return net.explain(images, "all").weights

    class_ids = np.array([1, 4, 0])
    np.testing.assert_allclose(
        of_one_class(images, class_ids), expected[1][np.arange(3), class_ids], **TOLERANCE
    )
    np.testing.assert_allclose(of_all_classes(images), expected[1], **TOLERANCE)
    assert of_one_class(images[:1, :5, :4], class_ids[:1]).shape == (1, 5, 4, 6)
