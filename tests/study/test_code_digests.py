"""Which code a study's numbers depend on: said in one place, whatever modules import."""

import ast
import inspect
import re

import pytest

from coda_keras import attribution, evaluation
from coda_keras.study import code_digests

ROWS = (*attribution.METHODS.values(), *evaluation.METRICS.values())
# Imported by what computes, but decides no number: messages and checks, what draws, what registers.
UNDECIDED = re.compile(
    r"coda_keras\.(utils|figures|backend\.(types|value_checks|startup_lines|tensorflow)"
    r"|explanation\.(display|storage|wrapped)|exporting|attribution\.registry|evaluation\.registry"
    r"|models\.(from_preset|grid_loss|image_classifier|loading|loss_term|map_penalty"
    r"|map_teacher|precision|presets|pretrained))\b"
)


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Writes files of a library; returns the function that does."""
    package = tmp_path / "coda_keras"
    monkeypatch.setattr(code_digests, "PACKAGE", package)

    def write(**files):
        for name, source in files.items():
            path = package / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)

    return write


def test_slices_are_keyed_by_the_code_but_not_by_its_comments(sources):
    sources(
        room__a="from coda_keras.room.b import x\nfrom coda_keras.drawing import c\n",
        room__b='"""About b."""\nx = 1  # one\n',
        room__other="y = 1\n",
        drawing__c="y = 1\n",
    )
    before = code_digests.room_code("coda_keras.room.a")
    sources(room__b='"""All about b."""\n\nx = 1\n', room__other="y = 2\n", drawing__c="y = 2\n")
    assert code_digests.room_code("coda_keras.room.a") == before
    sources(room__b="x = 2\n")
    assert code_digests.room_code("coda_keras.room.a") != before


def test_imports_in_functions_count_and_other_libraries_have_no_code(sources):
    sources(
        room__a="def run():\n    from coda_keras.room import b\n    return b\n", room__b="x = 1\n"
    )
    before = code_digests.room_code("coda_keras.room.a")
    sources(room__b="x = 2\n")
    assert code_digests.room_code("coda_keras.room.a") != before
    assert code_digests.room_files("their.room.a") == []


def test_the_code_of_a_method_reaches_down_to_the_layers_it_calls():
    def names(files):
        return {file.relative_to(code_digests.PACKAGE).as_posix() for file in files}

    common = names(code_digests.common_files())
    assert {"layers/encoding.py", "layers/dau.py", "models/coda_net.py"} <= common
    assert f"backend/{code_digests.backend.NAME}.py" in common
    gradcam = names(code_digests.room_files("coda_keras.attribution.gradcam"))
    assert gradcam == {f"attribution/{name}.py" for name in ("gradcam", "base", "interception")}
    deeplift = names(code_digests.room_files("coda_keras.attribution.deeplift"))
    assert "attribution/tf_deeplift.py" in deeplift
    assert not any(name.startswith("figures") for name in common | gradcam)


@pytest.mark.parametrize("make", [row.make for row in ROWS], ids=lambda m: m.__name__)
def test_all_code_of_the_library_that_numbers_depend_on_is_digested(make):
    files = {*code_digests.common_files(), *code_digests.room_files(make.__module__)}
    assert inspect.getfile(make) in map(str, files)
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not node.module.startswith("coda_keras"):
                continue
            module, *names = node.module, *(f"{node.module}.{alias.name}" for alias in node.names)
            paths = [name.replace(".", "/") for name in (module, *names)]
            root = code_digests.PACKAGE.parent
            modules = {
                path.replace("/", ".")
                for path in paths
                if (root / f"{path}.py").is_file() and root / f"{path}.py" not in files
            }
            assert {name for name in modules if not UNDECIDED.match(name)} == set(), file
