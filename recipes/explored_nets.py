"""Nets that pages of the explorer are made of: in this process, or behind a model server."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from coda_keras_export.api import max_images
from coda_keras_export.api.connection import Client, tensor_shape
from coda_keras_export.client import class_labels

import coda_keras
from coda_keras import explorer

# Images of a request, so that it ends in time.
BATCH = 32
# Where the recipes leave the names of classes, beside model.keras.
LABELS = "servables/*/*/assets.extra/labels.txt"


class Local:
    """A net in this process: a file, or a trained preset."""

    def __init__(self, name: str) -> None:
        net = coda_keras.load_model(name)
        if not isinstance(net, coda_keras.DynamicLinearNet):
            raise ValueError(f"{name} is no CoDA-Net, so it has no contributions of its own.")
        if net.image_size is None:
            raise ValueError(f"{name} takes images of any size; give it an `image_size`.")
        self.name, self.net, self.size = name, net, net.image_size
        self.predict = explorer.without_pixels(net)

    def labels(self, path: str | None) -> Sequence[str] | None:
        """The names of the classes: of a file, the net, the servable beside it, or None."""
        if self.net.class_names is not None and not path:
            return self.net.class_names
        files = [path] if path else sorted(Path(self.name).parent.glob(LABELS))
        return Path(files[0]).read_text(encoding="utf-8").splitlines() if files else None

    def view(self, images: np.ndarray, **more: Any) -> explorer.View:
        from coda_keras.explanation.display import net_view

        return net_view(self.net, images, **more)


class Served:
    """A net behind a model server."""

    def __init__(self, args: argparse.Namespace, name: str) -> None:
        self.name = name
        self.client = Client(args.server, name, timeout=args.timeout)
        self.signatures = self.client.signatures()
        _, *self.size, _ = tensor_shape(self.signatures, "classify", "inputs", "images")
        tensor_shape(self.signatures, "explain", "outputs", "contribution_map")
        self.batch = min(BATCH, max_images(*self.size))
        self.predict = self.without if "classify_without" in self.signatures else None

    def labels(self, path: str | None) -> list[str]:
        _, classes = tensor_shape(self.signatures, "classify", "outputs", "logits")
        return class_labels(self.client, self.signatures, classes, path)

    def view(self, images: np.ndarray, classes: int, **more: Any) -> explorer.View:
        floats = images.astype("float32") / 255
        logits = self._ask("classify", ["logits"], images=floats)["logits"]
        class_ids = np.argsort(-logits, axis=1, kind="stable")[:, :classes].astype("int32")
        said = {"contribution_map", "weights", "bias", "offset"}
        wanted = said & self.signatures["explain"].outputs.keys()
        rows = np.repeat(floats, class_ids.shape[1], axis=0)
        joined = self._ask("explain", wanted, images=rows, class_ids=class_ids.reshape(-1))
        shaped = {
            name: values.reshape(*class_ids.shape, *values.shape[1:])
            for name, values in joined.items()
        }
        offsets = shaped.get("offset")
        return explorer.View(
            images=images,
            logits=logits,
            class_ids=class_ids,
            maps=shaped["contribution_map"],
            # Servables packaged by earlier versions tell no weights and no offsets.
            weights=shaped.get("weights"),
            offsets=offsets if offsets is not None and offsets.any() else None,
            bias=float(joined["bias"][0]),
            **more,
        )

    def without(self, images: np.ndarray, removed: np.ndarray) -> np.ndarray:
        inputs = {"images": np.float32(images), "removed": removed}
        return self._ask("classify_without", ["logits"], **inputs)["logits"]

    def _ask(
        self, signature: str, outputs: Iterable[str], **inputs: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Asks in parts that a request may hold, and joins the answers."""
        parts = [
            self.client.predict(
                signature,
                {name: rows[start : start + self.batch] for name, rows in inputs.items()},
                sorted(outputs),
            )
            for start in range(0, len(inputs["images"]), self.batch)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in outputs}
