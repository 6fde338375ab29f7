"""The explorer as one HTML file, which opens offline."""

import base64
import html
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from coda_keras.explorer.network import LiveView
from coda_keras.explorer.storage import encoded_live_view, encoded_view
from coda_keras.explorer.view import View
from coda_keras.utils.files import write_text

FOLDER = Path(__file__).parent / "web"
IMPORT = re.compile(r'^import .* from "\./(\w+)\.js";$', re.MULTILINE)

NO_MODEL = (
    "There is no model behind this page. Make it by `coda-keras explore` with --live or --serve, "
    "or show it in a notebook with net=..., and pixels can be taken away."
)


@cache
def script(start: str) -> str:
    """The viewer as one ES module: its files, and the one that starts it, one after the other.

    Pages opened from disk cannot import files, and sandboxed front ends no URLs. What is left
    out is only that the files name each other.

    Args:
        start: name of the module that starts the viewer, `"embedded"` or `"tensorboard"`, or that
            computes beside it: `"worker"`.
    """
    return "\n".join(
        re.sub(r"^export (?!\{)", "", line)
        for text in _with_imports(start, {}).values()
        for line in text.splitlines()
        if not line.startswith("import ")
    )


def _with_imports(name, texts):
    """Adds the text of a module to `texts`, after those of all modules that it imports."""
    text = (FOLDER / f"{name}.js").read_text(encoding="utf-8")
    for imported in IMPORT.findall(text):
        if imported not in texts:
            _with_imports(imported, texts)
    texts[name] = text
    return texts


def style() -> str:
    """The style sheet of the viewer."""
    return (FOLDER / "style.css").read_text(encoding="utf-8")


def page(
    views: View | LiveView | Sequence[View | LiveView],
    title: str = "Explanations",
    weights: str = "int16",
    predict: str | None = None,
    no_model: str = NO_MODEL,
) -> str:
    """Returns the viewer with its data as one HTML document that needs nothing else.

    Args:
        views: one `View` or several, to compare; `LiveView`s for images that the page explains.
        title: str, of the page.
        weights: `"int16"`, `"int8"` or `"none"`, as for `encoded_view`.
        predict: where predictions without some pixels are asked for: `"parent"` for the window
            that the page is in, the relative URL of a server, or None for nowhere.
        no_model: str, what a page without them says instead.

    Raises:
        ValueError: if there are no views.
    """
    views = [views] if isinstance(views, View | LiveView) else list(views)
    if not views:
        raise ValueError("Expected at least one view. Received none.")
    manifests, elements = [], []
    for view in views:
        live = isinstance(view, LiveView)
        manifest, blobs = encoded_live_view(view) if live else encoded_view(view, weights)
        manifests.append({**manifest, "first": len(elements)})
        for blob in blobs:
            text = base64.b64encode(blob).decode()
            elements.append(f'<script type="text/plain" class="blob">{text}</script>')
    data = {"views": manifests, "predict": predict, "title": title, "noModel": no_model}
    parts = {
        "title": html.escape(title),
        "style": style(),
        "data": in_script(data),
        "blobs": "\n".join(elements),
        "worker": "",
        "script": script("embedded"),
    }
    if any(manifest["net"] for manifest in manifests):
        parts["worker"] = f'<script type="text/plain" id="worker">\n{script("worker")}\n</script>\n'
    template = (FOLDER / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\[\[(\w+)\]\]", lambda match: parts[match[1]], template)


def in_script(value: Any) -> str:
    """`value` as JSON that nothing can end before its time, inside of `<script>`."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def write_html(
    path: str | Path,
    views: View | LiveView | Sequence[View | LiveView],
    title: str = "Explanations",
    **options: Any,
) -> None:
    """Writes the viewer with its data as one file that opens offline in any browser.

    Args:
        path: path of the file.
        views, title: as for `page`.
        **options: `weights` and `predict` of `page`.

    Example:

    >>> import tempfile
    >>> maps = np.random.default_rng(0).normal(size=(2, 3, 6, 6))
    >>> ids = np.tile(np.arange(3), (2, 1))
    >>> view = View(np.zeros((2, 6, 6, 3)), maps.sum((2, 3)), ids, maps, ["cat", "dog", "ship"])
    >>> write_html(f"{tempfile.mkdtemp()}/explorer.html", view)
    """
    write_text(path, page(views, title, **options))
