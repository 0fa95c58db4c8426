"""Appending once: the key that remembers a record, and the command that looks at it first."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from hashlib import sha256
from importlib.resources import files

from trio_bus._backend import Record
from trio_bus._names import own_key
from trio_bus._once import Once

_LONGEST_KEY = 256


def mark_of(topic: str, key: str) -> str:
    """Name the key on the server that remembers *key*; it shares the slot of the topic.

    A long one goes by its hash, under a name of its own: so no other key can look like it.
    """
    raw = key.encode()
    if len(raw) <= _LONGEST_KEY:
        return own_key(topic, "once", key)
    return own_key(topic, "once-sha256", sha256(raw).hexdigest())


def pack_once(topic: str, record: Record, once: Once, *, write_again: bool) -> bytes:
    """Pack the command that appends *record* unless its key is remembered.

    With *write_again*, one that is remembered is a write as well, which changes nothing.
    """
    window_ms = math.ceil(once.window * 1000)
    mark = mark_of(topic, once.key).encode()
    parts = [
        _opening(topic, len(record)),
        b"$%d\r\n%b" % (len(mark), mark),
        b"$%d\r\n%d" % (len(str(window_ms)), window_ms),
        b"$1\r\n%d" % write_again,
    ]
    for name, value in record:
        parts += (b"$%d" % len(name), name, b"$%d" % len(value), value)
    parts.append(b"")
    return b"\r\n".join(parts)


@lru_cache(maxsize=1024)
def _opening(topic: str, fields: int) -> bytes:
    """Return the command up to its first key, without the last line end."""
    stream, text = topic.encode(), _text()
    return b"*%d\r\n$4\r\nEVAL\r\n$%d\r\n%b\r\n$1\r\n2\r\n$%d\r\n%b" % (
        *(7 + 2 * fields, len(text), text),
        *(len(stream), stream),
    )


@cache
def _text() -> bytes:
    """Return the script without its comments: it travels with each record."""
    lines = (files(__package__ or "") / "scripts" / "append_once.lua").read_text("utf-8")
    kept = [line.strip() for line in lines.splitlines() if not line.strip().startswith("--")]
    return "\n".join(kept).encode()
