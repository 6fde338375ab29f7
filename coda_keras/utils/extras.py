"""Packages that only an extra of the installation brings, and what to type without them."""

from importlib.util import find_spec

# Modules that are imported, by the extra of pyproject.toml whose packages have them.
EXTRAS = {
    "train": ("tensorflow_datasets", "importlib_resources", "keras_cv"),
    "parquet": ("pyarrow",),
    "cluster": ("ray",),
    "serve": ("tensorflow_serving", "grpc", "grpc_health", "prometheus_client"),
    "onnx": ("onnx", "tf2onnx", "onnxruntime"),
    "openvino": ("openvino",),
    "litert": ("ai_edge_litert",),
    "interpret": ("lime", "shap"),
    "demo": ("sklearn",),
}


def missing(extra: str) -> list[str]:
    """The modules of an extra that are not installed."""
    return [module for module in EXTRAS[extra] if find_spec(module) is None]


def require(extra: str, *needed: str) -> None:
    """Raises ModuleNotFoundError, which says what to install, unless an extra is installed.

    Args:
        extra: its name.
        needed: those of its modules that must be there; all if omitted.
    """
    for module in missing(extra):
        if not needed or module in needed:
            raise ModuleNotFoundError(remedy(module), name=module)


def remedy(module: str | None) -> str | None:
    """A sentence about a module that could not be imported; None if no extra brings it."""
    root = (module or "").partition(".")[0]
    for extra, modules in EXTRAS.items():
        if root in modules:
            return (
                f"The package {root} is not installed. The extra `{extra}` brings it: "
                f"pip install 'coda-keras[{extra}]', or in a clone pip install -e '.[{extra}]'"
            )
    return None
