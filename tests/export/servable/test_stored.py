"""Servables of earlier versions load and answer as they did, and newer versions join them."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from coda_keras_export.package import package
from coda_keras_export.servable.loading import Servable
from coda_keras_export.server.catalogue import Catalogue

pytestmark = pytest.mark.tensorflow
FOLDER = Path(__file__).resolve().parents[2] / "fixtures/0.2.0"


@pytest.fixture
def root(tmp_path):
    with tarfile.open(FOLDER / "servable/servables.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "servables"


def check(servable):
    """Asks every signature, and compares with what was answered then."""
    request = np.load(FOLDER / "servable/request.npz")
    answer = np.load(FOLDER / "servable/answer.npz")
    outputs = {f"{name}.{key}" for name, s in servable.signatures.items() for key in s.outputs}
    # Later servables have one more.
    assert outputs - {"explain.offset"} == set(answer.files)
    for name, signature in servable.signatures.items():
        protos = {key: tf.make_tensor_proto(request[key]) for key in signature.inputs}
        for key, values in servable.predict(name, protos).items():
            if key == "offset":
                continue
            stored = answer[f"{name}.{key}"]
            if stored.dtype.kind == "f":
                scale = max(np.abs(stored).max(), 1e-2)
                np.testing.assert_allclose(values, stored, rtol=0, atol=1e-5 * scale)
            else:
                np.testing.assert_array_equal(values, stored)


def test_they_load_and_answer_as_they_did(root):
    servable = Servable(root / "tiny/3")
    assert servable.warm_up() == 6
    check(servable)


def test_a_new_version_joins_them(root):
    listed = (root / "models.config").read_text()
    assert package(FOLDER / "keras/one.keras", root, "tiny") == root / "tiny/4"
    assert (root / "models.config").read_text() == listed
    catalogue = Catalogue(root)
    catalogue.refresh()
    catalogue.wait()
    for version in (3, 4):
        with catalogue.use("tiny", version) as (_, servable):
            check(servable)
