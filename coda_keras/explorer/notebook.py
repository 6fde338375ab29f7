"""The explorer in a notebook: HTML without a server, and a widget where a model is to be asked."""

import html
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from coda_keras import figures
from coda_keras.explorer.html import page
from coda_keras.explorer.removal import Predict, Removal
from coda_keras.explorer.view import View

HEIGHT = 880
# What front ends without HTML show of a view.
STATIC_IMAGES = 4
WIDGET = Path(__file__).parent / "web/widget.js"

NO_MODEL = (
    "There is no model behind this page: give show(..., net=net), with the package anywidget "
    "installed, and pixels can be taken away."
)


def show(
    views: View | Sequence[View],
    predict: Predict | Sequence[Predict] | None = None,
    title: str = "Explanations",
    height: int = HEIGHT,
    weights: str = "int16",
) -> Any:
    """Returns the viewer as something that notebooks display.

    Args:
        views: one `View` or several, to compare.
        predict: a `Predict`, or one for each view, such as `without_pixels(net)`, that is asked
            when pixels are taken away. This needs the package anywidget, and without it the viewer
            is shown and says so.
        title: str.
        height: int, in pixels of the page.
        weights: `"int16"`, `"int8"` or `"none"`, as for `page`.

    Returns:
        A `Shown`; or if there is a `predict` and anywidget, a widget.
    """
    views = [views] if isinstance(views, View) else list(views)
    if predict is None or find_spec("anywidget") is None:
        return Shown(views, title, height, weights)
    return widget(page(views, title, weights, predict="parent"), Removal(views, predict), height)


class Shown:
    """The viewer as HTML, and a picture for front ends that show none.

    Args:
        views, title, height, weights: as for `show`.
    """

    def __init__(self, views: Sequence[View], title: str, height: int, weights: str) -> None:
        self.views, self.title, self.height, self.weights = views, title, height, weights

    def __repr__(self) -> str:
        return f"<explorer of {len(self.views[0].images)} images: {self.title}>"

    @cached_property
    def _html(self):
        # A frame of its own: neither style sheets nor scripts of the notebook reach it.
        document = page(self.views, self.title, self.weights, no_model=NO_MODEL)
        return (
            f'<iframe srcdoc="{html.escape(document)}" title="{html.escape(self.title)}" '
            f'style="width: 100%; height: {int(self.height)}px; border: 1px solid #d5dce3; '
            'border-radius: 8px; resize: vertical" allow="clipboard-write"></iframe>'
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {
            "text/html": self._html,
            "image/png": picture(self.views[0]),
            "text/plain": repr(self),
        }


def picture(view: View) -> bytes:
    """The first images of a view and the maps of their likeliest classes, as PNG."""
    rows = np.arange(min(STATIC_IMAGES, len(view.images)))
    names = view.class_names or [str(number) for number in range(view.logits.shape[1])]
    best = np.take_along_axis(view.logits, view.class_ids, axis=1).argmax(axis=1)[rows]
    ids = view.class_ids[rows, best]
    titles = [f"{names[i]}, logit {view.logits[row, i]:.2f}" for row, i in zip(rows, ids)]
    weights = None if view.weights is None else view.weights[rows, best]
    figure = figures.gallery(
        view.images[rows, ..., :3], view.maps[rows, best], titles, columns=2, weights=weights
    )
    return figures.figure_png(figure)


def widget(document: str, answer: Removal, height: int) -> Any:
    """An anywidget that shows a page and answers its questions from this process."""
    import anywidget
    import traitlets

    class ExplorerWidget(anywidget.AnyWidget):
        _esm = WIDGET
        document = traitlets.Unicode().tag(sync=True)
        height = traitlets.Int().tag(sync=True)

    def reply(shown, content, _):
        shown.send({**answer(content), "id": content.get("id")})

    shown = ExplorerWidget(document=document, height=height)
    shown.on_msg(reply)
    return shown
