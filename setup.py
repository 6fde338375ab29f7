from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (ROOT / "coda_keras/__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)

LIME_AND_SHAP = ["lime>=0.2", "shap>=0.51"]
NOTEBOOK = ["anywidget>=0.9"]
DEMO = ["scikit-learn>=1.4"]
TEST = [
    *DEMO,
    *NOTEBOOK,
    *LIME_AND_SHAP,
    "jax>=0.6",
    "jupyterlab>=4",
    "pytest>=8",
    "selenium>=4.20",
    "trustme>=1.1",
]

setup(
    name="coda-keras",
    version=VERSION,
    description="Convolutional Dynamic Alignment Networks in Keras 3",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["coda_keras", "coda_keras.*"]),
    package_data={
        "coda_keras": [
            "py.typed",
            "evaluation/*.json",
            "explorer/*.js",
            "explorer/*.css",
            "explorer/*.html",
        ]
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
        "tensorboard_plugins": ["explanations = coda_keras.explorer.plugin:ExplanationsLoader"],
    },
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        "interpret": LIME_AND_SHAP,
        "demo": DEMO,
        "notebook": NOTEBOOK,
        "test": TEST,
        "dev": [*TEST, "ruff>=0.6"],
    },
)
