"""A short video, and its explanation frame by frame."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

from coda_keras import figures

MOST_FRAMES = 200
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def read_frames(path: str | Path, size: int) -> np.ndarray:
    """Reads an animated GIF or a folder of pictures, in the order of their names.

    Args:
        path: path.
        size: int, pixels of the shorter side that larger frames are reduced to: the size of the
            images that the model was trained on.

    Returns:
        `(T, H, W, 3)` float32 in [0, 1], at most 200 frames.

    Raises:
        ValueError: if there are no pictures, or they differ in shape.
    """
    path = Path(path)
    try:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            pictures = [_read(file, size) for file in files[:MOST_FRAMES]]
        else:
            with Image.open(path) as animation:
                frames = ImageSequence.Iterator(animation)
                pictures = [_array(frame, size) for _, frame in zip(range(MOST_FRAMES), frames)]
    except (FileNotFoundError, UnidentifiedImageError) as error:
        raise ValueError(f"{path} is neither an animated GIF nor a folder of pictures.") from error
    if not pictures:
        raise ValueError(f"{path} holds no pictures ({', '.join(SUFFIXES)}).")
    shapes = sorted({picture.shape for picture in pictures})
    if len(shapes) > 1:
        raise ValueError(f"{path}: frames must have one size. Found {shapes[:3]}.")
    return np.stack(pictures)


def pan(image: np.ndarray, frame_size: tuple[int, int], frames: int = 36) -> np.ndarray:
    """A slow pan over an image `(H, W, 3)`: along the top, then down the right side, then back.

    Args:
        image: `(H, W, 3)`.
        frame_size: `(height, width)` of the frames, smaller than the image.
        frames: int, T.

    Returns:
        `(T, height, width, 3)`.
    """
    height, width = frame_size
    bottom, right = image.shape[0] - height, image.shape[1] - width
    corners = np.array([(0, 0), (0, right), (bottom, right), (0, 0)])
    progress = np.linspace(0, len(corners) - 1, frames, endpoint=False)
    leg = progress.astype(int)
    part = (progress - leg)[:, None]
    positions = np.rint((1 - part) * corners[leg] + part * corners[leg + 1]).astype(int)
    return np.stack([image[y : y + height, x : x + width] for y, x in positions])


def explained_video(study: Any, source: Any = None) -> np.ndarray:
    """A video explained frame by frame, uint8 `(T, h, w, 3)`.

    Explained is the class predicted for most frames; of the pan, the class of the middle cell.

    Args:
        study: `Study`.
        source: path of an animated GIF or of a folder of frames; None for a slow pan over the
            first multi-image.
    """
    subject = study.main_net
    if source:
        frames = read_frames(source, subject.images.shape[1])
        classes = [subject.predict(frame[None])[0].argmax() for frame in frames]
        class_id = np.bincount(classes).argmax()
    else:
        grid = subject.first_grid
        # Twice an image on a grid of 3x3: never the whole of it.
        height, width = (side * (grid.n + 1) // 2 for side in subject.images.shape[1:3])
        frames = pan(grid.compose(0), (height, width))
        class_id = grid.class_ids[0][grid.n // 2 * (grid.n + 1)]
    maps = subject.method("contributions")(subject.model, frames, int(class_id))
    return figures.animation_frames(frames, maps, title=subject.class_names[class_id])


def _read(file, size):
    with Image.open(file) as picture:
        return _array(picture, size)


def _array(picture, size):
    picture = picture.convert("RGB")
    factor = size / min(picture.size)
    if factor < 1:
        picture = picture.resize([max(1, round(side * factor)) for side in picture.size])
    return np.asarray(picture, "float32") / 255
