"""What an installed package consists of."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest

import coda_keras
from coda_keras.utils import moved_modules
from coda_keras.utils.extras import EXTRAS

pytestmark = [pytest.mark.once, pytest.mark.process]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with what a built wheel installs."""
    folder = tmp_path_factory.mktemp("wheel")
    names = "coda_keras", "recipes", "export", "setup.py", "pyproject.toml", "README.md", "LICENSE"
    for name in names:
        source, target = ROOT / name, folder / "source" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    build += ["--disable-pip-version-check", "-w", folder, folder / "source"]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def metadata(installed):
    (distribution,) = distributions(path=[str(installed)])
    return distribution.metadata


def folders(root):
    return {path.parent.relative_to(root) for path in root.rglob("*.py")}


def data_files(root):
    paths = {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
    return {path for path in paths if path.suffix not in (".py", ".pyc")}


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("coda_keras", "coda_keras"),
        ("recipes", "coda_keras_recipes"),
        ("export", "coda_keras_export"),
    ],
)
def test_every_module_and_data_file_is_shipped(folder, name, installed):
    assert folders(ROOT / folder) == folders(installed / name)
    assert data_files(ROOT / folder) == data_files(installed / name)


@pytest.mark.parametrize("name", ["coda_keras", "coda_keras_recipes", "coda_keras_export"])
def test_the_wheel_says_that_it_has_types(name, installed):
    assert (installed / name / "py.typed").exists()


def test_tensorboard_is_one_that_starts_beside_a_new_setuptools(metadata):
    # 2.20 imports pkg_resources, which setuptools 82 no longer has.
    requirements = pytest.importorskip("packaging.requirements")
    required = [requirements.Requirement(text) for text in metadata.get_all("Requires-Dist")]
    (tensorboard,) = [item for item in required if item.name == "tensorboard"]
    assert "2.20.0" not in tensorboard.specifier
    assert "2.21.0" in tensorboard.specifier


def required(metadata, extra=""):
    """The packages that an installation with an extra brings, and the extras it is made of."""
    requirements = pytest.importorskip("packaging.requirements")
    items = [requirements.Requirement(text) for text in metadata.get_all("Requires-Dist")]
    return {
        name
        for item in items
        if item.marker is None
        or (bool(extra) and item.marker.evaluate({"extra": extra}) and "extra" in str(item.marker))
        for name in {item.name, *item.extras} - {"coda-keras"}
    }


def test_an_installation_brings_what_predicts_and_explains_and_extras_the_rest(metadata):
    base = required(metadata)
    assert base == {
        *("tensorflow", "keras", "tensorboard", "lazy-loader", "numpy", "matplotlib"),
        *("pillow", "scikit-image", "scipy", "tqdm"),
    }
    extras = {name: required(metadata, name) - base for name in metadata.get_all("Provides-Extra")}
    assert extras["train"] == {
        *("tensorflow-datasets", "importlib-resources", "keras-cv", "scikit-learn"),
    }
    assert extras["serve"] == {
        *("tensorflow-serving-api", "grpcio", "grpcio-health-checking", "prometheus-client"),
    }
    assert extras["interpret"] == {"lime", "shap"} and extras["notebook"] == {"anywidget"}
    assert extras["gpu"] == {"and-cuda"}
    assert extras["demo"] == {"serve", "scikit-learn"}
    # Neither CUDA, nor torch, nor what only developers need.
    assert extras["all"] == {*extras} - {
        *("all", "gpu", "captum", "cluster", "docs", "test", "dev")
    }


def test_modules_that_may_be_absent_are_of_packages_of_their_extra(metadata):
    brought_by = packages_distributions()
    for extra, modules in EXTRAS.items():
        for module in {*modules} & {*brought_by}:
            (name,) = {name.lower().replace("_", "-") for name in brought_by[module]}
            assert name in required(metadata, extra), module


def test_everything_that_is_shown_of_a_package_is_there(metadata):
    assert metadata["Keywords"] and metadata["Classifier"]
    assert metadata["Version"] in (ROOT / "CITATION.cff").read_text()
    assert f"## {metadata['Version']}\n" in (ROOT / "CHANGELOG.md").read_text()
    # Nobody who could be written to is made up.
    made_up = {"Author", "Author-email", "Maintainer", "Maintainer-email", "Home-page"}
    assert not made_up & set(metadata)
    # The paper has an address, the project none.
    assert metadata.get_all("Project-URL") == ["Paper, https://arxiv.org/abs/2104.00032"]


def test_names_that_changed_stand_in_the_changelog():
    page = (ROOT / "CHANGELOG.md").read_text()
    rows = dict(re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", page, re.MULTILINE))
    moved = {**moved_modules.MODULES, **moved_modules.NAMES, **moved_modules.CONTENTS}
    assert moved and moved.items() <= rows.items()


def test_the_description_reads_well_without_the_repository(metadata):
    page = metadata["Description"] or metadata.get_payload()
    assert "![" not in page
    links = re.findall(r"\]\(([^)]*)\)", page)
    assert links and all(link.startswith("https://") for link in links)
    assert len(page) > 0.8 * len((ROOT / "README.md").read_text())


def started(installed, *arguments):
    """Runs Python with the installed files in its path, far from the clone."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )


def test_a_wheel_has_no_names_that_others_have(installed):
    there = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert there == {"coda_keras", "coda_keras_export", "coda_keras_recipes"}


def test_a_wheel_has_the_commands(installed):
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "coda-keras = coda_keras.commands.main:main" in entry_points.read_text()
    done = started(installed, "-c", "from coda_keras.commands import main; main.main()")
    assert done.returncode == 0 and done.stderr == ""
    for command in ("train", "package", "serve", "ask", "accept", "interpret", "explain"):
        assert re.search(rf"^  {command} +\S", done.stdout, re.MULTILINE), command
    module = started(installed, "-m", "coda_keras")
    assert (module.returncode, module.stdout, module.stderr) == (0, done.stdout, "")
    told = started(installed, "-m", "coda_keras", "train")
    assert "digits" in told.stdout and "cifar10" in told.stdout and "interpret" not in told.stdout


def test_a_wheel_has_the_stored_results(installed):
    from coda_keras_recipes import experiments

    done = started(installed, "-m", "coda_keras", "experiments")
    assert done.stdout.strip() == experiments.table()
    assert "8.7%" in done.stdout


def test_commands_of_a_wheel_are_called_by_their_names(installed):
    done = started(installed, "-m", "coda_keras", "serve", "--models", "nowhere")
    assert done.returncode == 2 and done.stderr.startswith("coda-keras serve: error: There is no")
    done = started(installed, "-m", "coda_keras", "train", "digits", "--epochs", "0")
    assert done.returncode == 2
    said = "argument --epochs: expected a whole number from 1 to 1000000000, received '0'"
    assert done.stderr.startswith(f"coda-keras train digits: error: {said}")
    version = started(installed, "-m", "coda_keras", "--version")
    assert version.stdout.strip() == coda_keras.__version__


@pytest.mark.parametrize("arguments", [["bake"], ["train", "bread"]])
def test_commands_that_are_none_are_told_with_those_there_are(installed, arguments):
    done = started(installed, "-m", "coda_keras", *arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "Expected one of" in done.stderr and repr(arguments[-1]) in done.stderr
