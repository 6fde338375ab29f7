"""Image files as arrays: upright, RGB, 8 bits, of one size, read when they are asked for.

NumPy and Pillow are all that this module needs; clients of a server read their images by it too.
"""

import contextlib
import io
import stat
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from coda_keras.utils.progress import ProgressBar
from coda_keras.utils.text import listed

# Images read at once, and broken files that an error names.
_AT_ONCE, _NAMED = 256, 5
# Pixels from which on Pillow warns of a bomb, and bytes of a file. A file of some kilobytes may
# have gigabytes of pixels, so larger images than the last are decoded one after the other.
MAX_PIXELS, MAX_BYTES, _LARGE = 89_478_485, 2**30, 2**24
_LARGE_IMAGES = threading.Lock()


class _Quiet:
    """Without warnings, of large images and odd metadata: what cannot be read is an error.

    The filters of warnings are those of all threads, so the first thread sets them and the last one
    puts them back.
    """

    _lock, _threads = threading.Lock(), 0

    def __enter__(self):
        with self._lock:
            if not self._threads:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._threads += 1

    def __exit__(self, *error):
        with self._lock:
            self._threads -= 1
            if not self._threads:
                self._filters.__exit__(*error)


_quiet = _Quiet()


class BrokenImage(ValueError):
    """A file that is no image, or half of one."""


def is_image_name(path: str | Path) -> bool:
    """Whether a file is named as an image that Pillow can read; it saves others, such as PDF."""
    return Image.registered_extensions().get(Path(path).suffix.lower()) in Image.OPEN


def decode(
    data: bytes, name: str | Path, largest: int | None = None
) -> tuple[Image.Image, Image.Image]:
    """Reads an image in whatever format Pillow knows.

    It is turned as its EXIF orientation says, transparent parts lie on white, and 16 bits of grey
    are scaled to 8.

    Args:
        data: the content of the file.
        name: what an error calls it.
        largest: int, pixels a side to which the caller will scale the image; a larger JPEG is then
            decoded at half, a quarter or an eighth of its size where twice as many pixels are left.
            None for all pixels.

    Returns:
        `(image, original)`: the PIL image in RGB, and as it was in the file.

    Raises:
        BrokenImage: if that is no image, or has more than `MAX_PIXELS`.
    """
    try:
        with _quiet:
            original = Image.open(io.BytesIO(data))
            if largest is not None:
                original.draft(None, (2 * largest, 2 * largest))
            pixels = original.width * original.height
            if pixels > MAX_PIXELS:
                raise ValueError(f"it has {pixels} pixels, more than {MAX_PIXELS}")
            with _LARGE_IMAGES if pixels > _LARGE else contextlib.nullcontext():
                original.load()
                return _on_white(_in_8_bits(ImageOps.exif_transpose(original))), original
    except Exception as error:  # Broken files raise whatever their parser raises.
        raise _unreadable(name, error) from error


def content(path: str | Path) -> bytes:
    """The bytes of an image file.

    Raises:
        BrokenImage: if it is a pipe or a device, or has more than `MAX_BYTES`.
        OSError: if it cannot be read.
    """
    about = Path(path).stat()
    if not stat.S_ISREG(about.st_mode):
        raise _unreadable(path, "it is no regular file")
    if about.st_size > MAX_BYTES:
        raise _unreadable(path, f"it has {about.st_size} bytes, more than {MAX_BYTES}")
    return Path(path).read_bytes()


def fit(image: Image.Image, height: int, width: int) -> Image.Image:
    """Crops a PIL image to the aspect ratio `width : height` and scales it, bicubic."""
    return ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)


def pixels(data: bytes, name: str | Path, size: int, crop: int | None = None) -> np.ndarray:
    """The content of an image file as uint8 `(size, size, 3)`, or `crop` pixels of its centre.

    An image of this size is left as it is, another one cropped to a square and scaled.

    Args:
        data: the content of the file.
        name: what an error calls it.
        size: int, pixels a side.
        crop: int, pixels a side of the centre that is returned; None for all.

    Raises:
        BrokenImage: if that is no image.
    """
    image, _ = decode(data, name, size)
    if image.size != (size, size):
        image = fit(image, size, size)
    if crop is not None:
        corner = (size - crop) // 2
        image = image.crop((corner, corner, corner + crop, corner + crop))
    return np.asarray(image)


