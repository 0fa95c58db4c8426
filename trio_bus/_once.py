"""A record that is stored once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ._errors import ValidationError

if TYPE_CHECKING:
    from ._settlement import Record

MAX_ONCE_FIELDS = 3500
"""Fields of a record that is stored `Once`: a script cannot pass many more on."""


@attrs.frozen
class Once:
    """Store a record only if none with this key was stored in its topic in the last seconds.

    Otherwise the id of that one is the answer, also when it was trimmed meanwhile. The time runs
    from when it was stored, on the clock of the server; being asked for again does not prolong it.
    """

    key: str
    """Any text but none, of any length."""
    window: float
    """Seconds, above 0."""


@attrs.frozen
class Append:
    """One record, and where it goes."""

    topic: str
    record: Record
    once: Once | None = None


def too_many_fields(record: Record) -> ValidationError | None:
    """Return why this record cannot be stored `Once`; None if it can."""
    if len(record) <= MAX_ONCE_FIELDS:
        return None
    return ValidationError(
        f"record: {len(record):,} fields; with an idempotency key, at most {MAX_ONCE_FIELDS:,}"
    )
