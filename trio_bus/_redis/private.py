"""Groups that belong to one consumer each, on a server."""

from __future__ import annotations

import math
from collections.abc import Iterable

from trio_bus._entry_id import EntryId
from trio_bus._names import own_key

from . import scripts
from .graves import notes_key
from .link import Link
from .replies import as_entry_id, checked
from .scripts import ScriptCall

NOT_PRIVATE = -1
"""Stands for the expiry of a group that has none."""


def expiry_ms(expiry: float | None) -> int:
    """Write an expiry for a script."""
    return NOT_PRIVATE if expiry is None else math.ceil(expiry * 1000)


def private_groups_key(topic: str) -> str:
    """Name the sorted set of the private groups of a topic."""
    return own_key(topic, "fan_out", "")


async def create(
    link: Link, topic: str, group: str, start: EntryId | None, expiry: float
) -> EntryId | None:
    """Create a group; see `StreamBackend.create_private`."""
    position = "$" if start is None else str(start)
    arguments = (group, position, expiry_ms(expiry))
    call = ScriptCall("create_private", _keys(topic, group), arguments)
    begin = checked(await scripts.run(link, call))
    return as_entry_id(begin) if begin else None


async def remove(link: Link, topic: str, group: str) -> None:
    """Remove one with all that belongs to it."""
    checked(await scripts.run(link, _removal(topic, group, expired=False)))


async def remove_expired(link: Link, topic: str, groups: Iterable[str]) -> None:
    """Remove those of them whose expiry is still over. What is refused, the next look meets."""
    calls = [_removal(topic, group, expired=True) for group in groups]
    if calls:
        await scripts.run_many(link, calls)


def _removal(topic: str, group: str, *, expired: bool) -> ScriptCall:
    return ScriptCall("remove_private", _keys(topic, group), (group, int(expired)))


def _keys(topic: str, group: str) -> tuple[str, ...]:
    own = (own_key(topic, kind, group) for kind in ("due", "tending"))
    return (topic, private_groups_key(topic), *own, notes_key(topic, group))
