"""What a cluster keeps together."""

from __future__ import annotations

from collections.abc import Iterable

from redis.crc import key_slot

from ._errors import ValidationError
from ._names import shown


def check_one_slot(topic: str, others: Iterable[str], field: str) -> None:
    """Check that one step can change all of these streams, on a cluster too.

    Raises:
      ValidationError: one of the others has another slot; the text names both, and *field*.
    """
    slot = key_slot(topic.encode())
    for other in others:
        if key_slot(other.encode()) != slot:
            raise ValidationError(
                f"{field}: {shown(other)} does not share a slot with the topic {shown(topic)}:"
                " give both one hash tag, as in '{orders}' and '{orders}.done'"
            )
