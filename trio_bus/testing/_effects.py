"""What the transactions of a run publish: whoever looks at the streams knows whose it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trio_bus._backend import Record
from trio_bus._entry_id import EntryId
from trio_bus._message import Message

if TYPE_CHECKING:
    from trio_bus._delivery import Delivery

_MARK = b"effect|"


@attrs.frozen
class Effect:
    """One output: of which entry of which group, of whose transaction, and which of how many."""

    topic: str
    group: str
    entry_id: EntryId
    author: str
    part: int
    parts: int


def effects_of(
    delivery: Delivery, group: str, author: str, output_topic: str, parts: int
) -> list[Message]:
    """Return what one transaction publishes; *author* tells it from all others."""
    about = f"{delivery.message.topic}|{group}|{delivery.entry_id}|{author}"
    return [
        Message(output_topic, _MARK + f"{about}|{part}|{parts}".encode()) for part in range(parts)
    ]


def effect_in(record: Record) -> Effect | None:
    """Read what `effects_of` made, out of a record."""
    for _, value in record:
        if value.startswith(_MARK):
            _, topic, group, entry_id, author, part, parts = value.decode().split("|")
            return Effect(topic, group, EntryId.parse(entry_id), author, int(part), int(parts))
    return None
