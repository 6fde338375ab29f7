"""What the embedded server serves: the wanted versions of every model, kept up to date."""

import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import tensorflow as tf
from coda_keras_export.servable import folder
from coda_keras_export.servable.loading import Servable
from coda_keras_export.servable.version_policies import DEFAULTS, Policies
from coda_keras_export.server import memory
from coda_keras_export.server.loaders import Loaders
from coda_keras_export.server.version import AVAILABLE, FAILED, LOADING, State, Version

from coda_keras.utils.text import listed, short

# Between attempts at a version that fails; it doubles each time.
_FIRST_DELAY, _LAST_DELAY = 1, 600


class Catalogue:
    """The models of a folder, loaded.

    Args:
        root: folder of servables, `<root>/<model>/<integer version>/`.
        max_batch_size: images a request may hold; None for a number that their size suggests.
        policies: `Policies`: which versions are wanted.
        loaders: number of versions that load at once.
        load_seconds: that a version may take to load.
        changed: called, from any thread, when states may have changed.
        attempted: called with a path and whether it loaded.
        clock: seconds, as `time.monotonic`.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        max_batch_size: int | None = None,
        policies: Policies = DEFAULTS,
        loaders: int = 2,
        load_seconds: float = 120,
        changed: Callable[[], object] = lambda: None,
        attempted: Callable[[Path, bool], object] = lambda path, loaded: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root, self.max_batch_size, self.policies = root, max_batch_size, policies
        self._changed, self._attempted, self._clock = changed, attempted, clock
        self._present: dict[str, folder.Versions] = {}
        self._versions: dict[tuple[str, int], Version] = {}
        self._unreadable: set[str] = set()
        self._loaders = Loaders(loaders, load_seconds)
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Begins to load what is new, forgets what is gone; `wait` waits for what loads.

        Raises:
            OSError: if the folder cannot be looked into; what is loaded stays.
        """
        models, unreadable = folder.look(self.root)
        self._report(unreadable)
        with self._lock:
            failed = [entry for entry in self._versions.values() if entry.state.name == FAILED]
        # Not under the lock, for which requests would wait: a network drive may take its time.
        repaired = {entry for entry in failed if folder.fingerprint(entry.path) != entry.files}
        with self._lock:
            # Nobody knows whether what cannot be looked into is gone.
            stay = {name: self._present[name] for name in unreadable if name in self._present}
            self._present = models | stay
            gone = [key for key in self._versions if key[1] not in self._present.get(key[0], ())]
            idle = self._drop(gone)
            # The newest of every model come before the second newest of any.
            ranks = sorted(
                (rank, name, version)
                for name in models
                for rank, version in enumerate(self._wanted(name))
            )
            for _, name, version in ranks:
                self._plan(name, version, repaired)
            for name in models:
                idle += self._drop_unwanted(name)
        self._close(idle)
        self._changed()

    def wait(self) -> None:
        """Waits until nothing loads."""
        self._loaders.wait()

    @contextlib.contextmanager
    def use(self, name: str, version: int | None = None) -> Iterator[tuple[int, Servable]]:
        """Gives `(version, Servable)`, which stays open meanwhile; the latest version for None.

        Raises:
            tf.errors.NotFoundError: if it is not served.
            tf.errors.UnavailableError: if it is still loading.
        """
        with self._lock:
            number, entry = self._find(name, version)
            entry.uses += 1
        try:
            yield number, entry.servable
        finally:
            with self._lock:
                entry.uses -= 1
                idle = [entry] if entry.dropped and not entry.uses else []
            self._close(idle)

    def states(self, name: str) -> dict[int, State]:
        """Returns `{version: State}` of a model."""
        with self._lock:
            return {version: entry.state for version, entry in self._entries(name).items()}

    def models(self) -> dict[str, bool]:
        """Returns `{model name: whether a version of it is served}`."""
        with self._lock:
            served = dict.fromkeys(sorted({name for name, _ in self._versions}), False)
            for (name, _), entry in self._versions.items():
                served[name] |= entry.state.name == AVAILABLE
        return served

    def _find(self, name: str, version: int | None) -> tuple[int, Version]:
        """Returns `(version, Version)`; the latest for None."""
        states = {number: entry.state.name for number, entry in self._entries(name).items()}
        ready = [number for number, state in states.items() if state == AVAILABLE]
        if version is None and ready:
            version = max(ready)
        if version in ready:
            return version, self._versions[name, version]
        wanted = f"model {short(name)!r}"
        if version is not None:
            wanted = f"version {version} of {wanted}"
        if LOADING in (states.values() if version is None else [states.get(version)]):
            sentence = f"{wanted[0].upper()}{wanted[1:]} is still loading."
            raise tf.errors.UnavailableError(None, None, sentence)
        served = sorted(
            f"{model} {number}"
            for (model, number), entry in self._versions.items()
            if entry.state.name == AVAILABLE
        )
        raise tf.errors.NotFoundError(
            None, None, f"There is no {wanted}. Served: {listed(served)}."
        )

    def _wanted(self, name: str) -> list[int]:
        """The versions of a model that are wanted, newest first."""
        entries = self._entries(name)
        failed = {version for version, entry in entries.items() if entry.state.name == FAILED}
        return self.policies.of(name).wanted(self._present.get(name, {}), failed)

    def _entries(self, name: str) -> dict[int, Version]:
        """The versions of a model that load, serve or have failed."""
        entries = self._versions.items()
        return {version: entry for (model, version), entry in entries if model == name}

    def _plan(self, name: str, version: int, repaired: Collection[Version] = ()) -> None:
        """Has a version loaded that is new, or that failed and may be tried again."""
        entry = self._versions.get((name, version))
        if entry is None:
            entry = self._versions[name, version] = Version(self._present[name][version])
        elif entry.state.name == FAILED and (entry in repaired or entry.due(self._clock())):
            entry.state = State(LOADING, entry.state.reason)
        else:
            return
        entry.load = load = object()
        attempt = name, entry, load
        self._loaders.submit(
            functools.partial(self._load, *attempt), functools.partial(self._give_up, *attempt)
        )

    def _load(self, name: str, entry: Version, load: object) -> None:
        if entry.dropped:
            return
        entry.files, servable, reason = folder.fingerprint(entry.path), None, ""
        try:
            servable = Servable(entry.path, max_batch_size=self.max_batch_size)
            servable.warm_up()
        except Exception as error:  # One bad version must not keep the others from being served.
            # A ValueError names the folder itself.
            named = isinstance(error, ValueError)
            reason = short(error if named else f"{entry.path} does not load: {error!r}", 1000)
        memory.trim()
        if not self._settle(name, entry, load, servable, reason) and servable:
            servable.close()

    def _give_up(self, name: str, entry: Version, load: object) -> None:
        reason = (
            f"{entry.path} takes more than {self._loaders.seconds:g} s to load and was given up. "
            "Repair its files, or allow more with --load-timeout."
        )
        self._settle(name, entry, load, None, reason, hangs=True)

    def _settle(
        self,
        name: str,
        entry: Version,
        load: object,
        servable: Servable | None,
        reason: str,
        hangs: bool = False,
    ) -> bool:
        """Notes that a load has ended or hangs; returns False if the other was noted already."""
        with self._lock:
            if entry.load is not load:
                # It was given up, and ends after all.
                entry.hanging -= not hangs
                return False
            entry.load = None
            entry.hanging += hangs
            if reason:
                self._note_failure(entry, reason)
            else:
                entry.state, entry.servable = State(AVAILABLE), servable
            if entry.dropped:
                idle = [entry]
            else:
                idle = self._drop_unwanted(name)
                for older in self._wanted(name):
                    if (name, older) not in self._versions:
                        self._plan(name, older)
        self._close(idle)
        self._attempted(entry.path, not reason)
        self._changed()
        return True

    def _note_failure(self, entry: Version, reason: str) -> None:
        if entry.state.reason != reason:
            print(f"not served: {reason}", file=sys.stderr, flush=True)
        delay = min(_FIRST_DELAY * 2**entry.attempts, _LAST_DELAY)
        entry.state = State(FAILED, reason)
        entry.attempts, entry.again = entry.attempts + 1, self._clock() + delay

    def _drop_unwanted(self, name: str) -> list[Version]:
        """Drops versions that nobody wants, once one that is wanted serves in their place."""
        wanted, entries = self._wanted(name), self._entries(name)
        states = [entries[version].state.name for version in wanted if version in entries]
        if AVAILABLE not in states or LOADING in states or len(states) < len(wanted):
            return []
        return self._drop((name, version) for version in entries if version not in wanted)

    def _drop(self, keys: Iterable[tuple[str, int]]) -> list[Version]:
        """Takes versions out; returns those of them that can be closed at once."""
        entries = [self._versions.pop(key) for key in keys]
        for entry in entries:
            entry.dropped = True
        return [entry for entry in entries if entry.servable and not entry.uses]

    def _close(self, entries: list[Version]) -> None:
        """Closes versions that were dropped and answer nothing any more."""
        for entry in entries:
            if entry.servable:
                entry.servable.close()
                entry.servable = None
        if entries:
            memory.collect()

    def _report(self, unreadable: dict[str, OSError]) -> None:
        """Says which folders cannot be looked into, each once until it can be."""
        for name in unreadable.keys() - self._unreadable:
            print(f"cannot look for versions: {unreadable[name]}", file=sys.stderr, flush=True)
        self._unreadable = set(unreadable)
