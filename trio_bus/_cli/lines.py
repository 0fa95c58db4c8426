"""Cutting bytes into lines. Pure."""

from __future__ import annotations

import attrs


@attrs.frozen
class Line:
    """One line, without its newline and with everything else."""

    number: int
    """The first one is 1."""
    text: bytes
    """Cut where the limit is, if it is longer."""
    size: int
    """In bytes, also of what was cut."""


@attrs.define
class LineSplitter:
    """Turns chunks of bytes into lines; of a line longer than *limit* it keeps no more than that.

    A newline ends a line, nothing else does. What follows the last newline is a line too, unless
    it is empty.
    """

    _limit: int
    _number: int = 0
    _parts: list[bytes] = attrs.field(factory=list[bytes])
    _size: int = 0
    _kept: int = 0

    def feed(self, chunk: bytes) -> list[Line]:
        """Return the lines that end in this chunk."""
        *ended, rest = chunk.split(b"\n")
        lines: list[Line] = []
        for part in ended:
            self._keep(part)
            lines.append(self._line())
        self._keep(rest)
        return lines

    def finish(self) -> list[Line]:
        """Return the last line, if the input did not end with a newline."""
        return [self._line()] if self._size else []

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        kept = part[: self._limit - self._kept]
        if kept:
            self._kept += len(kept)
            self._parts.append(kept)

    def _line(self) -> Line:
        self._number += 1
        line = Line(self._number, b"".join(self._parts), self._size)
        self._parts.clear()
        self._size = self._kept = 0
        return line
