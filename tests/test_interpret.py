"""The command that computes the paper's metrics and figures, as a user meets it."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from coda_keras import CoDANet, DAUConv2D, OneVsAllCrossentropy, attribution

pytestmark = pytest.mark.tensorflow
ROOT = Path(__file__).resolve().parents[1]
SIZE = 8
METHODS = "contributions,input_x_gradient,occlusion_3,rise"
TINY = ["--dataset", "digits", "--grid-size", "2", "--grids", "6", "--images", "5"]
TINY += ["--few-grids", "1", "--few-images", "2", "--rise-masks", "4"]
TINY += ["--sanity-images", "2", "--points", "4", "--batch-size", "8"]


@pytest.fixture(scope="module")
def recipes():
    """The modules of the recipe."""
    sys.path.insert(0, str(ROOT / "recipes"))
    import interpret

    from coda_keras.interpretation import layers, measure, parts, video

    yield {
        "interpret": interpret,
        "layers": layers,
        "measure": measure,
        "parts": parts,
        "video": video,
    }
    sys.path.remove(str(ROOT / "recipes"))


@pytest.fixture(scope="module")
def data(recipes):
    """Four classes, told by the quarter that is bright and by its colour."""
    from coda_keras.tf.data import ImageData

    random = np.random.default_rng(3)
    labels = np.arange(64, dtype="int32") % 4
    images = random.integers(0, 90, (64, SIZE, SIZE, 3))
    for image, label in zip(images, labels):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4, label % 3] = 250
    images = images.astype("uint8")
    names = ["north-west", "north-east", "south-west", "south-east"]
    return ImageData(images, labels, images, labels, names)


def convolutional_net(size, use_bias):
    """A ReLU net whose only linear parts are convolutions and the last layer."""
    layers = keras.layers
    inputs = keras.Input((size, size, 3))
    outputs = layers.Conv2D(8, 3, padding="same", use_bias=use_bias)(inputs)
    outputs = layers.Activation("relu", name="stem")(outputs)
    outputs = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=use_bias)(outputs)
    outputs = layers.Activation("relu", name="last_activation")(outputs)
    outputs = layers.GlobalAveragePooling2D()(outputs)
    return keras.Model(inputs, layers.Dense(4, use_bias=use_bias)(outputs))


@pytest.fixture(scope="module")
def models(tmp_path_factory, data):
    """Paths of two CoDA-Nets and a baseline, trained within seconds."""
    folder = tmp_path_factory.mktemp("models")
    nets = {
        f"t{temperature}": CoDANet(
            [DAUConv2D(8, 6, 3, strides=2), DAUConv2D(4, 6, 3)],
            temperature=temperature,
            image_size=SIZE,
        )
        for temperature in (2, 4)
    }
    nets["baseline"] = convolutional_net(SIZE, use_bias=True)
    keras.utils.set_random_seed(0)
    for name, net in nets.items():
        net.compile(keras.optimizers.Adam(0.03), OneVsAllCrossentropy(), jit_compile=False)
        net.fit(data.train_images / 255.0, data.train_labels, 64, epochs=60, verbose=0)
        (folder / name).mkdir()
        net.save(folder / name / "model.keras")
    return {name: folder / name / "model.keras" for name in nets}


@pytest.fixture
def command(recipes, data, monkeypatch, capsys):
    """Runs the command in this process; returns exit code, stdout and stderr."""

    def run(*flags, tiny=True):
        monkeypatch.setattr(recipes["interpret"], "load_digits", lambda: data)
        flags = [*(TINY if tiny else []), *map(str, flags)]
        monkeypatch.setattr(sys, "argv", ["interpret.py", *flags])
        code = 0
        try:
            recipes["interpret"].main()
        except SystemExit as end:
            code = end.code
        return (code, *capsys.readouterr())

    return run


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_everything_at_once(command, models, data, tmp_path):
    flags = ["--model", models["t4"], "--model", models["t2"], "--baseline", models["baseline"]]
    flags += ["--methods", METHODS, "--output", tmp_path / "out"]
    code, out, err = command(*flags, "--logdir", tmp_path / "board")
    assert code == 0, err
    found = results(tmp_path / "out")
    assert found["figures_skipped"] == {}
    for name in found["figures"]:
        assert (tmp_path / "out" / name).stat().st_size > 500
    assert len(found["figures"]) == 2 * 15 + 1
    assert not list((tmp_path / "out").rglob(".*"))

    main, other, baseline = found["models"]
    assert list(other["methods"]) == ["contributions"]
    assert "contributions" not in baseline["methods"]
    assert main["temperature"] == 4 and baseline["temperature"] is None
    rise = main["methods"]["rise"]
    assert (rise["localisation"]["images"], rise["pixel_removal"]["least"]["images"]) == (1, 2)
    for numbers in main["methods"].values():
        assert numbers["cost"]["forward_passes"] > 0
        assert len(numbers["sanity"]["rank_correlation"]["signed"]) == 2
    table = (tmp_path / "out/results.md").read_text()
    assert f"| Ours | {main['methods']['contributions']['localisation']['mean']:.3f} |" in table
    assert "figure 6: " in out

    (events,) = (tmp_path / "board").glob("events*")
    written = events.read_bytes()
    for tag in (b"figure_6", b"figure_a3", b"video", b"results"):
        assert tag in written


def test_numbers_are_those_of_the_library(command, models, data, tmp_path):
    from coda_keras.evaluation import localisation, make_grids, pixel_removal

    flags = ["--methods", "contributions,input_x_gradient,deeplift"]
    flags += ["--metrics", "localisation,pixel_removal"]
    flags += ["--figures", "none", "--model", models["t4"], "--output", tmp_path]
    code, _, err = command(*flags)
    assert code == 0, err
    found = results(tmp_path)["models"][0]
    net = keras.models.load_model(models["t4"])
    images = data.test_images.astype("float32") / 255
    logits = net.predict(images, verbose=0)
    ours = attribution.get("contributions")
    grids = make_grids(images, logits, data.test_labels, grids=6, n=2)
    expected = localisation(net, grids, ours, progress=False).summary()
    numbers = found["methods"]["contributions"]
    assert numbers["localisation"]["mean"] == pytest.approx(expected["mean"], abs=1e-5)
    averaged = localisation(net, grids, ours, windows=(3,), progress=False).averaged[3].mean()
    by_window = numbers["localisation"]["mean_by_window"]
    assert list(by_window) == ["1", "3"]
    assert by_window["3"] == pytest.approx(averaged, abs=1e-5)
    expected = pixel_removal(
        net, images[:5], data.test_labels[:5], ours, points=4, progress=False
    ).summary()
    assert numbers["pixel_removal"]["most"]["area"] == pytest.approx(
        expected["most"]["area"], abs=1e-5
    )
    ixg, deeplift = (found["methods"][name] for name in ("input_x_gradient", "deeplift"))
    assert deeplift["label"] == "DeepLIFT (= IxG)"
    assert deeplift["localisation"] == ixg["localisation"] != numbers["localisation"]
    accuracy = np.mean(logits.argmax(-1) == data.test_labels)
    assert found["test_accuracy"] == pytest.approx(accuracy)


@pytest.fixture
def counted(recipes, monkeypatch):
    """Counts the grids that are scored; stops like Ctrl-C before more than `allowed`."""
    state = {"grids": 0, "allowed": 1000}
    original = recipes["measure"].localisation

    def localisation(model, grids, *args, **kwargs):
        if state["grids"] + len(grids) > state["allowed"]:
            raise KeyboardInterrupt
        state["grids"] += len(grids)
        return original(model, grids, *args, **kwargs)

    monkeypatch.setattr(recipes["measure"], "localisation", localisation)
    return state


def test_a_run_goes_on_where_it_stopped(command, models, counted, tmp_path):
    flags = ["--model", models["t4"], "--methods", "contributions", "--metrics", "localisation"]
    flags += ["--figures", "none", "--output"]
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    assert command(*flags, whole)[0] == 0
    assert counted["grids"] == 6

    counted.update(grids=0, allowed=5)
    code, _, err = command(*flags, parted)
    assert code == 130 and "goes on where it stopped" in err
    assert not (parted / "results.json").exists()
    counted.update(grids=0, allowed=1000)
    assert command(*flags, parted)[0] == 0
    assert counted["grids"] == 1
    scores = [
        results(folder)["models"][0]["methods"]["contributions"]["localisation"]
        for folder in (whole, parted)
    ]
    assert scores[0] == scores[1]

    # More grids: the whole slices of the first run are taken up.
    counted.update(grids=0)
    assert command(*flags, whole, "--grids", "10")[0] == 0
    assert counted["grids"] == 5


def test_changed_arguments_never_meet_old_numbers(command, models, counted, tmp_path):
    flags = ["--methods", "occlusion_3", "--metrics", "localisation", "--figures", "none"]
    flags += ["--output", tmp_path]
    assert command(*flags, "--model", models["t4"])[0] == 0
    for changed in (["--seed", "1"], ["--occlusion-stride", "1"], ["--limit-test", "60"]):
        counted.update(grids=0)
        assert command(*flags, "--model", models["t4"], *changed)[0] == 0
        assert counted["grids"] == 6, changed
    # The same path with another model in it.
    moved = tmp_path / "t4/model.keras"
    moved.parent.mkdir()
    moved.write_bytes(models["t4"].read_bytes())
    counted.update(grids=0)
    assert command(*flags, "--model", moved)[0] == 0
    assert counted["grids"] == 0
    moved.write_bytes(models["t2"].read_bytes())
    assert command(*flags, "--model", moved)[0] == 0
    assert counted["grids"] == 6


@pytest.mark.parametrize(("name", "models"), [("small", [0]), ("comparison", [1, 2])])
def test_tables_in_the_docs_are_those_of_the_stored_runs(name, models, recipes):
    from coda_keras.interpretation.results import markdown

    stored = json.loads((ROOT / f"docs/results/cifar10-{name}.json").read_text())
    parts = markdown(stored).split("\n## ")[1:]
    page = (ROOT / "docs/cifar10.md").read_text()
    for index in models:
        table = [line for line in parts[index].splitlines() if line.startswith("|")]
        assert len(table) == 2 + len(stored["models"][index]["methods"])
        assert "\n".join(table) in page
    assert stored["command"] in page.replace(" \\\n    ", " ")


def test_temperatures_in_the_docs_are_those_of_the_stored_runs():
    page = (ROOT / "docs/cifar10.md").read_text()
    stored = {
        name: json.loads((ROOT / f"docs/results/cifar10-{name}.json").read_text())
        for name in ("comparison", "four-epochs")
    }
    long, cold = stored["comparison"]["models"][:2]
    (short,) = stored["four-epochs"]["models"]
    assert stored["four-epochs"]["command"] in page.replace(" \\\n    ", " ")
    for model, epochs in ((cold, 4), (short, 4), (long, 14)):
        found = model["methods"]["contributions"]["localisation"]
        cells = [f"{model['temperature']:g}", f"{epochs}", f"{model['test_accuracy']:.1%}"]
        cells += [f"{found['mean']:.3f}", f"{found['mean_by_window']['9']:.3f}"]
        assert f"| {' | '.join(cells)} |" in page


def test_numbers_in_the_readme_are_those_of_the_stored_run():
    stored = json.loads((ROOT / "docs/results/cifar10-small.json").read_text())
    readme = (ROOT / "README.md").read_text()
    shown = {
        "own contributions": "contributions",
        "occlusion (Occ9)": "occlusion_9",
        "GradCAM": "gradcam",
        "integrated gradients": "integrated_gradients",
    }
    for label, name in shown.items():
        numbers = stored["models"][0]["methods"][name]
        localised = numbers["localisation"]
        cells = [f"{localised['mean']:.3f}", f"{localised['mean_by_window']['9']:.3f}"]
        cells += [f"{numbers['pixel_removal']['least']['area']:.3f}"]
        cells += [f"{numbers['cost']['forward_passes']:.1f}"]
        assert f"| {label} | {' | '.join(cells)} |" in readme


def test_figures_without_their_inputs_are_skipped_with_a_sentence(command, models, tmp_path):
    flags = ["--model", models["t4"], "--metrics", "none", "--methods", "contributions"]
    code, out, err = command(*flags, "--figures", "4,6,7,a7,sanity", "--output", tmp_path)
    assert code == 0, err
    found = results(tmp_path)
    assert sorted(found["figures"]) == ["figure_7.pdf", "figure_7.png"]
    assert sorted(found["figures_skipped"]) == ["4", "6", "a7", "sanity"]
    assert "figure a7 skipped: there is no --baseline." in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--metrics", "localization"], "expected some of localisation"),
        (["--methods", "contributions,shapley"], "expected some of contributions"),
        (["--figures", "99"], "expected some of 4"),
        (["--grid-size", "3"], "--grid-size 3 needs 9 classes, the data has 4"),
        (["--grids", "500"], "Ask for at most"),
        (["--video", "nowhere.gif", "--figures", "video"], "--video nowhere.gif is neither"),
        (["--grids", "0"], "0 is not a positive whole number"),
        (["--model", "nowhere/model.keras"], "There is no model nowhere/model.keras"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(flags, message, command, models, tmp_path):
    flags = [*flags, "--output", tmp_path] + ([] if "--metrics" in flags else ["--metrics"])
    flags += ["localisation"] if flags[-1] == "--metrics" else []
    code, _, err = command("--model", models["t4"], "--methods", "contributions", *flags)
    assert code == 2
    assert message in err.strip().splitlines()[-1]
    assert "Traceback" not in err


def test_a_broken_model_is_named(command, tmp_path):
    (tmp_path / "model.keras").write_bytes(b"PK not a model")
    code, _, err = command("--model", tmp_path / "model.keras", "--output", tmp_path)
    assert code == 2
    assert "model.keras cannot be loaded as a Keras model" in err


def test_layers_explain_the_whole_logit(recipes, models, data):
    net = keras.models.load_model(models["t4"])
    images, labels = data.test_images[:3] / 255.0, data.test_labels[:3]
    explained = net.explain(images, labels).numpy()
    logits = explained.logits[np.arange(3), labels] - explained.bias
    found = recipes["layers"].layer_to_class(net, images, labels)
    assert [values.shape for values in found] == [(3, 8, 8, 6), (3, 4, 4, 8), (3, 4, 4, 4)]
    for values in found:
        np.testing.assert_allclose(values.sum((1, 2, 3)), logits, rtol=1e-4)
    np.testing.assert_allclose(found[0], explained.contributions, atol=1e-5)
    # The last layer's channels are the classes.
    strongest = recipes["layers"].strongest_channels(found[1:])
    np.testing.assert_array_equal(strongest[-1], labels)
    maps = recipes["layers"].input_to_channels(net, images, strongest)
    np.testing.assert_allclose(maps[-1] / 4, explained.contribution_map, atol=1e-5)


def test_baseline_layers_share_out_the_logit(recipes, data):
    """Without biases a ReLU net is homogeneous: activation × gradient sums to the logit."""
    model = convolutional_net(SIZE, use_bias=False)
    images, labels = data.test_images[:3].astype("float32") / 255, data.test_labels[:3]
    logits = model.predict(images, verbose=0)[np.arange(3), labels]
    found = recipes["layers"].input_x_gradient_of_layers(model, images, labels)
    assert [title for title, _ in found] == ["pixels", "stem", "last_activation"]
    assert [maps.shape for _, maps in found] == [(3, 8, 8), (3, 8, 8), (3, 4, 4)]
    for _, maps in found:
        np.testing.assert_allclose(maps.sum((1, 2)), logits, rtol=1e-3, atol=1e-5)
    layers = keras.layers
    with pytest.raises(ValueError, match="no activation"):
        flat = keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Flatten(), layers.Dense(4)])
        recipes["layers"].input_x_gradient_of_layers(flat, images, labels)


def test_slices_are_taken_up_and_joined(recipes, tmp_path):
    computed = []

    def compute(start, stop):
        computed.append((start, stop))
        return {"squares": np.arange(start, stop) ** 2}

    def collect(total, arguments):
        computed.clear()
        found = recipes["parts"].collect(tmp_path / "x", arguments, total, 3, compute, "squares")
        np.testing.assert_array_equal(found["squares"], np.arange(total) ** 2)
        return list(computed)

    assert collect(7, {"a": 1}) == [(0, 3), (3, 6), (6, 7)]
    assert collect(7, {"a": 1}) == []
    assert collect(9, {"a": 1}) == [(6, 9)]
    assert collect(2, {"a": 2}) == [(0, 2)]


def test_videos_are_read_from_gifs_and_folders(recipes, tmp_path, rng):
    video = recipes["video"]
    frames = rng.integers(0, 256, (4, 16, 24, 3)).astype("uint8")
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    found = video.read_frames(tmp_path, size=16)
    np.testing.assert_allclose(found, frames / 255, atol=1e-6)
    assert video.read_frames(tmp_path, size=8).shape == (4, 8, 12, 3)

    grey = [Image.new("RGB", (10, 8), (40 * i,) * 3) for i in range(3)]
    grey[0].save(tmp_path / "v.gif", save_all=True, append_images=grey[1:], duration=50)
    found = video.read_frames(tmp_path / "v.gif", size=32)
    np.testing.assert_allclose(found[:, 0, 0, 0], np.array([0, 40, 80]) / 255, atol=1e-6)
    with pytest.raises(ValueError, match="one size"):
        Image.new("RGB", (9, 9)).save(tmp_path / "odd.png")
        video.read_frames(tmp_path, size=16)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures"):
        video.read_frames(tmp_path / "empty", size=16)


def test_a_pan_stays_inside_and_moves_slowly(recipes):
    image = np.arange(12 * 12).reshape(12, 12, 1).repeat(3, -1)
    frames = recipes["video"].pan(image, (8, 8), frames=24)
    assert frames.shape == (24, 8, 8, 3)
    corners = frames[:, 0, 0, 0]
    rows, columns = np.divmod(corners, 12)
    assert rows.max() == columns.max() == 4 and corners[0] == 0
    assert np.abs(np.diff(rows)).max() <= 1 and np.abs(np.diff(columns)).max() <= 1
