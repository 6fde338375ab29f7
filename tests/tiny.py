"""Tiny models and data on which studies run within seconds."""

import functools
import shutil

import keras
import numpy as np
import pytest
from PIL import Image
from shared_folders import filled

from coda_keras import PRESETS, CoDANet, DAUConv2D, OneVsAllCrossentropy

SIZE = 8


def few_layers(preset):
    """A preset with three layers in place of nine, which are compiled in a third of the time."""
    few = {"filters": (3, 4, 10), "ranks": (2, 2, 2), "kernel_sizes": (3, 3, 1)}
    return PRESETS[preset]._replace(**few, strides=(2, 2, 1))


@pytest.fixture(scope="module")
def quarters():
    return quarters_data()


def quarters_data():
    """Four classes, told by the quarter that is bright and by its colour."""
    from coda_keras.data.images import ImageData

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
    inputs = keras.Input((size, size, 3))
    outputs = keras.layers.Conv2D(8, 3, padding="same", use_bias=use_bias)(inputs)
    outputs = keras.layers.Activation("relu", name="stem")(outputs)
    outputs = keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=use_bias)(outputs)
    outputs = keras.layers.Activation("relu", name="last_activation")(outputs)
    outputs = keras.layers.GlobalAveragePooling2D()(outputs)
    return keras.Model(inputs, keras.layers.Dense(4, use_bias=use_bias)(outputs))


@pytest.fixture(scope="session")
def nets(tmp_path_factory):
    """Paths of two CoDA-Nets and a baseline, trained within seconds."""
    folder = filled(tmp_path_factory, "models", _train)
    return {name: folder / name / "model.keras" for name in ("t2", "t4", "baseline")}


def _train(folder):
    data = quarters_data()
    images, labels = (
        np.tile(data.train_images / 255.0, (60, 1, 1, 1)),
        np.tile(data.train_labels, 60),
    )
    keras.utils.set_random_seed(0)
    made = {
        f"t{temperature}": CoDANet(
            [DAUConv2D(8, 6, 3, strides=2), DAUConv2D(4, 6, 3)],
            temperature=temperature,
            image_size=SIZE,
        )
        for temperature in (2, 4)
    }
    made["baseline"] = convolutional_net(SIZE, use_bias=True)
    for name, net in made.items():
        net.compile(keras.optimizers.Adam(0.03), OneVsAllCrossentropy(), jit_compile=False)
        # Steps of one epoch, since each takes less time than what comes between epochs.
        net.fit(images, labels, 64, shuffle=False, verbose=0)
        (folder / name).mkdir()
        net.save(folder / name / "model.keras")


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """Tiny ImageNet's folder, of three classes: four training images and two others of each."""
    root = tmp_path_factory.mktemp("official") / "tiny-imagenet-200"

    def save(path, value):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIZE, SIZE), (value, value, 0)).save(path, "JPEG", quality=95)

    lines = []
    for wnid, value in (("n01", 40), ("n02", 120), ("n03", 200)):
        for number in range(4):
            save(root / f"train/{wnid}/images/{wnid}_{number}.JPEG", value + number)
        (root / f"train/{wnid}/{wnid}_boxes.txt").write_text("")
        for number in range(2):
            name = f"val_{len(lines)}.JPEG"
            save(root / "val/images" / name, value + number)
            lines.append(f"{name}\t{wnid}\t0\t0\t7\t7\n")
    (root / "val/val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("n03\nn01\nn02\n")
    (root / "words.txt").write_text(
        "n01\tcrane\nn02\tcrane, lifting machine\nn03\tgoldfish, Carassius auratus\nn09\tnone\n"
    )
    return root


@pytest.fixture(scope="module")
def archive(official, tmp_path_factory):
    """The same as a zip."""
    made = shutil.make_archive(
        tmp_path_factory.mktemp("zip") / "tiny", "zip", official.parent, official.name
    )
    return official.parent / made


@pytest.fixture
def concluded(monkeypatch):
    """Recipes that train without pictures and report, whose arguments these are."""
    monkeypatch.setattr("coda_keras_recipes.training_run.boards", lambda *_: [])
    # Two steps take less time than tracing one.
    eager = functools.partialmethod(keras.Model.compile, run_eagerly=True)
    monkeypatch.setattr(keras.Model, "compile", eager)
    conclusions = []
    monkeypatch.setattr(
        "coda_keras.training.loop.conclude", lambda *arguments: conclusions.append(arguments)
    )
    return conclusions


def hidden_squares(image):
    """By their bytes where in an image the middle of a grey square of 3x3 pixels is."""
    places = {}
    for row, column in np.ndindex(image.shape[:2]):
        hidden = image.copy()
        hidden[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 128
        places[hidden.tobytes()] = row, column
    return places


def assert_flips_alternate(train_batches, rng):
    """Half of the images are flipped in the first epoch, the others in the second, and so on."""
    images = rng.integers(0, 256, (40, 3, 4, 3)).astype("uint8")
    batches = train_batches(images, np.arange(40), 40, 4, seed=3, alternate_flip=True)
    seen = np.empty((4, 40), bool)
    for epoch, (found, order) in enumerate(batches):
        for image, index in zip(np.rint(np.asarray(found) * 255), np.asarray(order)):
            seen[epoch, index] = np.array_equal(image, images[index][:, ::-1])
            assert seen[epoch, index] or np.array_equal(image, images[index])
    assert 8 < seen[0].sum() < 32
    np.testing.assert_array_equal(seen[1], ~seen[0])
    np.testing.assert_array_equal(seen[2:], seen[:2])
