"""The client without a server: which images it reads as what, and what it refuses to do."""

import contextlib
import io
import re
import sys
import zlib
from pathlib import Path, PurePath

import numpy as np
import pytest
from coda_keras_export import client
from coda_keras_export.images import find_images, open_image, output_paths, read_images
from PIL import Image
from processes import run_in_new_python

HEIGHT, WIDTH = 8, 7
ORIENTATION = 0x0112


@pytest.fixture
def right(rng):
    return rng.integers(0, 256, (HEIGHT, WIDTH, 3), "uint8")


def opened(path, resize=False):
    """An image as the client reads it, and as it sends it."""
    image, encoded = open_image(path, HEIGHT, WIDTH, resize)
    assert (image.mode, image.size) == ("RGB", (WIDTH, HEIGHT))
    with Image.open(io.BytesIO(encoded)) as sent:
        np.testing.assert_array_equal(np.asarray(sent.convert("RGB")), np.asarray(image))
    return np.asarray(image), encoded


def test_plain_images_are_sent_as_they_are(tmp_path, right):
    Image.fromarray(right).save(tmp_path / "a.png")
    Image.fromarray(right).save(tmp_path / "a.jpg")
    for name in ("a.png", "a.jpg"):
        assert opened(tmp_path / name)[1] == (tmp_path / name).read_bytes()
    np.testing.assert_array_equal(opened(tmp_path / "a.png")[0], right)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_camera_was(tmp_path, right, orientation):
    turned = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, 1),
        7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
        8: lambda x: np.rot90(x, -1),
    }
    # As the sensor saw it, such that turning it as the tag says gives the picture.
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turned[orientation](right)))
    stored.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(opened(tmp_path / "a.png")[0], right)


def test_16_bit_grey_is_scaled(tmp_path):
    values = np.linspace(0, 65535, HEIGHT * WIDTH).astype("uint16").reshape(HEIGHT, WIDTH)
    Image.fromarray(values).save(tmp_path / "a.png")
    image, _ = opened(tmp_path / "a.png")
    expected = np.round(values / 65535 * 255)
    np.testing.assert_array_equal(image, np.repeat(expected[..., None], 3, -1))


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "RGB"])
def test_transparent_images_lie_on_white(tmp_path, right, kind):
    opaque = np.zeros((HEIGHT, WIDTH), bool)
    opaque[:4] = True
    alpha = Image.fromarray(np.where(opaque, 255, 0).astype("uint8"))
    if kind == "RGB":
        # One colour of the file stands for "transparent".
        right[~opaque], right[opaque, 0] = (1, 2, 3), 200
        picture, shown, options = Image.fromarray(right), right, {"transparency": (1, 2, 3)}
    elif kind == "P":
        indices = np.where(opaque, 1, 0).astype("uint8")
        picture, options = Image.fromarray(indices, "P"), {"transparency": 0}
        picture.putpalette([9, 9, 9, 10, 20, 30])
        shown = np.broadcast_to(np.uint8([10, 20, 30]), right.shape)
    else:
        hidden = Image.fromarray(right).convert(kind[:-1])
        picture, options = hidden.copy(), {}
        picture.putalpha(alpha)
        shown = np.asarray(hidden.convert("RGB"))
    picture.save(tmp_path / "a.png", **options)
    expected = np.where(opaque[..., None], shown, 255)
    np.testing.assert_array_equal(opened(tmp_path / "a.png")[0], expected)


def test_half_transparent_colours_are_mixed_with_white(tmp_path):
    Image.new("RGBA", (WIDTH, HEIGHT), (100, 0, 255, 51)).save(tmp_path / "a.png")
    # A fifth of the colour, four fifths of 255.
    image, _ = opened(tmp_path / "a.png")
    np.testing.assert_allclose(image, np.broadcast_to([224, 204, 255], image.shape), atol=1)


def test_folders_are_their_images_by_name(tmp_path, right):
    told = []
    for name in ("b.PNG", "a.jpg", ".hidden.png", "inside/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(right).save(tmp_path / name, "PNG")
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / "pages.pdf").write_text("none")  # Pillow saves this format, and reads it not.
    (tmp_path / "empty").mkdir()
    given = [tmp_path / "notes.txt", str(tmp_path), tmp_path / "empty", tmp_path / "gone.png"]
    assert find_images(given, told.append) == [
        tmp_path / name for name in ("notes.txt", "a.jpg", "b.PNG")
    ]
    assert [str(error) for error in told] == [
        f"There is no image file in the folder {tmp_path / 'empty'}.",
        f"There is no image file {tmp_path / 'gone.png'}.",
    ]
    with pytest.raises(ValueError, match=r"in the folder .*empty\. There is no image file .*gone"):
        find_images(given[2:], told.append)


