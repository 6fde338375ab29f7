"""The figures of a study as files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coda_keras import explorer
from coda_keras.figures import save_figure, save_gif
from coda_keras.study.errors import Missing
from coda_keras.study.registry import DRAWN, EXPLORER, VIDEO
from coda_keras.study.study import Study
from coda_keras.study.video import explained_video
from coda_keras.study.views import method_views

FORMATS = (".png", ".pdf")


def draw(
    study: Study,
    names: Sequence[str] = DRAWN,
    video: str | Path | None = None,
    board: Any = None,
    report: Any = print,
) -> tuple[list[str], dict[str, str]]:
    """Writes figures into the folder of a study, as PNG and PDF, video as GIF, explorer as HTML.

    Args:
        study: `Study`.
        names: some of `DRAWN`.
        video: path of an animated GIF or folder of frames to explain; None for a pan over a
            multi-image.
        board: `coda_keras.tensorboard.summaries.Board` that shows the same, or None.
        report: called with a line for every figure.

    Returns:
        `(files, skipped)`: names of the files written, and a dict from the figures whose inputs
        are missing to the reasons.
    """
    files, skipped = [], {}
    for name in names:
        try:
            if name == VIDEO:
                frames = explained_video(study, video)
                written = ["video.gif"]
                save_gif(frames, study.folder / written[0])
                if board is not None:
                    board.video(VIDEO, frames)
            elif name == EXPLORER:
                views = method_views(study)
                written = ["explorer.html"]
                title = f"Methods on {study.dataset}" if study.dataset else "Methods"
                explorer.write_html(study.folder / written[0], list(views.values()), title)
                if board is not None:
                    for tag, view in views.items():
                        board.view(f"methods/{tag}", view)
            else:
                figure = study.figure(name)
                written = [f"figure_{name}{suffix}" for suffix in FORMATS]
                paths = [study.folder / file for file in written]
                save_figure(figure, paths)
                if board is not None:
                    board.picture(f"figure_{name}", paths[0])
        except Missing as missing:
            skipped[name] = str(missing).rstrip(".")
            report(f"figure {name} skipped: {skipped[name]}.")
        else:
            files += written
            report(f"figure {name}: {study.folder / written[-1]}")
    return files, skipped
