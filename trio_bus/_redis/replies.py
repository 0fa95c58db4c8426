"""Replies of unknown shape to values of a known one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import cast

from trio_bus._backend import Entry, Record
from trio_bus._entry_id import EntryId
from trio_bus._errors import Unsupported

from .errors import to_exception
from .resp import ErrorReply, Reply

new_entry_id = cast(
    "Callable[[type[EntryId], tuple[int, int]], EntryId]",
    getattr(tuple, "__new__"),  # noqa: B009 - its type is partly unknown
)
"""Makes an id as ``EntryId(...)`` does, which is Python code."""
_join = b"".join
_NO_NUMBERS = repeat(0)


def checked(reply: Reply) -> Reply:
    """Return *reply*, or raise it if it is a refusal.

    Raises:
      RemoteError: what the server refused.
    """
    if isinstance(reply, ErrorReply):
        raise to_exception(reply)
    return reply


def as_int(reply: Reply) -> int:
    """Return a number."""
    got = checked(reply)
    if not isinstance(got, int):
        raise _unexpected("a number", got)
    return got


def as_bytes(reply: Reply) -> bytes:
    """Return a string."""
    if isinstance(reply, bytes):  # nearly always
        return reply
    raise _unexpected("a string", checked(reply))


def as_text(reply: Reply) -> str:
    """Return a name; bytes that are not UTF-8 are shown, not refused: they are foreign."""
    return as_bytes(reply).decode("utf-8", "backslashreplace")


def as_list(reply: Reply) -> list[Reply]:
    """Return an array; nothing is an empty one."""
    got = checked(reply)
    if got is None:
        return []
    if not isinstance(got, list):
        raise _unexpected("an array", got)
    return got


def as_map(reply: Reply) -> dict[bytes, Reply]:
    """Return a map; servers that do not know maps send a flat array."""
    got = checked(reply)
    if isinstance(got, dict):
        return got
    flat = as_list(got)
    return {as_bytes(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def as_entry_id(reply: Reply) -> EntryId:
    """Return an entry id; the server is trusted to write it well."""
    text = reply if type(reply) is bytes else as_bytes(reply)
    ms, _, seq = text.partition(b"-")
    # Not by way of its constructor: each message has one.
    return new_entry_id(EntryId, (int(ms), int(seq)))


def as_record(reply: Reply) -> Record:
    """Return the fields of an entry."""
    words = iter([as_bytes(item) for item in as_list(reply)])
    return tuple(zip(words, words, strict=True))


def as_row(reply: Reply, width: int) -> Sequence[Reply]:
    """Return an array of at least that many items."""
    row = as_list(reply)
    if len(row) < width:
        raise _unexpected(f"an array of {width}", row)
    return row


def read_entries(reply: Reply, numbers: Iterator[int] = _NO_NUMBERS) -> list[Entry]:
    """Return what XREADGROUP brought for one stream; nothing is an empty list.

    It was never delivered before. Each delivery gets the next of *numbers*.
    """
    got = checked(reply)
    if got is None:
        return []
    streams = (
        list(got.values()) if isinstance(got, dict) else [as_row(s, 2)[1] for s in as_list(got)]
    )
    rows = [row for stream in streams for row in as_list(stream)]
    try:
        return _usual(cast("list[tuple[bytes, list[bytes]]]", rows), numbers)
    except (AttributeError, TypeError, ValueError):
        return [_entry(row, next(numbers)) for row in rows]


def _usual(rows: Sequence[tuple[bytes, list[bytes]]], numbers: Iterator[int]) -> list[Entry]:
    """Return entries that are as they should be, in half the time: a read brings many.

    Raises:
      AttributeError, TypeError, ValueError: some are not.
    """
    found: list[Entry] = []
    last, ms = b"", 0
    for (entry_id, flat), number in zip(rows, numbers, strict=False):
        if type(flat) is not list or len(flat) % 2:
            raise TypeError("an array of pairs was expected")
        size = len(_join(flat))  # nothing sees sooner that all are bytes
        millis, _, seq = entry_id.partition(b"-")
        if millis != last:  # many are of one moment
            last, ms = millis, int(millis)
        found_id = new_entry_id(EntryId, (ms, int(seq)))
        # (Of a tuple of bytes the garbage collector finds out that it need not look at it again.)
        words = tuple(flat)
        found.append(Entry(found_id, (), 1, number, False, size, words))  # noqa: FBT003 - faster
    return found


def _entry(reply: Reply, number: int) -> Entry:
    entry_id, flat = as_row(reply, 2)[:2]
    return Entry(as_entry_id(entry_id), as_record(flat), delivery=number)


def _unexpected(wanted: str, got: Reply) -> Unsupported:
    """Say that the server answers in a way that no server we know does, without its data."""
    return Unsupported(f"REPLY the server sent {type(got).__name__} instead of {wanted}")
