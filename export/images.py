"""Image files as a model wants them: upright, RGB, 8 bits, of its size."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from coda_keras.data import image_files

_ORIENTATION = 0x0112


def open_image(
    path: str | Path, height: int, width: int, resize: bool
) -> tuple[Image.Image, bytes]:
    """Reads an image file as the model wants it.

    It is turned as its EXIF orientation says, transparent parts lie on white, and 16 bits of grey
    are scaled to 8.

    Args:
        path: image file.
        height, width: size the model takes, in pixels.
        resize: bool, whether to crop to the model's aspect ratio and resize other sizes.

    Returns:
        `(image, encoded)`: a PIL image in RGB, and the PNG or JPEG bytes to send, those of the
        file itself where nothing had to be changed.

    Raises:
        ValueError: if the file is no image, or has another size and `resize` is False.
    """
    data = image_files.content(path)
    image, original = image_files.decode(data, path, max(height, width) if resize else None)
    as_is = (
        original.format in ("PNG", "JPEG")
        and original.mode in ("RGB", "L")
        and not original.has_transparency_data
        and original.getexif().get(_ORIENTATION, 1) == 1
    )
    if image.size != (width, height):
        if not resize:
            raise ValueError(
                f"{path} has {image.width}x{image.height} pixels (width x height), the model takes "
                f"{width}x{height}. Give --resize to crop and resize it."
            )
        image = image_files.fit(image, height, width)
        as_is = False
    if as_is:
        return image, data
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return image, buffer.getvalue()


def find_images(paths: Sequence[str | Path], failed: Callable[[Exception], None]) -> list[Path]:
    """Image files, and those of folders by their names; not those of folders inside them.

    Args:
        paths: files and folders.
        failed: is told of what is neither, and of folders without an image.

    Raises:
        ValueError: if there is no image at all.
    """
    files, problems = [], []
    for path in map(Path, paths):
        inside = _images_of(path) if path.is_dir() else []
        if path.is_dir() and not inside:
            problems.append(ValueError(f"There is no image file in the folder {path}."))
        elif not path.exists():
            problems.append(ValueError(f"There is no image file {path}."))
        files += inside if path.is_dir() else [path] * path.exists()
    if not files:
        raise ValueError(" ".join(map(str, problems)))
    for problem in problems:
        failed(problem)
    return files


def _images_of(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if image_files.is_image_name(path) and path.is_file() and not path.name.startswith(".")
    )


def read_images(
    files: Sequence[Path],
    height: int,
    width: int,
    resize: bool,
    failed: Callable[[Exception], None],
) -> Iterator[tuple[int, Image.Image, bytes]]:
    """Opens images one after the other, as `open_image`.

    Args:
        files, height, width, resize: as `open_image` takes them.
        failed: is told of files that cannot be read, which are then left out.

    Yields:
        `(number, image, encoded)`, numbers counting the files.
    """
    for number, file in enumerate(files):
        try:
            opened = open_image(file, height, width, resize)
        except (ValueError, OSError) as error:
            failed(error)
        else:
            yield number, *opened


def output_paths(folder: Path, images: Sequence[str | Path], overwrite: bool) -> list[Path]:
    """Paths of pictures about images, none of them an image's own or, unless asked, another file's.

    Args:
        folder: of the pictures.
        images: image files that are there.
        overwrite: bool, whether pictures that are there are replaced.

    Raises:
        ValueError: if something would be written over.
    """
    paths: dict[Path, None] = {}
    for image in images:
        path, count = folder / f"{Path(image).stem}.png", 1
        # Two folders may hold a `cat.png` each.
        while path in paths:
            count += 1
            path = folder / f"{Path(image).stem}-{count}.png"
        if path.exists() and any(path.samefile(other) for other in images):
            raise ValueError(
                f"{path} is one of the images and would be written over. "
                "Name another folder with --out."
            )
        if path.exists() and not overwrite:
            raise ValueError(
                f"{path} exists. Give --overwrite to replace it, or name another folder with --out."
            )
        paths[path] = None
    return list(paths)