class ImageFiles:
    """Images that stay in their files, for what takes an array `(N, size, size, 3)` of uint8.

    `images[3]` reads an image; `images[:50]`, or an array of indices or booleans, is a part of
    them that has not been read yet. `numpy.asarray(images)` reads all.

    Args:
        paths: of the files.
        size: int, pixels a side to which every image is scaled after a crop to a square.
        crop: int, pixels a side of the centre that is taken then; None for all.
    """

    dtype = np.dtype("uint8")
    ndim = 4

    def __init__(
        self, paths: Sequence[str | Path] | np.ndarray, size: int, crop: int | None = None
    ) -> None:
        self.paths = np.array([str(path) for path in paths], dtype=object)
        self.size, self.crop = size, crop

    @property
    def shape(self) -> tuple[int, int, int, int]:
        side = self.size if self.crop is None else self.crop
        return (len(self.paths), side, side, 3)

    @property
    def nbytes(self) -> int:
        """What the array would take."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        chosen = self.paths[index]
        if isinstance(chosen, str):
            return self._read(chosen)
        return ImageFiles(chosen, self.size, self.crop)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.read().astype(dtype or self.dtype, copy=False)

    def astype(self, dtype: Any) -> np.ndarray:
        """All images as an array of that type."""
        return np.asarray(self).astype(dtype)

    def rows(self, progress: bool = False) -> Iterator[np.ndarray]:
        """The images one after the other, read by several threads.

        Raises:
            BrokenImage: after the last one, if some cannot be read; the message names them.
        """
        broken = []
        bar = ProgressBar("reading images", "image", len(self), shown=progress)
        with ThreadPoolExecutor() as pool, bar:
            for start in range(0, len(self), _AT_ONCE):
                for row in pool.map(self._attempt, self.paths[start : start + _AT_ONCE]):
                    bar.update()
                    if isinstance(row, BrokenImage):
                        broken.append(row)
                    elif not broken:
                        yield row
        _refuse(broken)

    def read(self, progress: bool = False) -> np.ndarray:
        """All images as an array; raises as `rows`."""
        images = np.empty(self.shape, self.dtype)
        for image, row in zip(images, self.rows(progress)):
            image[...] = row
        return images

    def check(self) -> None:
        """Looks at the headers of all files, which takes a fraction of the time of reading them.

        Raises:
            BrokenImage: if some are no images; the message names them.
        """
        with ThreadPoolExecutor() as pool:
            _refuse([error for error in pool.map(_header_error, self.paths) if error])

    def _read(self, path):
        try:
            data = content(path)
        except OSError as error:
            raise BrokenImage(f"{path} cannot be read: {error.strerror}") from error
        return pixels(data, path, self.size, self.crop)

    def _attempt(self, path):
        try:
            return self._read(path)
        except BrokenImage as error:
            return error


def _header_error(path):
    try:
        with _quiet:
            if not Path(path).is_file():
                return _unreadable(path, "it is no regular file")
            Image.open(path).close()
    except Exception as error:
        return _unreadable(path, error)
    return None


def _unreadable(name, error):
    # Pillow's own words name an object in memory.
    unknown = isinstance(error, UnidentifiedImageError)
    reason = "it is of no known format" if unknown else " ".join(str(error).split())
    reason = reason or type(error).__name__
    return BrokenImage(f"{name} is no image this program can read: {reason}")


def _refuse(broken):
    if not broken:
        return
    reasons = listed(broken, _NAMED, longest=None, separator="; ")
    raise BrokenImage(f"{reasons}. Repair or remove these files.")


def _in_8_bits(image):
    """Scales 16 bits of grey, which Pillow would clip at 255."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError("its grey values have 32 bits, and nothing says how bright they are.")
    return Image.fromarray(np.round(values / 257).astype("uint8"))


def _on_white(image):
    """Without this the colours that transparency hides would be shown, whatever they are."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
