import keras
import numpy as np
import pytest
from keras import ops

from coda_keras import CoDANet, DAUConv2D
from coda_keras.evaluation import pixel_removal, probabilities
from coda_keras.evaluation.perturbation import removal_ranks

SIZE, CLASSES = (5, 7), 4


def pixels(images=3, seed=0):
    random = np.random.default_rng(seed)
    shape = (images, *SIZE, 3)
    return random.random(shape, "float32"), random.integers(0, CLASSES, images)


def linear_model(channels, seed=1):
    """A dense layer on the flattened image and its contributions `(B, H, W)` per class."""
    model = keras.Sequential(
        [
            keras.Input((*SIZE, channels)),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES, bias_initializer="normal"),
        ]
    )
    random = np.random.default_rng(seed)
    kernel = random.normal(size=(*SIZE, channels, CLASSES))
    model.layers[-1].set_weights(
        [kernel.reshape(-1, CLASSES), random.normal(size=CLASSES).astype("float32")]
    )

    def contributions(images):
        inputs = np.concatenate([images, 1 - images], axis=-1) if channels == 6 else images
        return np.einsum("bhwc,hwcn->bhwn", inputs.astype("float64"), kernel)

    def attribute(model, images, class_ids):
        return contributions(images)[np.arange(len(images)), :, :, class_ids]

    return model, attribute, contributions, model.layers[-1].get_weights()[1]


@pytest.mark.parametrize("order", ["least", "most"])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("channels", [3, 6])
def test_curve_of_a_linear_model_in_closed_form(order, activation, channels):
    model, attribute, contributions, bias = linear_model(channels)
    images, class_ids = pixels()
    result = pixel_removal(
        model,
        images,
        class_ids,
        attribute,
        fraction=0.5,
        points=17,
        activation=activation,
        encode_first=channels == 6,
        progress=False,
    )
    values = contributions(images).reshape(len(images), -1, CLASSES)
    for image, target in enumerate(class_ids):
        sequence = np.argsort(values[image, :, target])
        sequence = sequence if order == "least" else sequence[::-1]
        gone = np.cumsum(values[image, sequence], axis=0)[:17]
        logits = values[image].sum(axis=0) - np.concatenate([np.zeros((1, CLASSES)), gone]) + bias
        expected = probabilities(logits, activation)[:, target]
        np.testing.assert_allclose(result.probabilities[order][image], expected, atol=2e-5)
    np.testing.assert_allclose(result.fractions, np.arange(18) / 35)


def test_own_contributions_of_a_linear_model_are_optimal_and_inverted_ones_the_worst():
    model, attribute, _, _ = linear_model(6)
    images, class_ids = pixels(8)

    def areas(method):
        result = pixel_removal(
            model, images, class_ids, method, points=8, encode_first=True, progress=False
        )
        return result.area("least"), result.area("most")

    least, most = areas(attribute)
    inverted = areas(lambda *args: -attribute(*args))
    assert inverted == pytest.approx((most, least))
    random = np.random.default_rng(3)
    other = areas(lambda model, images, class_ids: random.normal(size=images.shape[:3]))
    assert most < min(other) <= max(other) < least


def test_uniform_attribution_removes_the_same_random_pixels_in_both_orders():
    model, _, _, _ = linear_model(3)
    images, class_ids = pixels()
    result = pixel_removal(
        model,
        images,
        class_ids,
        lambda model, images, class_ids: np.ones(images.shape[:3]),
        points=4,
        progress=False,
    )
    np.testing.assert_array_equal(result.probabilities["least"], result.probabilities["most"])


def test_area_and_summary_of_a_known_curve():
    def model(images):
        """The logit whose sigmoid is the share of the pixels left."""
        share = images.astype("float64").max(axis=-1).mean(axis=(1, 2)).clip(1e-9, 1 - 1e-9)
        return np.log(share / (1 - share))[:, None]

    result = pixel_removal(
        model,
        np.ones((2, 10, 10, 3), "float32"),
        np.zeros(2, int),
        lambda model, images, class_ids: np.zeros(images.shape[:3]),
        fraction=0.4,
        points=10,
        progress=False,
    )
    np.testing.assert_allclose(result.curve("least"), 1 - result.fractions, atol=1e-6)
    assert result.area("least") == pytest.approx(0.8)
    summary = result.summary()["most"]
    assert summary["images"] == 2
    assert summary["points"] == len(summary["mean_target_probability"]) == 11
    assert summary["fraction_removed"] == pytest.approx([0, 0.4])


def test_default_points_on_cifar_size_are_those_of_the_paper():
    result = pixel_removal(
        lambda images: np.zeros((len(images), 1)),
        np.ones((1, 32, 32, 3), "float32"),
        np.zeros(1, int),
        lambda model, images, class_ids: np.zeros(images.shape[:3]),
        progress=False,
    )
    np.testing.assert_array_equal(result.fractions * 1024, np.arange(0, 257, 2))


def test_coda_net_loses_all_six_channels():
    net = CoDANet([DAUConv2D(6, 4, 3), DAUConv2D(CLASSES, 4, 1)], temperature=1.0)
    images, class_ids = pixels(2)

    def attribute(model, images, class_ids):
        return ops.convert_to_numpy(model.explain(images, class_ids).contribution_map)

    result = pixel_removal(
        net, images, class_ids, attribute, orders=["most"], points=4, progress=False
    )
    for image, target, importance, curve in zip(
        images, class_ids, attribute(net, images, class_ids), result.probabilities["most"]
    ):
        encoded = np.concatenate([image, 1 - image], axis=-1)
        for count, probability in zip(np.round(result.fractions * 35), curve):
            masked = encoded.copy()
            for index in np.argsort(-importance.ravel())[: int(count)]:
                masked[index // SIZE[1], index % SIZE[1]] = 0
            logits = ops.convert_to_numpy(net(masked[None]))
            expected = probabilities(logits)[0, target]
            assert probability == pytest.approx(expected, abs=1e-5)


def test_pieces_and_batch_sizes_do_not_change_the_result():
    model, attribute, _, _ = linear_model(3)
    images, class_ids = pixels(5)

    def run(part, **kwargs):
        return pixel_removal(
            model, images[part], class_ids[part], attribute, points=6, progress=False, **kwargs
        ).probabilities["least"]

    whole = run(slice(None))
    pieces = np.concatenate([run(slice(0, 2)), run(slice(2, 5))])
    np.testing.assert_allclose(pieces, whole, atol=1e-6)
    np.testing.assert_allclose(run(slice(None), images_per_call=2, batch_size=3), whole, atol=1e-6)


@pytest.mark.parametrize("order", ["least", "most"])
def test_removal_ranks(order):
    importance = np.array([[3.0, -1.0], [0.0, 0.0]])
    ranks = removal_ranks(importance, order, ties=np.array([0, 1, 3, 2]))
    assert ranks.tolist() == ([[3, 0], [2, 1]] if order == "least" else [[0, 3], [2, 1]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"orders": ["last"]}, "last"),
        ({"orders": []}, "orders"),
        ({"fraction": 0.0}, "fraction"),
        ({"points": 9}, "8 pixels"),
        ({"class_ids": np.zeros(2, int)}, r"\(2,\)"),
        ({"activation": "tanh"}, "tanh"),
    ],
)
def test_arguments_are_checked(arguments, message):
    model, attribute, _, _ = linear_model(3)
    images, class_ids = pixels()
    defaults = {"class_ids": class_ids, "points": 8, "progress": False}
    with pytest.raises(ValueError, match=message):
        pixel_removal(model, images, attribute=attribute, **{**defaults, **arguments})
