"""What can be scheduled."""

from __future__ import annotations

from ._backend import Record
from ._errors import ValidationError
from ._once import MAX_ONCE_FIELDS


def check_schedulable(record: Record) -> None:
    """Check what ``StreamBackend.schedule`` is given: a script has to pass it on.

    Raises:
      ValidationError: the record has too many fields, or none.
    """
    if not 1 <= len(record) <= MAX_ONCE_FIELDS:
        raise ValidationError(
            f"record: {len(record):,} fields, from 1 to {MAX_ONCE_FIELDS:,} can be scheduled"
        )
