"""An environment in which some packages are not installed."""

import os
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = {"coda_keras": "coda_keras", "coda_keras_recipes": "recipes", "coda_keras_export": "export"}


def without(folder, *absent):
    """Fills a folder with links to all packages that are installed but `absent` ones."""
    for name, source in OURS.items():
        (folder / name).symlink_to(ROOT / source)
    for place in dict.fromkeys(str(item.locate_file("")) for item in distributions()):
        for item in Path(place).iterdir():
            link = folder / item.name
            if item.name.partition(".")[0] not in absent and not link.is_symlink():
                link.symlink_to(item.resolve())


def python(site, *arguments, **options):
    """Runs Python with the packages of a folder alone."""
    return subprocess.run(
        [sys.executable, "-S", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        **options,
    )
