"""The names of methods, metrics and figures, for commands: they need no framework."""

import subprocess
import sys

import pytest

NAMES = """
import sys
from coda_keras import attribution, evaluation, figures, study
assert "contributions" in attribution.METHODS and attribution.find("occlusion_7").label == "Occ7"
assert {*evaluation.STUDIED} <= {*evaluation.METRICS}
assert {"6", "sanity", "windows", "video"} < {*study.DRAWN}
assert "gallery" in dir(figures) and "Study" in dir(study)
"""
# Keras imports matplotlib by itself, where there is one.
OWN = """
import sys
from coda_keras.attribution import own_method
assert own_method(lambda images: images) == ("input_x_gradient", "input x gradient (logits)")
"""


@pytest.mark.parametrize(
    ("code", "absent"),
    [(NAMES, ("keras", "tensorflow", "matplotlib")), (OWN, ("coda_keras.figures.contributions",))],
    ids=["names", "own_method"],
)
def test_what_is_not_imported(code, absent):
    code += f"print(*(name for name in {absent!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
