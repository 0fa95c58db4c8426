"""What is raised where an invariant does not hold."""

from __future__ import annotations

from typing import final

from trio_bus.testing._line import Line


@final
class InvariantBroken(AssertionError):
    """trio_bus broke one of its promises; the text names it, and says what happened.

    Args:
      number: Of the promise, in the table of the manual.
      name: Of the promise.
      words: What happened.
      line: Where in the journal; None where the streams themselves were looked at.
    """

    def __init__(self, number: int, name: str, words: str, line: Line | None = None) -> None:
        where = "" if line is None else f" (at {line.time:.3f} s, {line.actor} {line})"
        super().__init__(f"invariant {number}, {name}: {words}{where}")
        self.number: int = number
        self.name: str = name
        self.words: str = words
        self.line: Line | None = line
