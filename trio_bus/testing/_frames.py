"""Where commands and replies begin and end in a stream of bytes. Nothing is kept of them."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

_LONGEST_NAME = 64
"""Bytes: a longer first word is not the name of a command."""
_LINES = (b"+", b"-", b":", b",", b"#", b"_", b"(")
_STRINGS = (b"$", b"=", b"!")
_ARRAYS = (b"*", b"~", b">")


@attrs.frozen
class Piece:
    """Bytes that lie in one frame: a command, a reply or a push."""

    data: bytes
    begins: bool
    """Whether a frame begins here; what the server does not answer is none."""
    ends: bool
    """Whether the frame ends here."""
    kind: bytes
    """The first byte of the frame."""
    name: bytes
    """The first word, in capitals; empty where it is not wanted, or not a word."""
    items: int
    """How many words the frame has."""


class Frames:
    """Finds the frames of one direction of a connection.

    Bytes are given out as they come, with one exception: a frame that has a name begins when the
    name is complete, and so at most about a hundred bytes of it are held back. What is not RESP
    belongs to no frame, and neither does what comes after it.

    Args:
      named: The first byte of frames whose name is wanted.
      are_commands: Whether a frame may also be a line of words, and may say nothing.
    """

    def __init__(self, named: bytes, *, are_commands: bool) -> None:
        self._named = named
        self._are_commands = are_commands
        self._is_foreign = False  # it is not RESP
        # Of the frame that goes on:
        self._held = b""  # not given out, because the name is not complete
        self._begun = False  # something was given out
        self._left = 0  # items that it still has to bring
        self._kind = b""
        self._name = b""
        self._naming = False  # the next string is the name
        self._items = 1
        # Of the item that goes on:
        self._line = b""  # the beginning of an incomplete line
        self._is_first = True  # it is the first line of the frame
        self._skip = 0  # bytes of a string that are still to come, its line end included

    def feed(self, data: bytes | bytearray) -> Iterator[Piece]:
        """Give the pieces that *data* consists of, in order."""
        data = bytes(data)
        start = at = 0
        while at < len(data) and not self._is_foreign:
            if not self._left:
                self._open(data[at : at + 1])
            at = self._read_string(data, at) if self._skip else self._read_line(data, at)
            if not self._left and not self._is_foreign:
                yield self._piece(data[start:at], ends=True)
                start = at
        if start < len(data):
            if self._naming:
                self._held += data[start:]
            else:
                yield self._piece(data[start:], ends=False)

    def rest(self) -> bytes:
        """Return what is held back, when nothing comes any more."""
        held, self._held = self._held, b""
        return held

    def _open(self, kind: bytes) -> None:
        self._kind, self._name, self._items = kind, b"", 1
        self._left, self._is_first, self._begun = 1, True, False
        self._naming = kind == self._named or self._are_commands

    def _piece(self, data: bytes, *, ends: bool) -> Piece:
        says_nothing = self._are_commands and self._items <= 0
        begins = not (self._begun or self._is_foreign or says_nothing)
        self._begun = True
        return Piece(self.rest() + data, begins, ends, self._kind, self._name.upper(), self._items)

    def _read_string(self, data: bytes, at: int) -> int:
        end = min(at + self._skip, len(data))
        self._skip -= end - at
        if self._naming:
            self._name += data[at:end]
            if not self._skip:
                self._call_it(self._name[:-2])
        if not self._skip:
            self._left -= 1
        return end

    def _read_line(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at) + 1
        until = end or len(data)
        # No line that matters is longer.
        self._line = (self._line + data[at:until])[:_LONGEST_NAME]
        if end:
            line, self._line = self._line, b""
            self._take_line(line)
            self._is_first = False
        elif self._naming and len(self._line) == _LONGEST_NAME:
            self._call_it(self._first_word(self._line))
        return until

    def _take_line(self, line: bytes) -> None:
        kind = line[:1]
        if self._is_first and self._are_commands and kind != b"*":
            self._items = len(line.split()[:1])
            self._call_it(self._first_word(line))
            self._left = 0
            return
        try:
            self._take_item(kind, line)
        except ValueError:
            self._is_foreign = True
        if self._is_foreign:
            self._naming = False

    def _take_item(self, kind: bytes, line: bytes) -> None:
        if kind in _ARRAYS:
            items = int(line[1:])
            self._left += max(0, items) - 1
            if self._is_first:
                self._items = items
            self._naming = self._naming and self._is_first and items > 0
        elif kind in _STRINGS:
            length = int(line[1:])
            self._skip = length + 2 if length >= 0 else 0
            self._left -= length < 0
            self._naming = self._naming and 0 <= length <= _LONGEST_NAME
        elif kind == b"%":
            self._left += 2 * int(line[1:]) - 1
        elif kind == b"|":  # something about the reply, which comes after it
            self._left += 2 * int(line[1:])
        elif kind in _LINES:
            self._left -= 1
            self._naming = False
        else:
            self._is_foreign = True

    def _call_it(self, name: bytes) -> None:
        self._name, self._naming = name, False

    @staticmethod
    def _first_word(line: bytes) -> bytes:
        return (line.split() or [b""])[0]
