"""The id that a server gives to an entry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ._errors import ValidationError

_LIMIT = 2**64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


class EntryId(NamedTuple):
    """Where an entry stands in its stream: milliseconds since 1970, and a number within them.

    Ids of one stream grow with each entry and compare like the stream is ordered. They repeat
    after the stream was deleted, so they are no names for messages: use ``Message.uid``.
    """

    ms: int
    seq: int = 0

    @classmethod
    def parse(cls, text: str | bytes) -> EntryId:
        """Read ``"1700000000000-0"``.

        Raises:
          ValidationError: *text* is not such an id.
        """
        shown = text.decode("ascii", "replace") if isinstance(text, bytes) else text
        ms, _, seq = shown.partition("-")
        if not (_is_number(ms) and _is_number(seq or "0")):
            raise ValidationError(f"entry id: {shown!r} is not like '1700000000000-0'")
        return cls(int(ms), int(seq or "0"))

    @property
    def time(self) -> datetime:
        """When the entry was added, by the clock of the server, in UTC; at most the year 9999."""
        return _EPOCH + timedelta(milliseconds=min(self.ms, _LAST_MS))

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20 and int(text) < _LIMIT
