"""The command that explains data sets, and the explorer of what it leaves."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from coda_keras_recipes import explain_data, explore
from PIL import Image

pq = pytest.importorskip("pyarrow.parquet")
ROOT = Path(__file__).resolve().parents[2]
MODEL = "s_coda_quarter_cifar10"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of two classes, one of them broken."""
    root = tmp_path_factory.mktemp("images")
    values = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for number in range(3):
            pixels = values.integers(0, 256, (32, 32, 3)).astype("uint8")
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    (root / "dog/2.png").write_bytes(b"none")
    return root


def run(main, *line):
    """The exit code of a command."""
    try:
        main([str(word) for word in line], "coda-keras")
    except SystemExit as end:
        return end.code
    return 0


def test_a_data_set_is_explained_told_and_opened(folder, tmp_path, capsys):
    out, page = tmp_path / "explained", tmp_path / "page.html"
    line = (folder, "--model", MODEL, "--out", out)
    for _ in range(2):
        assert run(explain_data.main, *line) == 1
        said = capsys.readouterr().out
        assert said == f"explained  6 images, 1 of them with an error: {out}\n"
    rows = pq.read_table(out).to_pylist()
    assert [row["id"] for row in rows if row["error"]] == ["dog/2.png"]
    assert [row["label_name"] for row in rows] == ["cat"] * 3 + ["dog"] * 3
    flags = ("--sort", "probability", "--descending", "--output", page)
    assert run(explore.main, out, "--label", "cat", *flags) == 0
    assert capsys.readouterr().out == f"explorer  {page}, 3 of 3 images\n"
    text = page.read_text("utf-8")
    cats = sorted(rows[:3], key=lambda row: -row["probability"])
    places = [text.index(f'"name": "{row["id"]}"') for row in cats]
    assert places == sorted(places) and "dog/0.png" not in text
    # As README and the guide read it.
    read = pytest.importorskip("pandas").read_parquet(out).dropna(subset=["predicted"])
    assert np.stack(read["map"]).reshape(-1, 32, 32).shape == (5, 32, 32)
    for shown in ("README.md", "docs/guides/many-images.md"):
        reads = 'pd.read_parquet("explanations").dropna(subset=["predicted"])'
        assert reads in (ROOT / shown).read_text("utf-8")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--model", "x"], "--model is for images"),
        (["--label", "cow"], "There is no class 'cow'."),
        (["--sort", "probability", "--from", "2"], "None of the images in"),
    ],
)
def test_mistakes_about_an_explained_folder_are_one_line(folder, tmp_path, line, said, capsys):
    out = tmp_path / "explained"
    assert run(explain_data.main, folder / "cat", "--model", MODEL, "--out", out) == 0
    capsys.readouterr()
    assert run(explore.main, out, *line, "--output", tmp_path / "page.html") == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1


def test_a_command_that_was_killed_goes_on(tmp_path):
    """SIGKILL once the first file is there; the same command leaves every row once."""
    images = np.random.default_rng(0).integers(0, 256, (1250, 32, 32, 3)).astype("uint8")
    np.savez(tmp_path / "data.npz", images=images)
    out = tmp_path / "out"
    line = [sys.executable, "-m", "coda_keras", "explain-data", str(tmp_path / "data.npz")]
    line += ["--model", MODEL, "--out", str(out)]
    process = subprocess.Popen(line)
    while not list(out.glob("part-*.parquet")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = {path: path.stat().st_mtime_ns for path in out.glob("part-*.parquet")}
    assert run(explain_data.main, *line[4:]) == 0
    assert pq.read_table(out, columns=["row"])["row"].to_pylist() == list(range(len(images)))
    assert all(path.stat().st_mtime_ns == before for path, before in first.items())
