"""Studies of images that are read when they are asked for, and never all at once."""

import keras
import numpy as np
import pytest
from PIL import Image

from coda_keras.data.image_files import ImageFiles
from coda_keras.data.images import FloatImages
from coda_keras.study import Settings, Study
from coda_keras.study.images import StudyData

pytestmark = pytest.mark.tensorflow

SETTINGS = Settings(
    methods=["contributions", "gradient"],
    metrics=["localisation", "pixel_removal", "sanity", "sparseness"],
    images=10,
    items={"localisation": 2, "sanity": 2},
    metric_arguments={"localisation": {"grid_size": 2}, "pixel_removal": {"points": 4}},
    batch_size=8,
)


class Counting:
    """Images of which it is counted how many are read, and how many at once."""

    dtype, ndim = np.dtype("uint8"), 4

    def __init__(self, images, read=None):
        self._images, self.read = images, [] if read is None else read

    @property
    def shape(self):
        return self._images.shape

    def __len__(self):
        return len(self._images)

    def __getitem__(self, index):
        return Counting(self._images[index], self.read)

    def __array__(self, dtype=None, copy=None):
        self.read.append(len(self._images))
        return np.array(self._images, dtype)


@pytest.fixture(scope="module")
def net(nets):
    return keras.models.load_model(nets["t4"])


def run(net, data, folder):
    study = Study([net], data, SETTINGS, folder)
    study.run(report=lambda line: None)
    for numbers in study.numbers[net.name].values():
        del numbers["cost"]
    return study


def test_a_study_reads_images_a_batch_at_a_time(net, quarters, tmp_path):
    expected = run(net, quarters, tmp_path / "in_memory")
    lazy = Counting(quarters.test_images)
    study = run(net, quarters._replace(test_images=lazy), tmp_path / "lazy")
    assert study.numbers == expected.numbers
    assert study.main.identity == expected.main.identity
    assert max(lazy.read) <= max(SETTINGS.batch_size, SETTINGS.images)
    # Once for their name, once for their logits, and then those that are measured.
    assert sum(lazy.read) < 4 * len(lazy)
    study.figure("5")
    study.figure("7")
    assert max(lazy.read) <= max(SETTINGS.batch_size, SETTINGS.images)


def test_models_of_a_study_share_the_name_of_its_images(nets, quarters, tmp_path):
    lazy = Counting(quarters.test_images)
    paths = [nets["t4"], nets["t2"], nets["baseline"]]
    Study(paths, quarters._replace(test_images=lazy), SETTINGS, tmp_path)
    assert sum(lazy.read) == (1 + len(paths)) * len(lazy)


def test_a_study_of_image_files(net, quarters, tmp_path):
    paths = [tmp_path / f"{number:02}.png" for number in range(len(quarters.test_images))]
    for path, image in zip(paths, quarters.test_images):
        Image.fromarray(image).save(path)
    data = quarters._replace(test_images=ImageFiles(paths, quarters.test_images.shape[1]))
    expected = run(net, quarters, tmp_path / "in_memory")
    assert run(net, data, tmp_path / "files").numbers == expected.numbers


def test_float_images_are_those_of_the_whole_array(rng):
    images = rng.integers(0, 256, (12, 4, 5, 3)).astype("uint8")
    lazy, whole = FloatImages(Counting(images)), images.astype("float32") / 255.0
    assert len(lazy) == 12 and lazy.shape == (12, 4, 5, 3)
    for index in (slice(2, 7), np.array([5, 0, 5]), 3):
        np.testing.assert_array_equal(lazy[index], whole[index])
        assert lazy[index].dtype == "float32"


def test_other_content_has_another_name(quarters):
    names = {
        StudyData(quarters, 8).digest,
        StudyData(quarters._replace(test_labels=1 - quarters.test_labels), 8).digest,
        StudyData(quarters._replace(test_images=255 - quarters.test_images), 8).digest,
    }
    assert len(names) == 3
    assert StudyData(quarters, 8).digest == StudyData(quarters, 64).digest
