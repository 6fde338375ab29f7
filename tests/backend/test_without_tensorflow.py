"""Where Keras runs on another backend nothing imports TensorFlow, unless Keras saves a model."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from coda_keras import examples

pytestmark = [pytest.mark.once, pytest.mark.process]

STORED = Path(__file__).parents[1] / "fixtures/0.2.0/keras/one.keras"
PROGRAM = """
import sys

def check(what):
    assert not {"tensorflow", "tensorboard"} & sys.modules.keys(), what

import coda_keras, numpy
check("import")
coda_keras.load_model(sys.argv[2])
coda_keras.load_model("s_coda_cifar10")
check("load")
images = coda_keras.examples.load()[:2]
small = coda_keras.CoDANet([coda_keras.DAUConv2D(3, 1, 1)], temperature=1.0)
small.compile("adam", coda_keras.losses.OneVsAllCrossentropy())
small.fit(images, numpy.array([0, 1]), verbose=0)
small.evaluate(images, numpy.array([0, 1]), verbose=0)
check("fit")
small.predict(images, verbose=0)
check("predict")
small.explain(images).numpy()
check("explain")
from coda_keras import attribution, evaluation, explorer, figures, study, training
check("rooms")
from coda_keras.commands.main import main
main(["explain", sys.argv[1], "--model", sys.argv[2], "--resize", "--out", "out"])
check("command")
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_nothing_imports_tensorflow(backend, tmp_path):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, examples.paths()[0], STORED],
        env={**os.environ, "KERAS_BACKEND": backend},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert list((tmp_path / "out").iterdir())
