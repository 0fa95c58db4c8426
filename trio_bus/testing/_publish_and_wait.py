"""Publish, and know that it was handled."""

from __future__ import annotations

from collections.abc import Collection

import trio

from trio_bus._bus import Bus
from trio_bus._entry_id import EntryId
from trio_bus._errors import ValidationError
from trio_bus._info import GroupInfo
from trio_bus._message import Message

_PAUSE = 0.005
"""Seconds between two looks."""


async def publish_and_wait(
    bus: Bus, message: Message, *, groups: Collection[str] | None = None, timeout: float = 10.0
) -> EntryId:
    """Publish a message, and return its id when every group has finished it.

    Finished is what was acked or dead-lettered. A group has finished a message when it has also
    finished all that was published to the topic before; what it released, or retries later, it has
    not. Which process handles it, and on which backend, does not matter: the server is asked.

    Args:
      bus: Where to publish.
      message: What to publish.
      groups: Which groups have to finish it; by default all that there are when it is published.
      timeout: Seconds, after which it fails.

    Raises:
      trio.TooSlowError: a group has not finished it in time; the text says which, and where the
        message is.
      ValidationError: there is no such group, or none at all. Nothing was published.
      BusError: it could not be published, or the server cannot be asked.

    Cancellation: it may have been published, as with `Bus.publish`.
    """
    wanted = await _wanted(bus, message.topic, groups)
    entry_id = await bus.publish(message)
    with trio.move_on_after(timeout):
        while True:
            if not (left := await _left(bus, message.topic, entry_id, wanted)):
                return entry_id
            await trio.sleep(_PAUSE)
    if not (left := await _left(bus, message.topic, entry_id, wanted)):
        return entry_id  # the last look was cut short, and this one found it finished
    where = "; ".join(f"{it.name!r}: {_place(it)}" for it in left)
    raise trio.TooSlowError(
        f"{entry_id} in {message.topic!r} is not finished after {timeout:g} s by {where}"
    )


async def _wanted(bus: Bus, topic: str, groups: Collection[str] | None) -> set[str]:
    there = {group.name for group in (await bus.info(topic)).groups}
    if groups is None and not there:
        raise ValidationError(f"groups: topic {topic!r} has none: who should handle it?")
    wanted = there if groups is None else set(groups)
    if missing := sorted(wanted - there):
        raise ValidationError(f"groups: {missing[0]!r} is no group of topic {topic!r}")
    return wanted


async def _left(bus: Bus, topic: str, entry_id: EntryId, wanted: set[str]) -> list[GroupInfo]:
    """Return the groups that have not finished it."""
    groups = [it for it in (await bus.info(topic)).groups if it.name in wanted]
    return [it for it in groups if it.oldest is not None and it.oldest <= entry_id]


def _place(group: GroupInfo) -> str:
    """Say what the group does with what it has not finished."""
    figures = {
        "held": group.pending,
        "given back": group.released,
        "waiting for its time": group.delayed,
        "suspected": group.suspects,
    }
    told = [f"{number} {words}" for words, number in figures.items() if number]
    return ", ".join([f"{group.oldest} is the oldest", *told])
