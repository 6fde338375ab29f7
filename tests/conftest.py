"""What the tests share: seeded numbers, the oracle's view of a layer, gradients on any backend."""

import os
import pkgutil
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Nearly all the time on JAX is compilation.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import keras
import numpy as np
import oracle
import pytest
from keras import ops

import coda_keras

BACKEND = keras.backend.backend()
# Servables are made with TensorFlow.
pytest_plugins = ("browser", "tiny", *(["servables"] if BACKEND == "tensorflow" else []))
SEED = 20210414
# JAX has no float64 unless it is switched on for the whole process; Keras' `matmul` on torch
# computes in float32 at best.
EXACT_DTYPE = "float64" if BACKEND == "tensorflow" else "float32"


# Written for TensorFlow, which tests of other backends do without.
_TENSORFLOW_ONLY = (
    ()
    if BACKEND == "tensorflow"
    else (
        "coda_keras.data.tf_",
        "coda_keras.data.tiny_imagenet",
        "coda_keras.tensorboard",
        "coda_keras.exporting",
        "coda_keras.attribution.tf_deeplift",
        "coda_keras.training.tf_",
    )
)
_OTHER_BACKENDS = tuple(
    f"coda_keras.backend.{name}" for name in ("jax", "tensorflow", "torch") if name != BACKEND
)


def library_modules():
    """Names of all modules of the library that the running backend can import."""
    names = [module.name for module in pkgutil.walk_packages(coda_keras.__path__, "coda_keras.")]
    return [
        "coda_keras",
        *(name for name in names if not name.startswith(_TENSORFLOW_ONLY + _OTHER_BACKENDS)),
    ]


MARKERS = {
    "tensorflow": "needs Keras on TensorFlow",
    "once": "is the same on every backend, and runs beside TensorFlow alone",
    "slow_on_jax": "is the same code on every backend, and JAX compiles it for each of many shapes",
    "process": "starts processes, browsers, notebooks or trainings, or builds: not in `make quick`",
}
# What holds for every test of a folder. All others run on every backend and in `make quick`, but
# for those that are marked one by one.
FOLDERS = {
    "cluster": ("once", "process"),
    "benchmarks": ("tensorflow", "process"),
    "commands": ("once",),
    "explorer": ("once",),
    "export": ("tensorflow", "process"),
    "exporting": ("tensorflow",),
    "figures": ("once",),
    "recipes": ("tensorflow", "process"),
    "study": ("tensorflow",),
    "tensorboard": ("tensorflow",),
}
# Their modules import what other backends do without.
collect_ignore = [] if BACKEND == "tensorflow" else [*FOLDERS]
TESTS = Path(__file__).parent
# They take longest and begin first, so that one of the processes of a run does not end alone.
LONGEST = (
    "cluster/test_ray.py",
    "recipes/test_recipes.py",
    "recipes/test_interpret.py",
    "benchmarks/test_benchmarks.py",
    "export/test_runtimes.py",
    "export/server/test_server.py",
    "test_types.py",
    "docs/test_pages.py",
    "docs/test_commands_shown.py",
    "test_package.py",
    "explorer/test_notebook.py",
    "tensorboard/test_plugin.py",
    "export/servable/test_verification.py",
    "export/test_package.py",
    "attribution/test_values.py",
    "recipes/test_experiments.py",
    # These on JAX.
    "layers/test_layers.py",
    "models/test_coda_net.py",
    "models/test_image_classifier.py",
    "docs/test_docs.py",
    "training/test_stored_runs.py",
)


def pytest_configure(config):
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(items):
    order = [TESTS / name for name in LONGEST]
    items.sort(key=lambda item: order.index(item.path) if item.path in order else len(order))
    for item in items:
        for name in FOLDERS.get(item.path.relative_to(TESTS).parts[0], ()):
            item.add_marker(name)
        # A browser, and nets that are trained.
        if {"driver", "nets"} & set(item.fixturenames):
            item.add_marker("process")


def pytest_runtest_setup(item):
    if BACKEND == "tensorflow":
        return
    for name in ("tensorflow", "once", *(["slow_on_jax"] if BACKEND == "jax" else [])):
        if item.get_closest_marker(name):
            pytest.skip(MARKERS[name])


@pytest.fixture(autouse=True, scope="module")
def seeded_module():
    """A file's shared nets begin with the same weights in every run, whatever ran before."""
    keras.utils.set_random_seed(SEED)


@pytest.fixture(autouse=True)
def seeded_test(seeded_module):
    keras.utils.set_random_seed(SEED)


@pytest.fixture
def rng():
    return np.random.default_rng(SEED)


def set_weights(layer, rng, scale=1.0):
    """Gives a built layer or net weights that depend on the seed alone, not on the backend."""
    layer.set_weights([scale * _values(variable, rng) for variable in layer.variables])


def _values(variable, rng):
    values = rng.normal(size=variable.shape) / np.sqrt(max(1, variable.shape[-1]))
    return np.abs(values) if "variance" in variable.name else values


def as_oracle(layer):
    """The parameters of a built `DAUConv2D` for the oracle."""

    def array(variable):
        return np.asarray(ops.convert_to_numpy(variable), "float64")

    return oracle.Layer(
        projection=array(layer.projection),
        kernel=array(layer.kernel),
        bias=None if layer.bias is None else array(layer.bias),
        strides=layer.strides,
        rescale=layer.rescale,
    )


def loss_of(net, labels):
    """What `fit` minimises, as a function of images, but not rounded to float32."""

    def loss(images):
        logits = net(images, training=True)
        entropy = coda_keras.OneVsAllCrossentropy(dtype=logits.dtype)(labels, logits)
        return entropy + sum(term.loss(labels, logits) for term in net.loss_terms)

    return loss


def gradients(function, variables, *arrays):
    """Value of the scalar `function(*tensors)` and its gradients by `variables` and `arrays`.

    Returns NumPy arrays: `(value, [gradient, ...])`, first those by the variables.
    """
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        found = tape.gradient(value, [v.value for v in variables] + tensors)
    elif BACKEND == "jax":
        import jax

        def pure(values, tensors):
            with keras.StatelessScope(state_mapping=list(zip(variables, values))):
                return function(*tensors)

        value, (by_variables, by_tensors) = jax.jit(jax.value_and_grad(pure, (0, 1)))(
            [v.value for v in variables], tensors
        )
        found = by_variables + by_tensors
    else:
        import torch

        tensors = [tensor.detach().requires_grad_() for tensor in tensors]
        value = function(*tensors)
        found = torch.autograd.grad(value, [v.value for v in variables] + tensors)
    return float(ops.convert_to_numpy(value)), [np.asarray(ops.convert_to_numpy(g)) for g in found]
