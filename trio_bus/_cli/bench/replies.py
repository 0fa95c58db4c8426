"""What a floor reads in the reply to XREADGROUP."""

from __future__ import annotations

from typing import cast

from trio_bus._redis.resp import Reply

Entry = tuple[bytes, list[bytes]]
"""An id, and fields with their values."""


def entries(reply: Reply) -> list[Entry]:
    """Return the entries of one stream: none if there was nothing to read."""
    if reply is None:
        return []
    streams = cast("dict[bytes, list[Entry]]", reply)
    (found,) = streams.values()
    return found
