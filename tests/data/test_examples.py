"""The images that come with the package."""

from pathlib import Path

import numpy as np
import pytest

from coda_keras import examples
from coda_keras.models import pretrained as trained

SHARED = Path(__file__).resolve().parents[3] / "shared/tfds"


def test_there_is_one_for_every_class():
    names = [path.name.split("-")[0] for path in examples.paths("cifar10")]
    for card in trained.cards().values():
        assert names == list(card.class_names)
    images = examples.load("cifar10")
    assert images.dtype == np.float32
    assert 0 <= images.min() < images.max() <= 1


def test_an_unknown_set_is_named():
    with pytest.raises(ValueError, match=r"'imagenet'.*\['cifar10'\]"):
        examples.load("imagenet")


@pytest.mark.tensorflow
@pytest.mark.skipif(not SHARED.is_dir(), reason="CIFAR-10 is not there")
def test_they_are_the_first_of_their_class_in_the_test_set():
    from coda_keras.data.tf_batches import load_tfds

    data = load_tfds("cifar10", SHARED)
    for label, (path, image) in enumerate(zip(examples.paths(), examples.load())):
        first = np.flatnonzero(data.test_labels == label)[0]
        assert path.stem == f"{data.class_names[label]}-{first}"
        np.testing.assert_array_equal(np.round(image * 255), data.test_images[first])
