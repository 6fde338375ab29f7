"""What pyproject.toml cannot say: packages under other names, and the README without pictures."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
# Installed under names that meet no others.
RENAMED = {"coda_keras_recipes": "recipes", "coda_keras_export": "export"}


def readable_alone(page: str) -> str:
    """The README for a page that has none of this repository's pictures and files."""
    page = re.sub(r"^!\[.*?\]\(.*?\)\n+", "", page, flags=re.MULTILINE)
    return re.sub(r"\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", page)


def packages() -> list[str]:
    """The library, and recipes/ and export/ with what lies in them under their installed names."""
    inner = {name: find_packages(folder) for name, folder in RENAMED.items()}
    return [
        *find_packages(include=["coda_keras", "coda_keras.*"]),
        *RENAMED,
        *(f"{name}.{package}" for name, found in inner.items() for package in found),
    ]


setup(
    long_description=readable_alone((ROOT / "README.md").read_text(encoding="utf-8")),
    long_description_content_type="text/markdown",
    packages=packages(),
    package_dir=RENAMED,
)
