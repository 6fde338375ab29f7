"""Examples in docstrings run as printed, and the library imports no more than it says."""

import doctest
import importlib
import inspect
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import library_modules
from keras import ops

import coda_keras


@pytest.mark.slow_on_jax
@pytest.mark.parametrize("name", library_modules())
def test_examples_run_as_printed(name):
    module = importlib.import_module(name)
    public = {key: getattr(coda_keras, key) for key in dir(coda_keras) if key[0] != "_"}
    scope = {**public, "keras": keras, "np": np, "ops": ops, "coda_keras": coda_keras}
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    output = []
    for test in finder.find(module, extraglobs={**scope, **vars(module)}):
        runner.run(test, out=output.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    examples = [e for test in finder.find(coda_keras.layers.dau) for e in test.examples]
    assert examples


def _public_functions(module):
    """Qualified names and functions that a module defines: its own and its public classes'."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value):
            yield name, value
        if inspect.isclass(value):
            for key, member in vars(value).items():
                member = getattr(member, "__func__", member)
                member = member.fget if isinstance(member, property) else member
                written = getattr(member, "__module__", None) == module.__name__
                if inspect.isfunction(member) and written and (key == "__init__" or key[0] != "_"):
                    yield f"{name}.{key}", member


@pytest.mark.parametrize("name", library_modules())
def test_public_functions_are_annotated(name):
    missing = []
    for label, function in _public_functions(importlib.import_module(name)):
        signature = inspect.signature(function)
        for parameter in signature.parameters.values():
            unbound = parameter.name in ("self", "cls")
            if parameter.annotation is parameter.empty and not unbound:
                missing.append(f"{label}({parameter.name})")
        if signature.return_annotation is signature.empty:
            missing.append(f"{label} -> ?")
    assert not missing


WITHOUT_TENSORFLOW = """
import sys

sys.modules["tensorflow"] = None  # Every import of it fails from here on.
import numpy as np
import coda_keras
import coda_keras.training.loop

loaded = {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
assert not loaded & {"tensorflow", "recipes", "export"}, loaded
assert not any(name.startswith("coda_keras.tf") for name in sys.modules)
net = coda_keras.CoDANet(
    [coda_keras.DAUConv2D(2, 2, 3, implementation="patches"), coda_keras.DAUConv2D(3, 2, 1)]
)
explanation = net.explain(np.ones((1, 4, 4, 3), "float32")).numpy()
print(explanation.contribution_map.shape)
"""


@pytest.mark.process
@pytest.mark.once
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_need_no_tensorflow(backend):
    pytest.importorskip(backend)
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "(1, 4, 4)"
