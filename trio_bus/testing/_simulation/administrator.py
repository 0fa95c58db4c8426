"""What an administrator should not do to streams that are in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_bus._entry_id import EntryId
from trio_bus._names import is_private
from trio_bus.testing._line import What
from trio_bus.testing._places import look_into

from .faults import Fault, Trouble
from .plan import TOPIC

if TYPE_CHECKING:
    from .world import World


def administer(world: World, fault: Fault) -> None:
    """Do it, and declare it."""
    streams, declare = world.host.streams, world.journal.fault
    entries = _entries(world)
    match fault.trouble:
        case Trouble.DELETED:
            if entries:
                entry_id = entries[min(fault.number, len(entries)) - 1]
                declare(What.DELETED, topic=TOPIC, entry_id=entry_id)
                streams.delete_entry(TOPIC, entry_id)
        case Trouble.TRIMMED:
            for entry_id in entries[: -fault.number]:
                declare(What.TRIMMED, topic=TOPIC, entry_id=entry_id)
            if entries:
                streams.trim(TOPIC, fault.number)
        case Trouble.UNGROUPED:
            group = _group(world, fault)
            if group in look_into(streams, [TOPIC]).topics[TOPIC].groups:
                declare(What.GROUP_DESTROYED, topic=TOPIC, group=group)
                streams.destroy_group(TOPIC, group)
        case _:
            declare(What.TOPIC_DELETED, topic=TOPIC)
            streams.delete_topic(TOPIC)


def _group(world: World, fault: Fault) -> str:
    """Choose one: of those that fan out, that of any consumer."""
    plan = world.plan.groups[fault.number % len(world.plan.groups)]
    own = list(filter(is_private, look_into(world.host.streams, [TOPIC]).topics[TOPIC].groups))
    return own[fault.number % len(own)] if own and plan.fans_out else plan.name


def _entries(world: World) -> list[EntryId]:
    records = look_into(world.host.streams, [TOPIC]).topics[TOPIC].records
    return list(records or ())
