"""What every metric of single images keeps to, whatever it measures."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from coda_keras import CoDANet, DAUConv2D, evaluation
from coda_keras.evaluation.chart import Box, Curve
from coda_keras.evaluation.metric import ImageMetric, ScoreMetric

IMAGE_METRICS = [
    name for name, row in evaluation.METRICS.items() if issubclass(row.make, ImageMetric)
]
# Smaller than by default, where it saves time.
ARGUMENTS = {
    "pixel_removal": {"points": 6},
    "deletion": {"steps": 6},
    "insertion": {"steps": 6},
    "infidelity": {"samples": 6},
    "max_sensitivity": {"samples": 3},
    "road": {"percentages": (30, 60, 90)},
    "sanity": {"steps": 2},
}
IMAGES = np.random.default_rng(0).random((5, 8, 8, 3), "float32")
CLASS_IDS = np.array([0, 2, 1, 1, 0])
MODELS = ("coda", "ordinary")


class Spy:
    """Keeps how many images a call had, of the model and of the method."""

    def __init__(self, model):
        self.model = model
        self.sizes = []
        if hasattr(model, "explain"):
            self.explain = model.explain
            self.logit_bias = model.logit_bias

    def __call__(self, images):
        self.sizes.append(len(images))
        return self.model(images)

    @property
    def layers(self):
        return self.model.layers

    @property
    def name(self):
        return self.model.name


def make_model(kind):
    keras.utils.set_random_seed(0)
    if kind == "coda":
        layers = [DAUConv2D(4, 4, 3, strides=2), DAUConv2D(3, 4, 3)]
        return CoDANet(layers, temperature=1.0, image_size=8)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return make_model(request.param)


def attribute(model, images, class_ids):
    """Depends on image, class and weights, and on nothing beside the image."""
    if hasattr(model, "sizes"):
        model.sizes.append(len(images))
    weights = np.sum([np.sum(weight) for layer in model.layers for weight in layer.get_weights()])
    phase = weights + np.asarray(class_ids)[:, None, None]
    return np.sin(9 * images.astype("float64").sum(axis=-1) + phase)


def make(name, **kwargs):
    activation = kwargs.pop("activation", "softmax")
    return evaluation.get(name, activation=activation, **ARGUMENTS.get(name, {}), **kwargs)


def same(rows, expected):
    assert set(rows) == set(expected)
    for key, values in expected.items():
        if values.dtype.kind == "U":
            np.testing.assert_array_equal(rows[key], values)
        else:
            np.testing.assert_allclose(rows[key], values, rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.fixture(scope="module", params=IMAGE_METRICS)
def measured(request, model):
    return request.param, make(request.param).measure(model, IMAGES, CLASS_IDS, attribute)


def test_names_are_those_of_the_registry():
    for name, row in evaluation.METRICS.items():
        assert row.make.name == name
        assert bool(row.figure) == bool(row.make.figure)
    assert set(evaluation.STUDIED) <= set(evaluation.METRICS)
    with pytest.raises(ValueError, match="pixel_removal"):
        evaluation.get("pixel removal")


def test_a_row_for_every_image(measured):
    _, rows = measured
    assert {len(values) for values in rows.values()} == {len(IMAGES)}
    for values in rows.values():
        assert values.dtype.kind in "fiU"
        assert values.dtype.kind == "U" or np.isfinite(values).all()


def test_slices_make_the_rows_of_the_whole(measured, model):
    name, rows = measured
    metric = make(name)
    parts = [
        metric.measure(model, IMAGES[part], CLASS_IDS[part], attribute)
        for part in (slice(0, 2), slice(2, 5))
    ]
    same({key: np.concatenate([part[key] for part in parts]) for key in parts[0]}, rows)


def test_batch_size_bounds_every_call_and_changes_nothing(measured, model):
    name, rows = measured
    spy = Spy(model)
    same(make(name, batch_size=2).measure(spy, IMAGES, CLASS_IDS, attribute), rows)
    assert spy.sizes and max(spy.sizes) <= 2


def test_seed_belongs_to_the_arguments_and_batch_size_does_not():
    for name in evaluation.METRICS:
        arguments = evaluation.get(name, seed=7, batch_size=3, activation="softmax").arguments
        assert arguments["seed"] == 7 and arguments["activation"] == "softmax"
        assert "batch_size" not in arguments
        assert json.loads(json.dumps(arguments)) == arguments


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("deletion", {"batch_size": 0}, "batch_size=0"),
        ("infidelity", {"activation": "tanh"}, "Unknown `activation`: 'tanh'"),
        ("pixel_removal", {"fraction": 7}, "fraction=7"),
        ("pixel_removal", {"points": 0}, "points=0"),
        ("localisation", {"grid_size": 0}, "grid_size=0"),
        ("localisation", {"windows": (3, 2)}, "odd window size.*Received 2"),
        ("sanity", {"steps": 0}, "steps=0"),
    ],
)
def test_arguments_are_checked_when_a_metric_is_made(name, given, message):
    with pytest.raises(ValueError, match=message):
        evaluation.get(name, **given)


def test_summary_is_plain_and_the_same_by_a_call(measured, model):
    name, rows = measured
    summary = make(name).summary(rows)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    called = make(name)(model, IMAGES, CLASS_IDS, attribute)
    assert called.keys() == summary.keys()
    assert make(name).cells(called).keys() == make(name).cells(summary).keys()


def test_cells_legend_and_line_fit_together(measured):
    name, rows = measured
    metric = make(name)
    summary = metric.summary(rows)
    cells = metric.cells(summary)
    assert cells and all(isinstance(text, str) and text for text in cells.values())
    assert set(metric.legend) <= set(cells)
    assert all(sentence.endswith(".") for sentence in metric.legend.values())
    line = metric.in_short(summary)
    assert "\n" not in line and f"{len(IMAGES)} images" in line


def test_charts_read_the_summary(measured):
    name, rows = measured
    metric = make(name)
    summary = metric.summary(rows)
    assert metric.charts
    for chart in metric.charts.values():
        assert chart.title
        drawn = chart.read(summary)
        if isinstance(drawn, Box):
            assert len(drawn.quartiles) == 3 and list(drawn.quartiles) == sorted(drawn.quartiles)
        else:
            assert isinstance(drawn, Curve) and len(drawn.x) == len(drawn.y) > 1
            assert np.isfinite(drawn.y).all()
        if chart.reference:
            assert np.isfinite(chart.reference(summary))
    assert set(metric.figure) <= set(metric.charts)


def test_columns_are_told_apart():
    headings = [heading for row in evaluation.METRICS.values() for heading in row.make.legend]
    assert len(headings) == len(set(headings))
    charts = [key for name in IMAGE_METRICS for key in evaluation.METRICS[name].make.charts]
    assert len(charts) == len(set(charts))


@pytest.mark.parametrize("name", IMAGE_METRICS)
def test_images_of_integers_and_ill_fitting_class_ids_are_refused(name):
    model = make_model("ordinary")
    with pytest.raises(ValueError, match="divide 8-bit"):
        make(name)(model, (255 * IMAGES).astype("uint8"), CLASS_IDS, attribute)
    with pytest.raises(ValueError, match="Received shapes"):
        make(name)(model, IMAGES, CLASS_IDS[:2], attribute)
    with pytest.raises(ValueError, match="integers from 0"):
        make(name)(model, IMAGES, CLASS_IDS - 1, attribute)
    with pytest.raises(ValueError, match="not finite"):
        make(name)(model, IMAGES, CLASS_IDS, lambda *args: np.full(IMAGES.shape[:3], np.nan))


def test_the_docs_say_which_values_are_good():
    page = (Path(__file__).parents[2] / "docs/metrics.md").read_text("utf-8")
    words = {
        "high": ("high", "high / low", "see there"),
        "low": ("low", "0", "near 0 or below", "see there"),
        "zero": ("near 0",),
    }
    for name, row in evaluation.METRICS.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| [`{name}`](")]
        column, good = (cell.strip() for cell in line.split("|")[2:4])
        assert good in words[row.make.good], name
        headings = row.make.legend
        assert not issubclass(row.make, ScoreMetric) or column in headings
