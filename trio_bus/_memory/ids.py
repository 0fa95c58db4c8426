"""How entry ids and intervals of ids are written."""

from __future__ import annotations

import re

from trio_bus._entry_id import EntryId

from .errors import StreamError

LAST = 2**64 - 1
MIN_ID = EntryId(0, 0)
MAX_ID = EntryId(LAST, LAST)

# What C's strtoull takes, which is what servers fall back to: blanks, a plus, leading zeros.
_NUMBER = re.compile(r"[ \t\n\v\f\r]*\+?([0-9]+)")


def parse(text: str, *, sequence: int = 0) -> EntryId:
    """Read ``7-1``, or ``7`` with *sequence*.

    Raises:
      StreamError: the text is not an id.
    """
    ms, dash, seq = text.partition("-")
    return EntryId(_number(ms), _number(seq) if dash else sequence)


def parse_bound(text: str, *, sequence: int = 0) -> EntryId:
    """Read an id, or ``-`` and ``+`` for the smallest and the greatest one.

    Raises:
      StreamError: the text is none of these.
    """
    special = {"-": MIN_ID, "+": MAX_ID}
    return special[text] if text in special else parse(text, sequence=sequence)


def parse_start(text: str) -> EntryId:
    """Read where an interval begins; ``(`` before an id leaves that id out.

    Raises:
      StreamError: the text is not a bound.
    """
    if not text.startswith("("):
        return parse_bound(text)
    after = following(parse(text[1:]))
    if after is None:
        raise StreamError("ERR invalid start ID for the interval")
    return after


def parse_end(text: str) -> EntryId:
    """Read where an interval ends; ``(`` before an id leaves that id out.

    Raises:
      StreamError: the text is not a bound.
    """
    if not text.startswith("("):
        return parse_bound(text, sequence=LAST)
    before = preceding(parse(text[1:], sequence=LAST))
    if before is None:
        raise StreamError("ERR invalid end ID for the interval")
    return before


def following(entry_id: EntryId) -> EntryId | None:
    """Return the next id; None after the last one there is."""
    if entry_id.seq < LAST:
        return EntryId(entry_id.ms, entry_id.seq + 1)
    return EntryId(entry_id.ms + 1, 0) if entry_id.ms < LAST else None


def preceding(entry_id: EntryId) -> EntryId | None:
    """Return the id before; None before the first one there is."""
    if entry_id.seq > 0:
        return EntryId(entry_id.ms, entry_id.seq - 1)
    return EntryId(entry_id.ms - 1, LAST) if entry_id.ms > 0 else None


def _number(text: str) -> int:
    found = _NUMBER.fullmatch(text)
    value = int(found[1]) if found and len(text) < 100 else LAST + 1
    if value > LAST:
        raise invalid()
    return value


def invalid() -> StreamError:
    """Make the error for what is not an id."""
    return StreamError("ERR Invalid stream ID specified as stream command argument")
