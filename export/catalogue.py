"""What the embedded server serves: every complete version of every model, kept up to date."""

import sys
import threading

import tensorflow as tf

from export import cli, folder
from export.servable import Servable


class Catalogue:
    """The models of a folder, loaded.

    Args:
        root: folder of servables, `<root>/<model>/<integer version>/`.
        max_batch_size: images a request may hold; None for a number that their size suggests.
    """

    def __init__(self, root, max_batch_size=None):
        self.root, self.max_batch_size = root, max_batch_size
        self._loaded = {}
        self._failed = {}
        self._unreadable = set()
        self._lock = threading.Lock()

    def refresh(self):
        """Loads what is new, forgets what is gone. A version that fails leaves the others be.

        Raises:
            OSError: if the folder cannot be looked into; what is loaded stays.
        """
        models, unreadable = folder.look(self.root)
        self._report(unreadable)
        found = {
            (name, version): path
            for name, versions in models.items()
            for version, path in versions.items()
        }
        with self._lock:
            # Nobody knows whether what cannot be looked into is gone.
            stay = [key for key in self._loaded if key in found or key[0] in unreadable]
            self._loaded = {key: self._loaded[key] for key in stay}
            self._failed = {key: self._failed[key] for key in self._failed if key in found}
            missing = sorted(found.keys() - self._loaded.keys())
        for key in missing:
            self._load(key, found[key])

    def find(self, name, version=None):
        """Returns `(version, Servable)`; the latest version for None.

        Raises:
            tf.errors.NotFoundError: if it is not served.
        """
        with self._lock:
            versions = [number for model, number in self._loaded if model == name]
            if version is None and versions:
                version = max(versions)
            if version in versions:
                return version, self._loaded[name, version]
            served = sorted(f"{model} {number}" for model, number in self._loaded)
        wanted = f"model {cli.short(name)!r}"
        if version is not None:
            wanted = f"version {version} of {wanted}"
        raise tf.errors.NotFoundError(
            None, None, f"There is no {wanted}. Served: {cli.listed(served)}."
        )

    def states(self, name):
        """Returns `{version: None, or the reason why it is not served}` of a model."""
        with self._lock:
            states = dict.fromkeys(self._loaded) | self._failed
        return {version: reason for (model, version), reason in states.items() if model == name}

    def __len__(self):
        with self._lock:
            return len(self._loaded)

    def _report(self, unreadable):
        """Says which folders cannot be looked into, each once until it can be."""
        for name in unreadable.keys() - self._unreadable:
            print(f"cannot look for versions: {unreadable[name]}", file=sys.stderr, flush=True)
        self._unreadable = set(unreadable)

    def _load(self, key, path):
        try:
            servable = Servable(path, max_batch_size=self.max_batch_size)
            servable.warm_up()
        except Exception as error:  # One bad version must not keep the others from being served.
            # A ValueError names the folder itself.
            said = error if isinstance(error, ValueError) else f"{path} does not load: {error!r}"
            reason = cli.short(said, 1000)
            if self._failed.get(key) != reason:
                print(f"not served: {reason}", file=sys.stderr, flush=True)
            with self._lock:
                self._failed[key] = reason
            return
        with self._lock:
            self._loaded[key] = servable
            self._failed.pop(key, None)
