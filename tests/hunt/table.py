"""The table of what was found: a file that the hunter alone writes."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

TABLE = "docs/mutations.csv"
TITLES = ("Fault", "Put", "Caught by", "After", "With", "Why no suite")


@attrs.frozen
class Row:
    """What came of one fault, put in one way."""

    fault: str
    how: str
    caught_by: str
    """A suite; ``tests`` where no suite can see it; empty if nothing caught it."""
    after: str
    """How many examples of what kind."""
    shown: str
    """What broke."""
    reason: str
    """Why no suite can see it."""

    @property
    def key(self) -> tuple[str, str]:
        """Tell it from the others."""
        return self.fault, self.how


def read_rows(root: Path) -> dict[tuple[str, str], Row]:
    """Return what is known so far, by its key."""
    path = root / TABLE
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = [Row(*cells) for cells in csv.reader(file)]
    return {row.key: row for row in rows[1:]}


def write_rows(root: Path, rows: Iterable[Row], order: Sequence[tuple[str, str]]) -> None:
    """Write them in that order; leave out what is in no list any more."""
    known = {row.key: row for row in rows}
    with (root / TABLE).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(TITLES)
        writer.writerows(attrs.astuple(known[key]) for key in order if key in known)
