"""Appending one record, as the script of the server does it."""

from __future__ import annotations

import math

from trio_bus._backend import Record
from trio_bus._entry_id import EntryId
from trio_bus._once import Once, too_many_fields

from .server import Server
from .stream_commands import xadd


def append_once(
    server: Server, topic: str, record: Record, once: Once | None, now_ms: int
) -> EntryId:
    """Append a record unless its key is remembered; return the id under which it is stored.

    Raises:
      StreamError: what the server refuses.
      ValidationError: the record has a key and too many fields.
    """
    if once is None:
        return _append(server, topic, record, now_ms)
    if error := too_many_fields(record):
        raise error
    found = server.marks.find(topic, once.key, now_ms)
    if found is not None:
        return found
    added = _append(server, topic, record, now_ms)
    server.marks.add(topic, once.key, added, now_ms + math.ceil(once.window * 1000))
    return added


def _append(server: Server, topic: str, record: Record, now_ms: int) -> EntryId:
    added = xadd(server.store, topic, "*", record, now_ms)
    assert added is not None, "only NOMKSTREAM answers nothing"
    return added
