"""Tables of README.md and docs/ are those of stored results, and numbers stand in no others."""

import json
import re

import pytest

from docs import tables

pytestmark = [pytest.mark.once, pytest.mark.tensorflow]
PAGES = tables.pages()
NAMES = [page.relative_to(tables.ROOT).as_posix() for page in PAGES]
MEASURED = re.compile(r"[+-]?\d[\d,]*\.\d+(e-?\d+)?%?$")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_tables_are_those_of_stored_results(page):
    text = page.read_text("utf-8")
    assert tables.fill(text) == text, "make tables"


def test_every_table_is_shown():
    shown = {name for page in PAGES for _, name in tables.MARKED.findall(page.read_text("utf-8"))}
    assert shown == set(tables.TABLES)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_tables_of_measured_numbers_are_rendered(page):
    """A table outside of the marks has no two cells that are fractions."""
    others = tables.MARKED.sub("", page.read_text("utf-8"))
    for table in re.findall(r"(?:^\|.*\n)+", others, re.MULTILINE):
        cells = [cell.strip() for line in table.splitlines() for cell in line.split("|")]
        assert sum(bool(MEASURED.match(cell)) for cell in cells) < 2, table


@pytest.mark.parametrize("name", ["study", "metrics"])
def test_studies_name_the_command_that_made_them(name):
    command = json.loads((tables.ROOT / f"docs/results/cifar10-{name}.json").read_text())["command"]
    page = (tables.ROOT / "docs/cifar10.md").read_text().replace(" \\\n    ", " ")
    assert command in page


def test_pages_lose_nothing_but_old_tables():
    before = "a\n\n<!-- table presets -->\nold\n<!-- end -->\n\nb\n"
    after = tables.fill(before)
    assert "old" not in after and after.startswith("a\n") and after.endswith("\n\nb\n")
    assert tables.fill(after) == after
