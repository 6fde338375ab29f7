import tracemalloc

import numpy as np
import pytest
from scipy.special import logsumexp

from coda_keras.evaluation import (
    Localisation,
    localisation,
    log_odds,
    make_grids,
    most_confident,
    probabilities,
)
from coda_keras.evaluation.grid_localisation import positive_fraction, window_mean

CLASSES = 12


def data(images=240, size=(4, 6), seed=0):
    """Images whose pixels carry their index, and logits that are right for about two in three."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, images)
    logits = random.normal(0, 2, (images, CLASSES))
    logits[np.arange(images), labels] += 4
    pixels = np.broadcast_to(np.arange(images)[:, None, None, None], (images, *size, 3))
    return pixels.astype("float32"), logits.astype("float32"), labels


def own_cell(grids, grid, height, width):
    """The masks `(n*n, n*H, n*W)` of the cells, built pixel by pixel."""
    masks = np.zeros((grids.n**2, grids.n * height, grids.n * width))
    for row in range(grids.n * height):
        for column in range(grids.n * width):
            masks[row // height * grids.n + column // width, row, column] = 1
    return masks


class FromMasks:
    """An attribution that is a function of the mask of each class's own cell."""

    def __init__(self, grids, height, width, function):
        self.args, self.function, self.calls = (grids, 0, height, width), function, []

    def __call__(self, model, images, class_ids):
        self.calls.append((images.shape, class_ids.copy()))
        return self.function(own_cell(*self.args))[None]


def published_grids(logits, labels, size):
    """The cells of all grids by the authors' published code, as lists `(index, class_id)`."""
    predicted = logits.argmax(1)
    confidence = {
        class_id: sorted(
            [(i, logits[i, class_id]) for i in np.flatnonzero(labels == class_id)],
            key=lambda pair: pair[1],
            reverse=True,
        )
        for class_id in range(CLASSES)
    }
    confidence = {
        class_id: [i for i, logit in pairs if predicted[i] == class_id and logit > 0]
        for class_id, pairs in confidence.items()
    }
    position, order = dict.fromkeys(range(CLASSES), 0), []
    np.random.seed(42)
    while True:
        left = [c for c in range(CLASSES) if position[c] < len(confidence[c])]
        if not len(left) > size:
            break
        for class_id in np.random.choice(np.array(left), size=size, replace=False):
            order.append((confidence[class_id][position[class_id]], class_id))
            position[class_id] += 1
    grids, offset = [], 0
    while True:
        i, cells = 0, []
        while len(cells) < size:
            if offset + i >= len(order):
                return grids
            index, class_id = order[offset + i]
            i += 1
            if class_id not in [other for _, other in cells]:
                cells.append((index, class_id))
        grids.append(cells)
        offset = i + offset + 1


@pytest.mark.parametrize("n", [2, 3])
def test_grids_by_the_published_rule(n):
    images, logits, labels = data(images=600)
    expected = published_grids(logits, labels, n * n)
    grids = make_grids(images, logits, labels, grids=999, n=n, fewer=True, rule="published")
    assert len(grids) == len(expected) > 5
    cells = np.stack([grids.indices, grids.class_ids], axis=-1)
    np.testing.assert_array_equal(cells, expected)
    first = make_grids(images, logits, labels, grids=3, n=n, rule="published")
    np.testing.assert_array_equal(first.indices, grids.indices[:3])
    blocks = make_grids(images, logits, labels, grids=999, n=n, fewer=True)
    np.testing.assert_array_equal(blocks.indices[0], grids.indices[0])
    assert len(blocks) > len(grids)
    with pytest.raises(ValueError, match=f"only {len(grids)} can be made"):
        make_grids(images, logits, labels, grids=999, n=n, rule="published")


def test_grids_without_the_threshold():
    images, logits, labels = data(images=300)
    # Where all are confident there is no difference.
    expected = make_grids(images, logits + 100, labels, grids=999, n=2, fewer=True)
    grids = make_grids(images, logits - 100, labels, 999, 2, fewer=True, rule="all_correct")
    assert len(grids) > 5
    np.testing.assert_array_equal(grids.indices, expected.indices)
    np.testing.assert_array_equal(grids.class_ids, expected.class_ids)
    with pytest.raises(ValueError, match=r"only 0 can be made.* with more than 50%"):
        make_grids(images, logits - 100, labels, grids=1, n=2)
    with pytest.raises(ValueError, match=r"model classifies correctly\. Such"):
        make_grids(images, logits, labels, grids=999, n=2, rule="all_correct")


def test_an_unknown_rule_of_grids_is_refused():
    with pytest.raises(ValueError, match=r"Unknown `rule`: 'best'. Expected one of .*published"):
        make_grids(*data(), grids=1, rule="best")


def test_log_odds_of_both_activations():
    logits = np.array([[2.0, -1.0, 0.5], [40.0, 0.0, 0.0]])
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities(logits), 1 / (1 + np.exp(-logits)))
    np.testing.assert_allclose(probabilities(logits, "softmax"), softmax)
    assert log_odds([[60.0, 0.0], [50.0, 0.0]], "softmax")[:, 0].tolist() == [60, 50]
    with pytest.raises(ValueError, match="relu"):
        log_odds(logits, "relu")