def test_images_that_cannot_be_read_are_left_out(tmp_path, right):
    told = []
    Image.fromarray(right).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    (tmp_path / "c.png").mkdir()
    files = [tmp_path / name for name in ("c.png", "b.png", "a.png")]
    ((number, image, encoded),) = read_images(files, HEIGHT, WIDTH, False, told.append)
    assert number == 2 and encoded == files[2].read_bytes()
    np.testing.assert_array_equal(np.asarray(image), right)
    assert "c.png" in str(told[0])
    assert str(told[1]).endswith(
        "b.png is no image this program can read: it is of no known format"
    )


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(width, height, *chunks):
    """A PNG file of which the header is good."""
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    header = chunk(b"IHDR", size + b"\x08\x02\0\0\0")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def test_what_is_no_readable_image_is_one_sentence(tmp_path, right):
    buffer = io.BytesIO()
    Image.fromarray(right).save(buffer, "PNG")
    avif = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0\0\0\x08meta" * 2
    for name, data in {
        "empty": b"",
        "text": b"no picture",
        "half": buffer.getvalue()[:60],
        "bomb": png(20000, 20000),
        "avif": avif,
        "long": png(WIDTH, HEIGHT, chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 2**27))),
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"{name} is no image this program can read"):
            open_image(tmp_path / name, HEIGHT, WIDTH, resize=True)


def test_whatever_a_parser_raises_is_one_sentence(tmp_path, right, monkeypatch):
    Image.fromarray(right).save(tmp_path / "a.png")
    for kind in (KeyError, OverflowError, RuntimeError, IndexError):

        def parser(*_, kind=kind):
            raise kind("inside")

        monkeypatch.setattr(Image, "open", parser)
        with pytest.raises(ValueError, match="no image this program can read"):
            open_image(tmp_path / "a.png", HEIGHT, WIDTH, resize=False)


def test_numbers_in_floats_have_no_known_range(tmp_path):
    Image.new("F", (WIDTH, HEIGHT)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match="32 bits"):
        open_image(tmp_path / "a.tiff", HEIGHT, WIDTH, resize=False)


@pytest.fixture
def fails(tmp_path, monkeypatch, capsys):
    """Runs the command where no server is; returns its one line."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        given = ["--server", "localhost:1", "--model", "tiny", *map(str, arguments)]
        with pytest.raises(SystemExit) as end:
            client.main(given)
        error = capsys.readouterr().err
        assert (end.value.code, error.count("\n")) == (2, 1), error
        return error

    return run


def test_input_images_are_never_written_over(fails, tmp_path, right):
    Image.fromarray(right).save(tmp_path / "a.png")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.png").hardlink_to(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    for overwrite in ([], ["--overwrite"]):
        assert "one of the images" in fails("--out", ".", *overwrite, "a.png")
        assert "one of the images" in fails("--out", tmp_path, *overwrite, "./a.png")
        # The map of one input must not replace another input either.
        assert "one of the images" in fails("--out", ".", *overwrite, "other/b.png", "a.png")
    assert (tmp_path / "a.png").read_bytes() == before


def test_files_are_written_over_only_if_asked(fails, tmp_path, right):
    Image.fromarray(right).save(tmp_path / "a.png")
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "a.png").write_text("mine")
    assert "--overwrite" in fails("--out", "maps", "a.png")
    assert "UNAVAILABLE" in fails("--out", "maps", "--overwrite", "a.png")
    assert (tmp_path / "maps" / "a.png").read_text() == "mine"


def test_a_picture_is_named_without_looking_through_all_others(tmp_path, monkeypatch):
    compared, equal = [], PurePath.__eq__
    monkeypatch.setattr(PurePath, "__eq__", lambda *paths: compared.append(1) or equal(*paths))
    files = [Path(f"{folder}/{number}.jpg") for folder in "ab" for number in range(50)]
    names = [path.name for path in output_paths(tmp_path, files, overwrite=False)]
    assert names == [f"{number}{end}.png" for end in ("", "-2") for number in range(50)]
    assert len(compared) < 2 * len(files)


def test_numbers_out_of_range_are_one_line(fails, tmp_path, right):
    Image.fromarray(right).save(tmp_path / "a.png")
    for arguments, sentence in [
        (["--top", 0], "--top"),
        (["--top", -1], "--top"),
        (["--version", 10**20], "--version"),
        (["--version", -1], "--version"),
        (["--class-id", -1], "--class-id"),
        (["--class-id", 10**20], "--class-id"),
        (["--timeout", 0], "--timeout"),
        (["--timeout", "nan"], "--timeout"),
        (["--timeout", "1e300"], "--timeout"),
    ]:
        assert sentence in fails(*arguments, "a.png")


def test_probabilities_of_large_logits_are_told():
    told = client._best(np.float32([-1000, 0, 1000]), ["cat", "dog", "ship"], 3)
    assert re.findall(r"(\d\.\d+) \(", told) == ["1.000", "0.500", "0.000"]


def ask_nobody(folder):
    image, outputs = folder / "a.png", {"contribution_map": np.ones((1, 8, 8))}
    outputs["weights"] = np.ones((1, 8, 8, 6))
    client.save_map(folder / "map.png", Image.new("RGB", (8, 8)), outputs, "title")
    Image.new("RGB", (8, 8)).save(image)
    told = io.StringIO()
    with contextlib.redirect_stderr(told), pytest.raises(SystemExit) as end:
        client.main(["--server", "localhost:1", "--model", "tiny", str(image)])
    assert (end.value.code, told.getvalue().count("\n")) == (2, 1)
    assert "UNAVAILABLE" in told.getvalue()


def ask_nobody_without_keras(folder):
    ask_nobody(Path(folder))
    assert not {name.partition(".")[0] for name in sys.modules} & {"keras", "tensorflow"}


def test_the_client_needs_no_tensorflow(tmp_path):
    run_in_new_python(ask_nobody_without_keras, tmp_path)
    assert (tmp_path / "map.png").stat().st_size > 1000
