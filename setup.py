import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (ROOT / "coda_keras/__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)


def readable_alone(page):
    """The README for a page that has none of this repository's pictures and files."""
    page = re.sub(r"^!\[.*?\]\(.*?\)\n+", "", page, flags=re.MULTILINE)
    return re.sub(r"\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", page)


# Installed as `coda_keras_commands`: names so common would meet others.
COMMANDS = {f"coda_keras_commands.{name}": name for name in ("recipes", "export")}

LIME_AND_SHAP = ["lime>=0.2", "shap>=0.51"]
NOTEBOOK = ["anywidget>=0.9"]
DEMO = ["scikit-learn>=1.4"]
DOCS = [
    *DEMO,
    "ipykernel>=6",
    "mkdocs>=1.6,<2",
    "mkdocs-jupyter>=0.25",
    "mkdocs-material>=9.5",
    "mkdocstrings[python]>=0.26",
]
TEST = [
    *DOCS,
    *LIME_AND_SHAP,
    *NOTEBOOK,
    "jax>=0.6",
    "jupyterlab>=4",
    "pytest>=8",
    "pytest-xdist>=3.6",
    "selenium>=4.20",
    "trustme>=1.1",
]

setup(
    name="coda-keras",
    version=VERSION,
    description="Image classifiers that explain themselves: Convolutional Dynamic Alignment "
    "Networks (CVPR 2021) in Keras 3",
    long_description=readable_alone((ROOT / "README.md").read_text()),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    keywords=["explainable AI", "interpretability", "attribution", "keras", "image classification"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    packages=[*find_packages(include=["coda_keras", "coda_keras.*"]), *COMMANDS],
    package_dir=COMMANDS,
    package_data={
        "coda_keras_commands.export": ["deploy/*"],
        "coda_keras": [
            "py.typed",
            "evaluation/*.json",
            "models/weights/*",
            "data/examples/*/*.png",
            "explorer/web/*.js",
            "explorer/web/*.css",
            "explorer/web/*.html",
        ],
    },
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<4",
        "keras-cv>=0.9,<0.10",
        "tensorflow-serving-api>=2.21,<2.22",
        "grpcio>=1.66",
        "grpcio-health-checking>=1.66",
        "prometheus-client>=0.20",
        "tensorflow-datasets>=4.9.10",
        # tensorflow-datasets imports it without requiring it.
        "importlib_resources",
        # 2.20 imports pkg_resources, which setuptools 82 dropped.
        "tensorboard>=2.21",
        "numpy>=2.0",
        "requests",
        "matplotlib>=3.8",
        "pillow>=10",
        "scikit-image>=0.24",
        "scipy>=1.11",
        "tqdm>=4.66",
    ],
    entry_points={
        "console_scripts": ["coda-keras = coda_keras_commands.recipes.__main__:main"],
        "tensorboard_plugins": ["explanations = coda_keras.tensorboard.plugin:ExplanationsLoader"],
    },
    extras_require={
        # CUDA for TensorFlow.
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        # LIME, and DeepLIFT on ReLU networks.
        "interpret": LIME_AND_SHAP,
        # Scikit-learn's digits, on which everything can be tried.
        "demo": DEMO,
        # The pages of the documentation, with the notebooks run.
        "docs": DOCS,
        # Taking pixels away in notebooks.
        "notebook": NOTEBOOK,
        "test": TEST,
        "dev": [*TEST, "ruff>=0.6"],
    },
)
