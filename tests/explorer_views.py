"""Views of the explorer with numbers that NumPy knows, shown in several places by the tests."""

import numpy as np

from coda_keras import explorer

HEIGHT, WIDTH, CLASSES, COUNT = 12, 16, 5, 4
BIAS = np.float32(-2.197)
NAMES = ["cat", "<script>alert(1)</script>", 'dog "x" & co', "=SUM(1)", "ship"]


def numbers(seed, count=COUNT, size=(HEIGHT, WIDTH), classes=CLASSES):
    """Images, weights of all classes, maps and logits of a net that is linear in each image."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *size, 3)).astype("uint8")
    encoded = np.concatenate([images / 255, 1 - images / 255], axis=-1)
    weights = rng.normal(size=(count, classes, *size, 6)).astype("float32") / 20
    maps = (weights * encoded[:, None]).sum(-1).astype("float32")
    logits = (BIAS + maps.sum((2, 3), dtype="float64")).astype("float32")
    return images, weights, maps, logits


def view(seed=0, **more):
    images, weights, maps, logits = numbers(seed)
    ids = np.tile(np.arange(CLASSES), (COUNT, 1))
    values = {"class_names": NAMES, "bias": BIAS, "weights": weights, "labels": [0, 1, 2, 3]}
    values = {**values, **more}
    values["labels"] = np.array(values["labels"])
    return explorer.View(images, logits, ids, maps, **values)


def tiny_net():
    """A net and images, the same in a notebook's kernel and in the test."""
    from conftest import set_weights

    from coda_keras import CoDANet, DAUConv2D

    layers = [DAUConv2D(4, 3, 3), DAUConv2D(5, 4, 1)]
    net = CoDANet(layers, temperature=2, image_size=(HEIGHT, WIDTH))
    set_weights(net, np.random.default_rng(0))
    return net, (numbers(0)[0] / 255).astype("float32")
