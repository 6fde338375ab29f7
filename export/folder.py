"""The folder of servables: `<root>/<model>/<integer version>/`, and what a stock server needs."""

from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

DEPLOY = Path(__file__).parent / "deploy"
# Where the compose file mounts the folder.
MOUNT = "/models"


def versions(base):
    """Returns `{version: path}` of a model's folder; other names, such as `.tmp-...`, are not."""
    base = Path(base)
    if not base.is_dir():
        return {}
    # As the stock server reads them: digits only.
    return {
        int(path.name): path
        for path in sorted(base.iterdir())
        if path.name.isascii() and path.name.isdigit() and path.is_dir()
    }


def models(root):
    """Returns `{model name: {version: path}}` of all models that have a version."""
    root = Path(root)
    if not root.is_dir():
        return {}
    found = {path.name: versions(path) for path in sorted(root.iterdir()) if path.is_dir()}
    return {name: of_model for name, of_model in found.items() if of_model}


def models_config(root, mount):
    """Returns the text of a `models.config` that serves every model and version of `root`.

    Args:
        root: folder of servables.
        mount: where the server sees that folder.
    """
    config = model_server_config_pb2.ModelServerConfig()
    for name in models(root):
        model = config.model_config_list.config.add(
            name=name, base_path=f"{mount}/{name}", model_platform="tensorflow"
        )
        model.model_version_policy.all.SetInParent()
    return text_format.MessageToString(config)


def write_server_files(root):
    """Writes `models.config` anew, and the other files of `deploy/` where they are missing."""
    root = Path(root)
    header = "# Written by export/package.py whenever it adds a servable.\n"
    write(root / "models.config", header + models_config(root, MOUNT))
    for source in sorted(DEPLOY.iterdir()):
        if not (root / source.name).exists():
            write(root / source.name, source.read_text())


def write(path, text):
    """Writes a file in one step.

    Not `coda_keras.files`: importing the library starts TensorFlow, which neither the stock server
    nor a mistake in a command's arguments has to wait for.
    """
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text(text)
    temporary.replace(path)
