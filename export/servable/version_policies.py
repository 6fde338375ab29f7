"""Which versions of a model are served: the stock server's version policies."""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coda_keras_export.api import MAX_VERSION

from coda_keras.utils.text import short

_EXPECTED = (
    "[MODEL=]latest:N, [MODEL=]all or [MODEL=]specific:VERSION,VERSION..., whole numbers from 1"
)


@dataclass(frozen=True)
class Policy:
    """The newest `latest` versions, the `specific` ones, or all if both are None."""

    latest: int | None = None
    specific: tuple[int, ...] | None = None

    def wanted(self, versions: Iterable[int], failed: Container[int] = ()) -> list[int]:
        """Returns the versions to serve, newest first.

        A version that fails does not count among the newest: it is tried, and an older one serves
        in its place.

        Args:
            versions: those that are there.
            failed: those of them that do not load.
        """
        newest = sorted(versions, reverse=True)
        if self.specific is not None:
            return [version for version in newest if version in self.specific]
        if self.latest is None:
            return newest
        wanted, counted = [], 0
        for version in newest:
            if counted == self.latest:
                break
            wanted.append(version)
            counted += version not in failed
        return wanted

    def write_to(self, config: Any) -> None:
        """Writes itself into a `ServableVersionPolicy` message."""
        if self.specific is not None:
            config.specific.versions.extend(self.specific)
        elif self.latest is not None:
            config.latest.num_versions = self.latest
        else:
            config.all.SetInParent()


def from_config(config: Any) -> Policy:
    """Reads a `ServableVersionPolicy` message."""
    kind = config.WhichOneof("policy_choice")
    if kind == "specific":
        return Policy(specific=tuple(sorted(config.specific.versions)))
    if kind == "all":
        return Policy()
    return Policy(latest=config.latest.num_versions or 1)


# The latest, and the one before for who has to go back.
DEFAULT = Policy(latest=2)


@dataclass(frozen=True)
class Policies:
    """A policy for every model.

    Attributes:
        default: of models without one of their own.
        by_model: dict of model name to policy.
    """

    default: Policy = DEFAULT
    by_model: Mapping[str, Policy] = field(default_factory=dict)

    def of(self, model: str) -> Policy:
        """The policy of a model."""
        return self.by_model.get(model, self.default)


DEFAULTS = Policies()


def parse(texts: Sequence[str]) -> Policies:
    """Reads the flags `--version-policy`; later ones replace earlier ones.

    Raises:
        ValueError: if one of them is no policy.
    """
    by_model = {"": DEFAULT}
    for text in texts:
        model, _, policy = text.rpartition("=")
        by_model[model] = _policy(text, policy)
    return Policies(by_model.pop(""), by_model)


def _policy(text: str, policy: str) -> Policy:
    number = "[1-9][0-9]{0,18}"
    if policy == "all":
        return Policy()
    if match := re.fullmatch(f"latest:({number})", policy):
        return Policy(latest=int(match[1]))
    if re.fullmatch(f"specific:{number}(,{number})*", policy):
        versions = tuple(sorted(map(int, policy.removeprefix("specific:").split(","))))
        if versions[-1] <= MAX_VERSION:
            return Policy(specific=versions)
    raise ValueError(f"Expected a version policy {_EXPECTED}. Received: {short(text)!r}.")
