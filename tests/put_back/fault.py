"""A fault, and the changes to the source that put it back."""

from __future__ import annotations

from pathlib import Path

import attrs


class Stale(Exception):
    """The source is no longer what a change was written for."""


@attrs.frozen
class Change:
    """One text in one file, where it must occur exactly once, and what stands there instead."""

    file: str
    old: str
    new: str

    def check(self, root: Path) -> None:
        """Raise `Stale` unless it can be made in the project at *root*."""
        path = root / self.file
        count = path.read_text().count(self.old) if path.exists() else 0
        if count != 1:
            raise Stale(f"{self.file} has this {count} times: {self.old!r}")

    def make(self, root: Path) -> None:
        """Make it in the project at *root*; raise `Stale` if that cannot be."""
        self.check(root)
        path = root / self.file
        path.write_text(path.read_text().replace(self.old, self.new))


@attrs.frozen
class Putting:
    """One way to put a fault back: *changes* that are made together."""

    how: str
    changes: tuple[Change, ...]


@attrs.frozen
class Fault:
    """What must not come (back) into the source.

    Attributes:
      name: What a test says that guards against it: ``@pytest.mark.guards("...")``.
      words: What goes wrong.
      puttings: Ways to put it back, each of which has to be noticed.
      unreached: Why there is none of them yet.
      select: Which of the tests to run, if they are many: as ``pytest -k``.
    """

    name: str
    words: str
    puttings: tuple[Putting, ...] = ()
    unreached: str = ""
    select: str = ""


def put(how: str, file: str, old: str, new: str) -> Putting:
    """Return a putting that is one change."""
    return Putting(how, (Change(file, old, new),))
