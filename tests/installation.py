"""An environment in which some packages are not installed."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = {"coda_keras": "coda_keras", "coda_keras_recipes": "recipes", "coda_keras_export": "export"}


def without(folder, *absent):
    """Fills a folder with links to all packages that are installed but `absent` ones."""
    for name, source in OURS.items():
        (folder / name).symlink_to(ROOT / source)
    standard = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
    for place in map(Path, sys.path):
        ours = place.resolve() in {ROOT, ROOT / "tests"}
        if ours or not place.is_dir() or place.name == "lib-dynload" or place.resolve() in standard:
            continue
        for item in place.iterdir():
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
