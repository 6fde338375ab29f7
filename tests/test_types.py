"""What type checkers tell a user of the package, far from the repository."""

import json
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.once, pytest.mark.process]

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("coda_keras", "recipes", "export", "setup.py", "setup.cfg", "pyproject.toml")
# No type of these is revealed, and mypy takes most of its time for them.
LARGE = ("torch", "ray", "jax", "jaxlib", "skimage", "IPython", "matplotlib", "onnx")
ARRAY = "ndarray[tuple[Any, ...], dtype[Any]]"

# In the comment what is revealed, or part of an error.
SCRIPT = f"""
import coda_keras
import numpy as np
from coda_keras import CoDANet, DAUConv2D, Explanation, attribution, evaluation, explain_dataset
from coda_keras import training
from coda_keras.explanation.channels import strongest_channels
from coda_keras_export.package import package
from coda_keras_recipes import digits

images = np.zeros((2, 32, 32, 3), "float32")
net = CoDANet([DAUConv2D(8, 4, 3), DAUConv2D(10, 4, 1)], image_size=32)
explanation = net.explain(images)
reveal_type(net.temperature)  # float
reveal_type(CoDANet.from_preset("s_coda_cifar10"))  # CoDANet
reveal_type(coda_keras.load_model("s_coda_cifar10"))  # Model
reveal_type(coda_keras.examples.load())  # {ARRAY}
reveal_type(explanation)  # Explanation[Tensor]
reveal_type(explanation.contribution_map)  # Tensor
reveal_type(explanation[:1])  # Explanation[Tensor]
reveal_type(explanation.numpy())  # Explanation[{ARRAY}]
reveal_type(explanation.numpy().contribution_map)  # {ARRAY}
reveal_type(explanation.completeness_error)  # {ARRAY}
reveal_type(Explanation.load("cat.npz").weights)  # {ARRAY}
reveal_type(net.explain_layer(images, "logits", "cat").numpy().weights)  # {ARRAY}
reveal_type(strongest_channels(net, images, [1, 2]).maps)  # {ARRAY}
for batch in explain_dataset(net, [images]):
    reveal_type(batch.logits)  # {ARRAY}
    for one in batch:
        reveal_type(one)  # Explanation[{ARRAY}]
def largest(explanation: Explanation) -> float:
    reveal_type(explanation.weights)  # {ARRAY}
    return explanation.weights.max()
reveal_type(attribution.get("gradcam"))  # Attribution
reveal_type(evaluation.get("deletion"))  # Metric
reveal_type(package(net, "models", "coda"))  # Path
reveal_type(digits.main(["--help"]))  # None
reveal_type(training.Settings(epochs=3).epochs)  # int
DAUConv2D(filters="8", rank=4, kernel_size=3)  # "filters"
training.Settings(epoch=3)  # "epoch"
"""
LINES = dict(enumerate(SCRIPT.splitlines()))
EXPECTED = {number: line.split("  # ")[1] for number, line in LINES.items() if "  # " in line}


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An environment in which a clone was installed by `pip install -e .`."""
    folder = tmp_path_factory.mktemp("editable")
    for name in SOURCES:
        source, target = ROOT / name, folder / "clone" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "clone" / name)
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv/bin/python"
    (site,) = folder.glob("venv/lib/*/site-packages")
    # The packages of this environment, of which links to a clone of its own are none.
    (site / "others.pth").write_text(str(Path(np.__file__).parents[1]))
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    install += ["--disable-pip-version-check", "--editable", folder / "clone"]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    return path


def assert_as_expected(told):
    """Messages by number of line, each of which ends with what is revealed."""
    assert told.keys() == EXPECTED.keys(), told
    for number, text in EXPECTED.items():
        if "reveal_type" not in LINES[number]:
            assert text in told[number]
        else:
            revealed = re.search(r' is "(.*)"$', told[number])[1]
            assert re.sub(r"\b(?:[a-z_]+\.)+", "", revealed) == text, number


def test_pyright_knows_what_a_user_gets(python, script):
    command = [sys.executable, "-m", "basedpyright", "--outputjson"]
    command += ["--pythonpath", str(python), script.name]
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True)
    assert_as_expected(
        {
            entry["range"]["start"]["line"]: entry["message"]
            for entry in json.loads(done.stdout)["generalDiagnostics"]
        }
    )


def test_mypy_knows_what_a_user_gets(python, script):
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--python-executable", str(python)]
    command += ["--config-file", "mypy.ini", "--no-incremental", script.name]
    large = ",".join(f"{name}.*" for name in LARGE)
    (script.parent / "mypy.ini").write_text(
        f"[mypy]\nignore_missing_imports = True\n[mypy-{large}]\nfollow_imports = skip\n"
    )
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True)
    found = re.findall(r"^script.py:(\d+): (?:note|error): (.*?)(?:  \[.*)?$", done.stdout, re.M)
    # Keras has no types for mypy.
    assert_as_expected({int(n) - 1: text.replace('"Any"', '"Model"') for n, text in found})