def test_log_odds_of_a_softmax_are_those_of_its_probabilities(rng):
    for scale in (1.0, 30.0):
        logits = scale * rng.normal(size=(40, 6))
        # Two classes share the first place.
        logits[:5, 2] = logits[:5, 4] = 2 * scale
        rivals = np.where(np.eye(6, dtype=bool), -np.inf, logits[:, None, :])
        expected = logits - logsumexp(rivals, axis=-1)
        odds = log_odds(logits, "softmax")
        np.testing.assert_allclose(odds, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(odds.argmax(1), logits.argmax(1))
    assert log_odds([[3.0], [-2.0]], "softmax").tolist() == [[np.inf], [np.inf]]


def test_log_odds_take_the_memory_of_the_logits():
    logits = np.zeros((200, 500))
    tracemalloc.start()
    try:
        log_odds(logits, "softmax")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * logits.nbytes


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_confident_images_against_a_loop(activation):
    _, logits, labels = data()
    chance = probabilities(logits, activation)
    queues = most_confident(logits, labels, minimum=0.5, activation=activation)
    for class_id, queue in enumerate(queues):
        expected = [
            i
            for i in range(len(labels))
            if labels[i] == class_id
            and chance[i].argmax() == class_id
            and chance[i, class_id] > 0.5
        ]
        expected.sort(key=lambda i: -chance[i, class_id])
        assert queue.tolist() == expected


def test_one_vs_all_net_that_is_right_but_unsure_is_not_confident():
    queues = most_confident([[-1.0, -2.0], [1.0, -2.0]], [0, 0], minimum=0.5)
    assert [queue.tolist() for queue in queues] == [[1], []]


def test_softmax_classifiers_are_ranked_by_probability_not_by_logit():
    # The larger logit has the closer rival.
    logits, labels = np.array([[10.0, 9.9], [3.0, -3.0]]), [0, 0]
    assert most_confident(logits, labels)[0].tolist() == [0, 1]
    assert most_confident(logits, labels, activation="softmax")[0].tolist() == [1, 0]


@pytest.mark.parametrize("n", [2, 3])
def test_grids_take_the_most_confident_unused_images(n):
    images, logits, labels = data()
    grids = make_grids(images, logits, labels, grids=6, n=n)
    queues = [queue.tolist() for queue in most_confident(logits, labels, minimum=0.5)]
    np.random.seed(42)
    for indices, class_ids in zip(grids.indices, grids.class_ids):
        eligible = [class_id for class_id in range(CLASSES) if queues[class_id]]
        assert class_ids.tolist() == np.random.choice(eligible, n * n, replace=False).tolist()
        assert indices.tolist() == [queues[class_id].pop(0) for class_id in class_ids]
        assert len(set(class_ids)) == n * n


def test_composed_image_holds_the_images_row_by_row():
    images, logits, labels = data(size=(4, 6))
    grids = make_grids(images, logits, labels, grids=3, n=3)
    image = grids.compose(1)
    assert image.shape == (12, 18, 3)
    for cell, index in enumerate(grids.indices[1]):
        row, column = divmod(cell, 3)
        block = image[4 * row : 4 * row + 4, 6 * column : 6 * column + 6]
        np.testing.assert_array_equal(block, images[index])


def test_too_few_confident_images_says_how_many_grids_are_possible():
    images, logits, labels = data(images=120)
    with pytest.raises(ValueError, match=r"500 grids of 3x3.* only (\d+) can be made") as error:
        make_grids(images, logits, labels)
    possible = int(str(error.value).split("only ")[1].split()[0])
    assert possible > 0
    assert len(make_grids(images, logits, labels, grids=possible)) == possible
    with pytest.raises(ValueError, match=f"only {possible} can"):
        make_grids(images, logits, labels, grids=possible + 1)
    fewer = make_grids(images, logits, labels, grids=possible + 1, fewer=True)
    assert len(fewer) == possible
    np.testing.assert_array_equal(
        fewer.indices, make_grids(images, logits, labels, grids=possible).indices
    )
    with pytest.raises(ValueError, match="only 0 can"):
        make_grids(images, logits, labels, grids=1, n=4)
    none = make_grids(images, logits, labels, grids=1, n=4, fewer=True)
    assert len(none) == 0 and none.indices.shape == none.class_ids.shape == (0, 16)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize(
    ("function", "score"),
    [
        (lambda own: own, lambda n: 1),
        (np.ones_like, lambda n: 1 / n**2),
        (lambda own: 1 - 2 * own, lambda n: 0),
        (lambda own: -own, lambda n: 0),
        (np.zeros_like, lambda n: 0),
        (lambda own: 3 * own + 1, lambda n: 4 / (n**2 + 3)),
        (lambda own: 5 * own - 2 * (1 - own), lambda n: 1),
    ],
    ids=["perfect", "uniform", "inverted", "negative", "zero", "mixed", "negatives-ignored"],
)
def test_localisation_of_known_attributions(n, function, score):
    images, logits, labels = data(size=(4, 6))
    grids = make_grids(images, logits, labels, grids=2, n=n)
    attribute = FromMasks(grids, 4, 6, function)
    result = localisation(None, grids, attribute, progress=False)
    np.testing.assert_allclose(result.scores, np.full((2, n * n), score(n)), atol=1e-12)
    assert result.mean == pytest.approx(score(n))
    assert result.percentiles == pytest.approx([score(n)] * 3)
    assert result.chance == 1 / n**2
    assert [shape for shape, _ in attribute.calls] == [(1, 4 * n, 6 * n, 3)] * 2
    for (_, class_ids), expected in zip(attribute.calls, grids.class_ids):
        np.testing.assert_array_equal(class_ids, expected[None])


def test_positive_fraction_against_loops():
    maps = np.random.default_rng(1).normal(size=(9, 12, 15))
    for cell, score in enumerate(positive_fraction(maps, 3)):
        row, column = divmod(cell, 3)
        inside = total = 0.0
        for i in range(12):
            for j in range(15):
                value = max(maps[cell, i, j], 0)
                total += value
                inside += value if (i // 4, j // 5) == (row, column) else 0
        assert score == pytest.approx(inside / total)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_window_mean_against_loops(size):
    maps = np.random.default_rng(2).normal(size=(2, 7, 9))
    reach = size // 2
    for map_, averaged in zip(maps, window_mean(maps, size)):
        for i in range(7):
            for j in range(9):
                total = sum(
                    map_[a, b]
                    for a in range(max(0, i - reach), min(7, i + reach + 1))
                    for b in range(max(0, j - reach), min(9, j + reach + 1))
                )
                assert averaged[i, j] == pytest.approx(total / size**2, abs=1e-12)


@pytest.mark.parametrize("size", [0, 4, -3])
def test_window_without_a_centre_is_refused(size):
    with pytest.raises(ValueError, match=f"odd window size.*Received {size}"):
        window_mean(np.ones((4, 4)), size)


def test_averaging_over_windows_cancels_signs_before_the_clip():
    """Alternating signs with a surplus in the own cell: pixel by pixel nearly blind, then not."""
    images, logits, labels = data(size=(6, 6))
    grids = make_grids(images, logits, labels, grids=1, n=2)
    signs = (-1.0) ** np.add.outer(np.arange(12), np.arange(12))
    attribute = FromMasks(grids, 6, 6, lambda own: signs + 0.2 * own)
    result = localisation(None, grids, attribute, windows=(3, 5), progress=False)
    assert result.mean == pytest.approx(1.2 / 4.2)
    assert list(result.averaged) == [3, 5]
    by_hand = [
        positive_fraction(window_mean(signs + 0.2 * own, 3), 2)
        for own in [own_cell(grids, 0, 6, 6)]
    ]
    np.testing.assert_allclose(result.averaged[3], by_hand)
    summary = result.summary()["mean_by_window"]
    assert list(summary) == ["1", "3", "5"]
    assert summary["1"] == result.mean < summary["3"]


def test_averaging_leaves_a_uniform_map_at_chance():
    images, logits, labels = data(size=(6, 6))
    grids = make_grids(images, logits, labels, grids=1, n=2)
    attribute = FromMasks(grids, 6, 6, np.ones_like)
    result = localisation(None, grids, attribute, windows=(3,), progress=False)
    np.testing.assert_allclose(result.averaged[3], 1 / 4)


def test_parts_join_to_the_whole():
    images, logits, labels = data()
    grids = make_grids(images, logits, labels, grids=5, n=2)

    def attribute(model, image, class_ids):
        """Depends on the image and on the class alone."""
        return np.sin(image.sum(axis=-1)[:, None] * (1 + class_ids[..., None, None]))

    whole = localisation(None, grids, attribute, progress=False)
    parts = [localisation(None, part, attribute, progress=False) for part in (grids[:2], grids[2:])]
    several = localisation(None, grids, attribute, grids_per_call=3, progress=False)
    np.testing.assert_array_equal(several.scores, whole.scores)
    joined = Localisation(np.concatenate([part.scores for part in parts]))
    np.testing.assert_array_equal(joined.scores, whole.scores)
    assert joined.summary() == whole.summary()
    assert whole.summary()["grid"] == "2x2"
    assert whole.summary()["images"] == 5


def test_attributions_that_break_the_contract_are_refused():
    images, logits, labels = data()
    grids = make_grids(images, logits, labels, grids=1, n=2)

    def score(attribute, part=grids):
        localisation(None, part, attribute, progress=False)

    with pytest.raises(ValueError, match=r"shape \(1, 4, 8, 12\).*Received shape \(1, 8, 12\)"):
        score(lambda model, image, class_ids: image.sum(axis=-1))
    with pytest.raises(ValueError, match="384 values not finite"):
        score(lambda model, image, class_ids: np.full((1, 4, 8, 12), np.nan))
    bytes_ = make_grids(images.astype("uint8"), logits, labels, grids=1, n=2)
    with pytest.raises(ValueError, match="divide 8-bit"):
        score(lambda model, image, class_ids: np.ones((1, 4, 8, 12)), bytes_)
