"""docs/field_cases.md names tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "field_cases.md"


def test_every_row_names_tests_that_exist():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    last_cells = [row.rsplit(" | ", 1)[1] for row in rows if not row.startswith("| what a user")]
    assert len(last_cells) >= 35
    for cell in last_cells:
        files = re.findall(r"`(\w+\.py)`", cell)
        text = "".join((TESTS / file).read_text(encoding="utf-8") for file in files)
        for name in re.findall(r"`([a-z_]+)…?`", cell):
            assert f"def test_{name}" in text, (name, files)
        assert files or cell == "the same |", cell
