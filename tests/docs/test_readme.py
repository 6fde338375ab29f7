"""What the README shows works as printed."""

import re
import runpy
from pathlib import Path

import pytest

pytestmark = [pytest.mark.once, pytest.mark.process]

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet_runs(snippet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "snippet.py"
    script.write_text(snippet)
    runpy.run_path(str(script))


def test_files_named_exist():
    named = re.findall(r"(?:recipes|export|docs|benchmarks|coda_keras)/[\w/.-]+\.\w+", README)
    assert named
    missing = sorted({name for name in named if not (ROOT / name).exists()})
    assert not missing


def test_every_snippet_is_found():
    assert len(SNIPPETS) == README.count("```python")


def test_the_readme_is_short_and_keeps_its_commands():
    assert len(README.splitlines()) <= 150
    lines = README.splitlines()
    for line in ("make demo", "make test", "python recipes/cifar10.py", "pip install coda-keras"):
        assert line in lines
    assert README.count("source .venv/bin/activate") == 1
