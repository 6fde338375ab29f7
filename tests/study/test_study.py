"""Studies as a library: subjects, slices on disk, charts, layers, videos."""

import importlib.util

import keras
import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image
from tiny import SIZE, convolutional_net

from coda_keras import CoDANet, Ensemble, Flipped, attribution, evaluation
from coda_keras.evaluation import make_grids
from coda_keras.study import (
    FIGURES,
    Missing,
    Settings,
    Study,
    baseline_layers,
    cache,
    charts,
    methods,
    studied_model,
    video,
)
from coda_keras.study.registry import figure_function

pytestmark = pytest.mark.tensorflow

QUICK = {
    "methods": ["contributions", "input_x_gradient"],
    "images": 4,
    "items": {"localisation": 2, "sanity": 2},
    "metric_arguments": {"localisation": {"grid_size": 2}, "pixel_removal": {"points": 4}},
    "batch_size": 8,
}


@pytest.fixture(scope="module")
def net(nets):
    return keras.models.load_model(nets["t4"])


def study(net, quarters, folder, **changes):
    return Study([net], quarters, Settings(**{**QUICK, **changes}), folder)


def test_a_few_lines_are_a_study(net, quarters, tmp_path):
    made = study(net, quarters, tmp_path)
    lines = []
    made.run(report=lines.append)
    assert f"{net.name}: test accuracy {made.main.accuracy:.4f} on 64 images" == lines[0]
    numbers = made.numbers[net.name]["contributions"]
    assert list(numbers) == ["localisation", "pixel_removal", "sanity", "cost"]
    assert f"| Ours | {numbers['localisation']['mean']:.3f} |" in made.table()
    assert len(made.figure("6").axes) >= 2
    assert made.figure("5").axes and made.figure("sanity_maps").axes
    with pytest.raises(Missing, match="no baseline"):
        made.figure("a7")
    with pytest.raises(ValueError, match="'99'"):
        made.figure("99")

    lines.clear()
    again = study(net, quarters, tmp_path)
    again.run(report=lines.append)
    assert again.numbers == made.numbers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["shapley"]}, "shapley"),
        ({"methods": []}, "at least one"),
        ({"metrics": ["localization"]}, "'localization'"),
        ({"metric_arguments": {"removal": {}}}, "'removal'"),
        ({"method_arguments": {"rice": {}}}, "'rice'"),
        ({"method_arguments": {"rise": {"masks": 3}}}, "'rise' has no argument masks"),
        ({"metric_arguments": {"road": {"steps": 3}}}, "'road' has no argument steps"),
        ({"images": 0}, "`images`"),
        ({"items": {"localisation": 0}}, "`localisation`"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        Settings(**changes)


def test_the_seed_reaches_every_random_method(net, quarters, tmp_path):
    options = {"methods": ["rise"], "method_arguments": {"rise": {"num_masks": 40}}}
    maps = [
        study(net, quarters, tmp_path, seed=seed, **options).main.maps("rise", [0])[0]
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.abs(maps[0] - maps[2]).max() > 1e-3 * np.abs(maps[0]).max()
    lime = study(net, quarters, tmp_path, methods=["contributions"], seed=7).main
    assert lime.method_arguments("lime")["seed"] == 7


def test_the_batch_size_bounds_every_call_for_logits(net, quarters, tmp_path, monkeypatch):
    sizes = []
    compiled = studied_model.backend.compiled

    def watched(function, model):
        run = compiled(function, model)
        return lambda images: sizes.append(len(images)) or run(images)

    monkeypatch.setattr(studied_model.backend, "compiled", watched)
    made = study(net, quarters, tmp_path, batch_size=5)
    assert len(made.main.logits) == 64
    assert max(sizes) == 5


def test_metrics_of_a_study_share_the_maps(net, quarters, tmp_path, monkeypatch):
    made = study(net, quarters, tmp_path, methods=["gradient"])
    method, images = made.main.method("gradient"), []
    compute = method.on_host
    monkeypatch.setattr(
        method, "on_host", lambda *args: images.extend(args[0]) or compute(*args), raising=True
    )
    for name in ("pixel_removal", "sparseness", "completeness"):
        made.measure(made.main, name, "gradient")
    assert len(images) == QUICK["images"]
    # The sanity check changes the weights: its maps are its own.
    made.measure(made.main, "sanity", "gradient")
    assert len(images) == QUICK["images"] + 2 * 3

    alone = evaluation.get("sparseness")(
        net, made.main.images[:4], made.main.labels[:4], attribution.get("gradient")
    )
    mean = made.numbers[net.name]["gradient"]["sparseness"]["mean"]
    assert mean == pytest.approx(alone["mean"], abs=1e-6)


def test_dear_methods_get_fewer_images():
    settings = Settings(images=50, few_images=3, items={"localisation": 9})
    removal, grids, sanity = (
        settings.metric(name, "sigmoid") for name in ("pixel_removal", "localisation", "sanity")
    )
    assert [settings.count(removal, name) for name in ("gradient", "rise")] == [50, 3]
    assert [settings.count(grids, name) for name in ("occlusion_9", "lime")] == [9, 9]
    assert [settings.count(sanity, name) for name in ("gradient", "rise")] == [16, 4]


def test_a_missing_package_costs_its_method_only(net, quarters, tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        methods, "find_spec", lambda name: None if name == "lime" else find_spec(name)
    )
    made = Study([net], quarters, Settings(**{**QUICK, "methods": None, "metrics": []}), tmp_path)
    assert "lime" not in made.main.names and "rise" in made.main.names
    # On a CoDA-Net DeepLIFT needs nothing.
    assert "deeplift" in made.main.names
    lines = []
    made.run(report=lines.append)
    (line,) = [line for line in lines if "left out" in line]
    assert "LIME" in line and "pip install 'coda-keras[interpret]'" in line
    with pytest.raises(ValueError, match="leave it out"):
        study(net, quarters, tmp_path, methods=["contributions", "lime"])


def test_a_method_that_cannot_take_the_model_is_left_out_or_refused(net, quarters, tmp_path):
    views, gradcams = Ensemble([net, Flipped(net)]), ["gradcam", "gradcam_plus_plus"]
    made = study(views, quarters, tmp_path, methods=None)
    assert list(made.main.left_out) == gradcams
    assert sorted([*made.main.names, *gradcams]) == sorted(attribution.STUDIED)
    with pytest.raises(ValueError, match=r"is called several times.*; or leave it out"):
        study(views, quarters, tmp_path, methods=["contributions", "gradcam"])


def test_every_method_has_one_label_and_a_colour_of_its_own():
    names = [*attribution.STUDIED, *(f"occlusion_{k}" for k in range(1, 21))]
    rows = {name: attribution.find(name) for name in names}
    assert len({row.colour for row in rows.values()}) == len(rows)
    for name in set(names) - {"lime"}:
        assert attribution.get(name).label == rows[name].label
    assert all(row.cost in ("batched", "masking", "sampling") for row in rows.values())


def test_published_occlusion_stands_beside_the_windows_that_it_hid():
    """Their Occ9 hides 8 pixels along an axis (docs/attribution.md)."""
    published = {k: attribution.find(f"occlusion_{k}").published for k in (4, 5, 8, 9)}
    assert published == {4: "Occ5", 5: None, 8: "Occ9", 9: None}
    known = evaluation.published_cifar10()["models"]["9L-S-CoDA-SQ-1000"]
    rows = [attribution.find(name) for name in (*attribution.STUDIED, "occlusion_4", "occlusion_8")]
    assert {row.published for row in rows} - {None} == set(known)


def test_a_sized_method_without_a_size_has_its_curve(net, quarters, tmp_path):
    made = study(net, quarters, tmp_path, methods=["occlusion"], metrics=["pixel_removal"])
    made.run(report=lambda line: None)
    assert made.figure("6").axes and attribution.find("occlusion").published is None


def test_published_results_stand_beside_grids_of_their_rule_and_size_only():
    results = evaluation.published_cifar10()["models"]["9L-S-CoDA-SQ-1000"]["Ours"]
    known = results["localisation"]
    grids = [(3, "published", known), (3, "blocks", None), (2, "published", None)]
    for size, rule, expected in grids:
        metric = evaluation.get("localisation", grid_size=size, rule=rule)
        ours = metric.summary({"scores": np.full((5, size**2), 0.5)})
        assert ours["rule"] == rule
        assert metric.published_summary(results, ours) == expected
        # In tables of a stored study, which has the summary alone.
        assert evaluation.get("localisation").published_summary(results, ours) == expected
    without_a_rule = {"grid": "3x3"}
    assert evaluation.get("localisation").published_summary(results, without_a_rule) is None
    least = evaluation.get("pixel_removal").published_summary(results, {})["least"]
    assert least == results["pixel_removal"]


@pytest.mark.parametrize("rule", ["published", "blocks"])
def test_published_boxes_are_drawn_beside_grids_of_their_rule(rule):
    results = evaluation.published_cifar10()["models"]["9L-S-CoDA-SQ-1000"]["Ours"]
    metric = evaluation.get("localisation", rule=rule)
    ours = metric.summary({"scores": np.full((5, 9), 0.5)})
    # The second has no net of ours.
    values = [("T = 10", "red", ours, None, False), ("T = 1000", "blue", None, results, False)]
    (panel,) = charts._panel(metric, "localisation", values)
    first, second = panel.entries
    assert first.box == (0.5, (0.5, 0.5, 0.5)) and first.published_box is None
    known = results["localisation"]
    box = (known["mean"], tuple(known["percentiles_25_50_75"])) if rule == "published" else None
    assert second.box is None and second.published_box == box


def test_the_rule_of_the_grids_is_that_of_the_settings(net, quarters, tmp_path):
    def measured(rule, folder):
        arguments = {"localisation": {"grid_size": 2, "rule": rule}}
        made = study(
            *(net, quarters, tmp_path / folder),
            metrics=["localisation"],
            metric_arguments=arguments,
        )
        made.run()
        return made

    made = measured("all_correct", "correct")
    images = quarters.test_images.astype("float32") / 255
    logits = net.predict(images, verbose=0)
    grids = make_grids(images, logits, quarters.test_labels, 2, 2, rule="all_correct")
    ours = attribution.get("contributions")
    expected = evaluation.localisation(net, grids, ours, progress=False).mean
    found = made.numbers[net.name]["contributions"]["localisation"]
    assert found["mean"] == pytest.approx(expected, abs=1e-5)
    np.testing.assert_array_equal(made.main.first_grid.indices, grids.indices[:1])
    # The authors' code needs a class more than a grid has cells.
    with pytest.raises(ValueError, match="and another class that has one"):
        measured("published", "published")


def test_every_figure_has_a_function():
    for name in FIGURES:
        assert callable(figure_function(name))


def test_baseline_layers_share_out_the_logit(quarters):
    """Without biases a ReLU net is homogeneous: activation × gradient sums to the logit."""
    model = convolutional_net(SIZE, use_bias=False)
    images, labels = quarters.test_images[:3].astype("float32") / 255, quarters.test_labels[:3]
    logits = model.predict(images, verbose=0)[np.arange(3), labels]
    by_layer = baseline_layers.input_x_gradient_of_layers(model, images, labels)
    assert [title for title, _ in by_layer] == ["pixels", "stem", "last_activation"]
    assert [maps.shape for _, maps in by_layer] == [(3, 8, 8), (3, 8, 8), (3, 4, 4)]
    for _, maps in by_layer:
        np.testing.assert_allclose(maps.sum((1, 2)), logits, rtol=1e-3, atol=1e-5)
    kl = keras.layers
    flat = keras.Sequential([keras.Input((SIZE, SIZE, 3)), kl.Flatten(), kl.Dense(4)])
    with pytest.raises(ValueError, match="no activation"):
        baseline_layers.input_x_gradient_of_layers(flat, images, labels)


def test_slices_are_taken_up_and_joined(tmp_path, capsys):
    computed = []

    def compute(start, stop):
        computed.append((start, stop))
        return {"squares": np.arange(start, stop) ** 2}

    def collect(total, arguments):
        computed.clear()
        arrays = cache.collect(tmp_path / "x", arguments, total, 3, compute, "squares")
        np.testing.assert_array_equal(arrays["squares"], np.arange(total) ** 2)
        return list(computed)

    assert collect(7, {"a": 1}) == [(0, 3), (3, 6), (6, 7)]
    assert collect(7, {"a": 1}) == []
    assert collect(9, {"a": 1}) == [(6, 9)]
    assert collect(2, {"a": 2}) == [(0, 2)]
    (damaged,) = tmp_path.rglob("000003-000006.npz")
    for content in (damaged.read_bytes()[:-30], b"", b"none"):
        damaged.write_bytes(content)
        assert collect(7, {"a": 1}) == [(3, 6)]
        assert f"{damaged} is damaged" in capsys.readouterr().err
    assert collect(7, {"a": 1}) == []


def test_videos_are_read_from_gifs_and_folders(tmp_path, rng):
    frames = rng.integers(0, 256, (4, 16, 24, 3)).astype("uint8")
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    frames_read = video.read_frames(tmp_path, size=16)
    np.testing.assert_allclose(frames_read, frames / 255, atol=1e-6)
    assert video.read_frames(tmp_path, size=8).shape == (4, 8, 12, 3)

    grey = [Image.new("RGB", (10, 8), (40 * i,) * 3) for i in range(3)]
    grey[0].save(tmp_path / "v.gif", save_all=True, append_images=grey[1:], duration=50)
    frames_read = video.read_frames(tmp_path / "v.gif", size=32)
    np.testing.assert_allclose(frames_read[:, 0, 0, 0], np.array([0, 40, 80]) / 255, atol=1e-6)
    with pytest.raises(ValueError, match="one size"):
        Image.new("RGB", (9, 9)).save(tmp_path / "odd.png")
        video.read_frames(tmp_path, size=16)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures"):
        video.read_frames(tmp_path / "empty", size=16)


def test_a_pan_stays_inside_and_moves_slowly():
    image = np.arange(12 * 12).reshape(12, 12, 1).repeat(3, -1)
    frames = video.pan(image, (8, 8), frames=24)
    assert frames.shape == (24, 8, 8, 3)
    corners = frames[:, 0, 0, 0]
    rows, columns = np.divmod(corners, 12)
    assert rows.max() == columns.max() == 4 and corners[0] == 0
    assert np.abs(np.diff(rows)).max() <= 1 and np.abs(np.diff(columns)).max() <= 1


def test_maps_without_sign_keep_their_own_colours_in_the_sanity_check(net, quarters, tmp_path):
    options = {"methods": ["contributions", "rise"], "metrics": ["sanity"]}
    few = {"method_arguments": {"rise": {"num_masks": 4}}, "items": {"sanity": 1}}
    made = study(net, quarters, tmp_path, **options, **few)
    made.run(report=lambda line: None)
    pictures = [a.images[0].get_array() for a in made.figure("sanity_maps").axes if a.images]
    maps = made.rows(made.main, "sanity", "rise")["maps"][0][0]
    rise = np.asarray(pictures[len(pictures) // 2 + 1], "float64")
    lowest = np.unravel_index(maps.argmin(), maps.shape)
    np.testing.assert_allclose(rise[lowest], colormaps["jet"](0.0)[:3])


@pytest.mark.parametrize(
    ("method", "figure", "reason"),
    [("gradient", "8", "that it compares"), ("deeplift", "sanity_maps", "have the maps of others")],
)
def test_figures_without_a_method_of_theirs_are_missing(
    method, figure, reason, net, quarters, tmp_path
):
    made = study(net, quarters, tmp_path, methods=[method], metrics=["sanity"])
    made.run(report=lambda line: None)
    with pytest.raises(Missing, match=reason):
        made.figure(figure)


def test_galleries_say_which_classes_have_no_correct_image(net, quarters, tmp_path):
    made = study(net, quarters, tmp_path)
    chosen = made.main.confident(1)
    assert made.main.note_of_missing(chosen) == ""
    assert made.main.note_of_missing(chosen[1:]) == "No correctly classified image of north-west."


def test_an_average_of_nets_has_no_temperature_and_no_layers(net, quarters, tmp_path):
    made = Study([Ensemble([net, Flipped(net)]), net], quarters, Settings(**QUICK), tmp_path)
    assert [subject.model for subject in made.nets] == [net]
    with pytest.raises(Missing, match="several models"):
        made.figure("4")
    for name in ("a6", "layers"):
        with pytest.raises(Missing, match="no chain of layers"):
            made.figure(name)


def test_nets_with_different_lambda_are_told_by_it(net, quarters, tmp_path):
    config = {**net.get_config(), "regularisation": 0.5}
    other = CoDANet.from_config(config)
    other.set_weights(net.get_weights())
    figure = Study([net, other], quarters, Settings(**QUICK), tmp_path).figure("4")
    titles = {axes.get_title() for axes in figure.axes}
    assert {"T = 4\nλ = 0", "T = 4\nλ = 0.5"} <= titles


def test_boxes_count_what_they_are_about(net, quarters, tmp_path):
    made = study(net, quarters, tmp_path)
    made.run(report=lambda line: None)
    axes = made.figure("6").axes[0]
    for label in axes.get_xticklabels():
        assert label.get_text().endswith("(2)")
    assert axes.get_xlabel() == "(number of multi-images)"
