"""The manual's page about the fake stream says what the data and the tests say."""

from __future__ import annotations

import re
from pathlib import Path

from tests.dialect_table import table

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def test_the_table_of_differences_is_the_data() -> None:
    """After a change: ``python -m tests.dialect_table > docs/dialects.inc``."""
    assert (DOCS / "dialects.inc").read_text() == table()


def test_the_figures_on_the_page_are_those_that_the_tests_demand() -> None:
    page = (DOCS / "faithful.rst").read_text()
    for module in ("test_stream_against_servers", "test_blocked_reads_against_servers"):
        source = (ROOT / "property_tests" / f"{module}.py").read_text()
        (floor,) = re.findall(r"^FLOOR = ([\d_]+)$", source, re.MULTILINE)
        assert f"{int(floor):,} " in page


def test_the_tests_that_the_pages_name_exist() -> None:
    sources = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "property_tests").rglob("*.py")]
    defined = set(re.findall(r"def (test_\w+)", "".join(it.read_text() for it in sources)))
    for name in ("faithful.rst", "found.rst"):
        named = set(re.findall(r"``(test_\w+)``", (DOCS / name).read_text()))
        assert len(named) >= 2
        assert named <= defined
