"""The package's face: public names that are imported when used, registration, old names."""

import importlib.util
import inspect
import pkgutil
import subprocess
import sys
from types import ModuleType

import keras
import numpy as np
import pytest
from conftest import library_modules
from processes import run_in_process

import coda_keras
from coda_keras.utils import moved_modules

pytestmark = [pytest.mark.once, pytest.mark.process]

HEAVY = {"keras", "tensorflow", "jax", "torch", "numpy", "matplotlib", "PIL"}


def run(code, *arguments):
    """What a new Python process prints that runs `code`."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported_by(code):
    """The top-level packages that a new Python process has after it ran `code`."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    return set(run(code).split())


def test_the_package_imports_nothing_that_it_does_not_need():
    assert not imported_by("import coda_keras; dir(coda_keras)") & HEAVY


def test_rooms_that_know_arrays_only_need_no_keras():
    code = "from coda_keras import examples, explorer, figures; examples.load(); figures.gallery\n"
    code += "import coda_keras.explorer.server, coda_keras.tensorboard.plugin"
    assert not imported_by(code) & {"keras", "tensorflow", "jax", "torch"}


STORED_ARRAYS = """
import numpy as np
from coda_keras import examples, explorer, figures
images, logits = examples.load()[:2], np.ones((2, 3))
maps = np.ones((2, 1, *images.shape[1:3]))
view = explorer.View(images, logits, np.zeros((2, 1), int), maps)
assert "<html" in explorer.page([view])
explorer.local_server(explorer.page([view]), None, 0).server_close()
figures.plot_contributions(images[0], maps[0], ["a"])
"""


def test_stored_arrays_are_explored_and_drawn_without_keras():
    assert not imported_by(STORED_ARRAYS) & {"keras", "tensorflow", "jax", "torch"}


def check_public_names():
    """Every name is the same thing before and after all modules were imported."""
    first = {name: getattr(coda_keras, name) for name in coda_keras.__all__}
    second = {name: getattr(coda_keras, name) for name in coda_keras.__all__}
    for name in library_modules():
        importlib.import_module(name)
    third = {name: getattr(coda_keras, name) for name in coda_keras.__all__}
    for name in coda_keras.__all__:
        assert first[name] is second[name] is third[name], name


def test_public_names_are_always_the_same_things():
    run_in_process(check_public_names)


def test_no_module_has_the_name_of_a_public_function():
    names = [module.name for module in pkgutil.walk_packages(coda_keras.__path__, "coda_keras.")]
    modules = {name.rpartition(".")[2] for name in names}
    public = {name: getattr(coda_keras, name) for name in coda_keras.__all__}
    assert not modules & {name for name, value in public.items() if inspect.isroutine(value)}
    # What is a module is no name for anything else.
    rooms = {name for name, value in public.items() if isinstance(value, ModuleType)}
    assert modules & public.keys() == rooms


@pytest.fixture(scope="module")
def net_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.keras"
    net = coda_keras.CoDANet([coda_keras.DAUConv2D(2, 1, 1)], temperature=1)
    net(np.zeros((1, 2, 2, 3), "float32"))
    net.save(path)
    return path


WITH_KERAS_FIRST = """
import sys
import keras
import coda_keras
print(type(keras.models.load_model(sys.argv[1])).__name__)
print(*keras.saving.get_custom_objects())
"""


def test_all_classes_are_registered_where_keras_is_imported_first(net_file):
    kind, names = run(WITH_KERAS_FIRST, net_file).splitlines()
    assert kind == "CoDANet"
    for name in library_modules():
        importlib.import_module(name)
    ours = {name for name in keras.saving.get_custom_objects() if name.startswith("coda_keras>")}
    assert set(names.split()) >= ours >= {"coda_keras>CoDANet", "coda_keras>DAUMuon"}


WITH_KERAS_LAST = """
import sys
import coda_keras
import keras
try:
    keras.models.load_model(sys.argv[1])
except (TypeError, ValueError) as error:
    print("refused:", "CoDANet" in str(error))
coda_keras.{name}
print(type(keras.models.load_model(sys.argv[1])).__name__)
print(*keras.saving.get_custom_objects())
"""


@pytest.mark.parametrize("name", ["PRESETS", "load_model"])
def test_with_keras_last_classes_are_registered_by_the_first_use(name, net_file):
    refused, kind, names = run(WITH_KERAS_LAST.format(name=name), net_file).splitlines()
    assert refused == "refused: True" and kind == "CoDANet"
    assert {"coda_keras>DAUMuon", "coda_keras>PaddedShortcut"} <= set(names.split())


def test_a_model_is_loaded_without_a_word_of_keras(net_file, tmp_path):
    both = coda_keras.with_views(keras.models.load_model(net_file), "flip")
    both(np.zeros((1, 2, 2, 3), "float32"))
    both.save(tmp_path / "both.keras")
    code = "import sys; from coda_keras.models.loading import load_model; "
    code += "print(*(type(load_model(path)).__name__ for path in sys.argv[1:]))"
    assert run(code, net_file, tmp_path / "both.keras").split() == ["CoDANet", "Ensemble"]


# What moved.


@pytest.mark.parametrize("old", moved_modules.MODULES)
def test_old_modules_name_the_new_ones(old):
    new = f"coda_keras.{moved_modules.MODULES[old]}"
    assert importlib.util.find_spec(new) is not None
    assert moved_modules.message(f"coda_keras.{old}") == f"coda_keras.{old} is {new} since 0.3.0."
    with pytest.raises(ModuleNotFoundError, match=new.rpartition(".")[2]):
        importlib.import_module(f"coda_keras.{old}")


def test_a_name_that_left_a_module_is_told_too():
    with pytest.raises(ImportError, match="explanation_view since 0"):
        from coda_keras.explorer import from_explanation  # noqa: F401


def by_import():
    import coda_keras.image_files  # noqa: F401


def by_import_from():
    from coda_keras import image_files  # noqa: F401


def by_import_from_it():
    from coda_keras.image_files import ImageFiles  # noqa: F401


def by_attribute():
    return coda_keras.image_files


@pytest.mark.parametrize("way", [by_import, by_import_from, by_import_from_it, by_attribute])
def test_every_way_to_an_old_module_fails_with_the_new_one(way):
    said = "coda_keras.image_files is coda_keras.data.image_files since 0.3.0"
    with pytest.raises((ModuleNotFoundError, AttributeError), match=said):
        way()
    assert not hasattr(coda_keras, "image_files")


def from_a_divided_package():
    from coda_keras.tf import data  # noqa: F401


def from_a_package_that_was_a_module():
    from coda_keras.data import save_npz  # noqa: F401


def from_another():
    from coda_keras.explanation import explain  # noqa: F401


@pytest.mark.parametrize(
    ("way", "said"),
    [
        (from_a_divided_package, "tf.data is data.tf_batches"),
        (from_a_package_that_was_a_module, "coda_keras.data.images since 0.3.0"),
        (from_another, "coda_keras.explanation.explanation since 0.3.0"),
    ],
)
def test_what_a_module_held_is_told_too(way, said):
    with pytest.raises(ModuleNotFoundError, match=said):
        way()


def import_nonsense():
    import coda_keras.nonsense  # noqa: F401


def import_nonsense_from():
    from coda_keras import nonsense  # noqa: F401


@pytest.mark.parametrize("way", [import_nonsense, import_nonsense_from])
def test_other_names_fail_as_ever(way):
    with pytest.raises(ImportError, match="nonsense") as error:
        way()
    assert "0.3.0" not in str(error.value) and not hasattr(coda_keras, "nonsense")
