"""Labels and class ids are read and checked in one way, whoever asks."""

import numpy as np
import pytest
from keras import ops

from coda_keras import CoDANet, DAUConv2D, attribution, explain_dataset
from coda_keras.utils.labels import checked_class_ids, checked_labels, integer_labels

CLASSES = 3


@pytest.fixture(scope="module")
def net():
    return CoDANet([DAUConv2D(CLASSES, 2, 3)], temperature=2, image_size=4)


@pytest.fixture
def images(rng):
    return rng.uniform(size=(2, 4, 4, 3)).astype("float32")


WRONG = {
    "floats": np.array([0.0, 1.0]),
    "texts": np.array(["0", "1"]),
    "of other images": np.array([0, 1, 2]),
    "a cube": np.zeros((2, 1, 1), "int64"),
    "too large": np.array([0, CLASSES]),
    "negative": np.array([[0, 1], [-1, 2]]),
    "one-hot": np.eye(CLASSES, dtype="int64")[[2, 0]],
}


@pytest.mark.parametrize("wrong", WRONG)
def test_explanations_and_attributions_refuse_in_the_same_words(wrong, net, images):
    said = []
    for call in (net.explain, lambda *given: attribution.maps(net, *given)):
        with pytest.raises(ValueError, match="`class_ids`") as refused:
            call(images, WRONG[wrong])
        said.append(str(refused.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("class_ids", [1, [0, 2], [[0, 1], [2, 2]], np.uint8([2, 0])])
def test_known_class_ids_come_as_arrays(class_ids):
    for given in (class_ids, ops.convert_to_tensor(class_ids)):
        ids, valid = checked_class_ids(given, 2, CLASSES)
        assert valid is None and isinstance(ids, np.ndarray)
        assert ids.tolist() == np.array(class_ids).tolist()


FORMS = {
    "integers": np.array([2, 0]),
    "column": np.array([[2], [0]]),
    "one-hot": np.eye(CLASSES)[[2, 0]],
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_in_every_form_are_the_same(form, net, images):
    assert integer_labels(FORMS[form]).tolist() == [2, 0]
    labels = checked_labels(FORMS[form], CLASSES, 2)
    assert labels.dtype == "int32" and labels.tolist() == [2, 0]
    batches = [(images, FORMS[form])]
    (explanation,) = explain_dataset(net, batches, "labels", ["class_ids"], progress=False)
    assert explanation.class_ids.tolist() == [2, 0]


@pytest.mark.parametrize("labels", [[0, CLASSES], [-1, 0], [0.0, 1.0], [0], [[[0]], [[1]]]])
def test_labels_that_do_not_fit_are_refused(labels):
    with pytest.raises(ValueError, match="Expected 2 integer labels in 0 to 2"):
        checked_labels(labels, CLASSES, 2)
