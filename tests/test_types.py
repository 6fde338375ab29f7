"""What a type checker tells a user of the package, far from the repository."""

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.once, pytest.mark.process]

SCRIPT = """
import coda_keras
import numpy as np
from coda_keras import CoDANet, DAUConv2D, attribution, evaluation, explain_dataset, training
from coda_keras_export.package import package
from coda_keras_recipes import digits

images = np.zeros((2, 32, 32, 3), "float32")
net = CoDANet([DAUConv2D(8, 4, 3), DAUConv2D(10, 4, 1)], image_size=32)
explanation = net.explain(images)
reveal_type(net.temperature)  # float
reveal_type(CoDANet.from_preset("s_coda_cifar10"))  # CoDANet
reveal_type(coda_keras.load_model("s_coda_cifar10"))  # Model
reveal_type(explanation)  # Explanation[Tensor]
reveal_type(explanation.numpy().contribution_map)  # ndarray[tuple[Any, ...], dtype[Any]]
for batch in explain_dataset(net, [images]):
    reveal_type(batch.logits)  # ndarray[tuple[Any, ...], dtype[Any]]
reveal_type(attribution.get("gradcam"))  # Attribution
reveal_type(evaluation.get("deletion"))  # Metric
reveal_type(package(net, "models", "coda"))  # Path
reveal_type(digits.main(["--help"]))  # None
reveal_type(training.Settings(epochs=3).epochs)  # int
DAUConv2D(filters="8", rank=4, kernel_size=3)  # "Literal['8']" is not assignable to "int"
training.Settings(epoch=3)  # No parameter named "epoch"
"""


def test_a_users_script_has_useful_types(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    command = [sys.executable, "-m", "basedpyright", "--outputjson"]
    command += ["--pythonpath", sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    told = {
        entry["range"]["start"]["line"]: entry["message"]
        for entry in json.loads(done.stdout)["generalDiagnostics"]
    }
    expected = {
        number: line.partition("  # ")[2]
        for number, line in enumerate(SCRIPT.splitlines())
        if "  # " in line
    }
    assert told.keys() == expected.keys(), told
    for number, text in expected.items():
        revealed = "reveal_type" in SCRIPT.splitlines()[number]
        assert told[number].endswith(f'is "{text}"') if revealed else text in told[number]
