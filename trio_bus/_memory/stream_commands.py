"""The commands on whole streams, with ids as text and the server's answers and errors."""

from __future__ import annotations

from trio_bus._backend import Record
from trio_bus._entry_id import EntryId

from .errors import StreamError
from .ids import MIN_ID, invalid, parse, parse_end, parse_start
from .store import Store
from .stream import AutoSequence, Trim

Row = tuple[EntryId, Record | None]
"""An entry as commands return it; None stands for the body of a deleted one."""


def xadd(
    store: Store,
    key: str,
    entry_id: str,
    record: Record,
    now_ms: int,
    *,
    trim: Trim | None = None,
    create: bool = True,
) -> EntryId | None:
    """Append an entry; None when the key is missing and *create* is false (NOMKSTREAM).

    Raises:
      StreamError: the id is no id or not greater than the last one; there are no fields; WRONGTYPE.
    """
    # Servers count arguments before they read them, and options count.
    if not record and trim is None:
        raise StreamError("ERR wrong number of arguments for 'xadd' command")
    wanted = _wanted(store, entry_id)
    if trim is not None:
        _check_limit(trim)
    if not record:
        raise StreamError(store.dialect.too_few_fields)
    if wanted == MIN_ID:
        raise StreamError("ERR The ID specified in XADD must be greater than 0-0")
    stream = store.make_stream(key) if create else store.find_stream(key)
    if stream is None:
        return None
    added = stream.append(wanted, record, now_ms)
    if added is None:
        raise StreamError(store.dialect.no_sequence_left[0])
    if trim is not None:
        stream.trim(trim)
    store.mark_changed(key)
    return added


def make_trim(
    *,
    maxlen: int | None = None,
    minid: str | None = None,
    approximate: bool = False,
    limit: int | None = None,
) -> Trim:
    """Read the options that XADD and XTRIM share.

    Raises:
      StreamError: a number is negative, or both strategies are given.
    """
    if maxlen is not None and maxlen < 0:
        raise StreamError("ERR The MAXLEN argument must be >= 0.")
    min_id = MIN_ID if minid is None else parse(minid)
    if maxlen is not None and minid is not None:
        raise StreamError(
            "ERR syntax error, MAXLEN and MINID options at the same time are not compatible"
        )
    if limit is not None and limit < 0:
        raise StreamError("ERR The LIMIT argument must be >= 0.")
    return Trim(max_length=maxlen, min_id=min_id, approximate=approximate, limit=limit)


def xtrim(store: Store, key: str, trim: Trim) -> int:
    """Remove the oldest entries; return how many.

    Raises:
      StreamError: there is a limit, but trimming is not approximate; WRONGTYPE.
    """
    _check_limit(trim)
    stream = store.find_stream(key)
    return stream.trim(trim) if stream else 0


def xdel(store: Store, key: str, entry_ids: list[str]) -> int:
    """Remove entries; return how many there were. They stay pending where they are.

    Raises:
      StreamError: a text is not an id, and nothing was removed; WRONGTYPE.
    """
    stream = store.find_stream(key)
    if stream is None:
        return 0
    return sum([stream.delete(found) for found in [parse(text) for text in entry_ids]])


def xlen(store: Store, key: str) -> int:
    """Count the entries.

    Raises:
      StreamError: WRONGTYPE.
    """
    stream = store.find_stream(key)
    return len(stream.entries) if stream else 0


def xrange(
    store: Store, key: str, start: str, end: str, count: int | None = None
) -> list[Row] | None:
    """Return the entries between both bounds; None when *count* is 0 or less.

    Raises:
      StreamError: a bound is not one; WRONGTYPE.
    """
    first, last = parse_start(start), parse_end(end)
    stream = store.find_stream(key)
    if stream is None:
        return []
    if count is not None and count <= 0:
        return None
    return [(found, stream.entries[found]) for found in stream.range(first, last, count)]


def delete(store: Store, key: str) -> int:
    """Remove a key with its groups (DEL); return how many there were: 1 or 0."""
    return store.delete(key)


def _check_limit(trim: Trim) -> None:
    if trim.limit is not None and not trim.approximate:
        raise StreamError("ERR syntax error, LIMIT cannot be used without the special ~ option")


def _wanted(store: Store, text: str) -> EntryId | AutoSequence | None:
    if text == "*":
        return None
    if not text.endswith("-*"):
        return parse(text)
    if not store.dialect.auto_sequence:
        raise invalid()
    return AutoSequence(parse(text[:-2] + "-0").ms)
