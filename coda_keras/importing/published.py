"""Files of weights that others published: by a name, from an address, or from the disk."""

import contextlib
import hashlib
import http.client
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from coda_keras.utils.progress import ProgressBar
from coda_keras.utils.text import listed, nearest

# The largest that is published has 0.7 GB.
MAX_BYTES = 2**30
_TIMEOUT, _BLOCK = 30.0, 2**20


class Published(NamedTuple):
    """A file of weights.

    Attributes:
        name: str, the publisher's.
        url: str.
        file_name: str, under which it may lie on the disk.
        sha256: str, the first digits of its SHA-256; empty where none is known.
    """

    name: str
    url: str
    file_name: str
    sha256: str = ""


def named(source: str, known: Mapping[str, Published]) -> Published | None:
    """What is published under a name, or under the name of a file or of its folder.

    >>> net = Published("net-10", "https://example.org/net", "net-10.pth")
    >>> named("runs/net-10/epoch_200.pkl", {"net-10": net}).name
    'net-10'
    """
    path = Path(source)
    by_file = {published.file_name: published for published in known.values()}
    return known.get(path.stem) or known.get(path.parent.name) or by_file.get(path.name)


@contextlib.contextmanager
def opened(source: str, known: Mapping[str, Published], command: str) -> Iterator[Path]:
    """Yields the path of a file: the one called `source`, or the one published under that name.

    Args:
        source: path of a file, or a name in `known`.
        known: what is published, by name.
        command: what to type for a file that was brought, without the file.

    Raises:
        ValueError: if there is neither; if it cannot be fetched, with what to do instead; or if
            what was fetched is another file.
    """
    if Path(source).is_file():
        yield Path(source)
    elif source in known:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / known[source].file_name
            _fetch(known[source], path, command)
            yield path
    else:
        raise ValueError(
            f"There is no file {source}, and no net of that name.{nearest(source, known)} "
            f"Published are {listed(known, most=len(known))}."
        )


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _fetch(published: Published, path: Path, command: str) -> None:
    try:
        with (
            urllib.request.urlopen(published.url, timeout=_TIMEOUT) as answer,
            path.open("wb") as f,
        ):
            size = int(answer.headers.get("Content-Length") or 0)
            with ProgressBar(f"fetching {published.name}", "MB", -(-size // _BLOCK) or None) as bar:
                while block := answer.read(_BLOCK):
                    if f.write(block) and f.tell() > MAX_BYTES:
                        raise OSError(f"it has more than {MAX_BYTES} bytes")
                    bar.update()
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise ValueError(
            f"{published.name} cannot be fetched from {published.url} ({reason}). Fetch that "
            f"address where there is internet, bring the file as {published.file_name}, and type: "
            f"{command} {published.file_name}"
        ) from error
    if not checksum(path).startswith(published.sha256):
        raise ValueError(
            f"What {published.url} sent is another file than was published: its SHA-256 does not "
            f"begin with {published.sha256}."
        )
