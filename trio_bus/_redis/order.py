"""What one consumer can do where a group keeps an order, one script call each."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import attrs
from msgspec.structs import replace

from trio_bus._backend import Membership, TakeOver
from trio_bus._entry_id import EntryId
from trio_bus._names import own_key
from trio_bus._ordering import Parked, Queue, Start

from . import scripts
from .group import Group, taken_from
from .link import Link
from .replies import as_entry_id, as_int, as_list, as_record, as_row, checked
from .resp import Argument, Reply, pack
from .schedule import wake_channel
from .scripts import ScriptCall

_LARGEST_SURVEY = 1024 * 1024
"""After how many bytes of entries a survey looks at no more."""


class Order:
    """The order of one group, on the server that *link* leads to. Nothing here keeps state."""

    def __init__(self, link: Link, membership: Membership, group: Group) -> None:
        self._link = link
        self._group = group
        self._us = membership
        self._who = (membership.group, membership.consumer)
        self._keys = (membership.topic, own_key(membership.topic, "active", membership.group))
        self._lease_ms = math.ceil(membership.lease * 1000)

    async def lead(self, token: int | None) -> int | None:
        """Become active, or stay it; see `OrderedMember.lead`."""
        kept = "" if token is None else str(token)
        reply = await self._run("lead", self._keys, (*self._who, self._lease_ms, kept))
        return as_int(reply) or None

    async def resign(self) -> None:
        """Be active no more; see `OrderedMember.give_up_lead`."""
        channel = wake_channel(self._us.topic)
        await self._run("resign", self._keys, (*self._who, channel))

    async def survey(self, after: EntryId | None, count: int) -> Queue:
        """Tell what is pending; see `OrderedMember.survey`."""
        start = "-" if after is None else f"({after}"
        arguments = (self._us.group, start, count, _LARGEST_SURVEY)
        found, last = as_row(await self._run("survey", self._keys[:1], arguments), 2)
        return Queue(_surveyed(found), as_entry_id(last) if last else None)

    async def draw(self, token: int, count: int) -> Queue | None:
        """Move new entries to where they wait for their key; see `OrderedMember.draw`."""
        reply = await self._run("draw", self._keys, (*self._who, str(token), count))
        if reply is None:
            return None
        found, last = as_row(reply, 2)
        return Queue(_parked(found), as_entry_id(last))

    async def start(self, token: int, entry_ids: Sequence[EntryId], *, alone: bool) -> Start | None:
        """Take these; see `OrderedMember.start`."""
        wish = "alone" if alone else "ordered"
        words = (wish, str(token), *(str(entry_id) for entry_id in entry_ids))
        keys = (*self._group.bury_keys, self._keys[1])
        arguments = self._group.taking(len(entry_ids), words)
        reply = await self._run("take_over", keys, arguments)
        if reply is None:
            return None
        later, held, apart, over, suspects = as_row(reply, 10)[5:]
        return Start(
            _marked(taken_from(reply), _ids(suspects)),
            _waits(later),
            _waits(held),
            _ids(apart),
            _ids(over),
        )

    def pack_grown(self, after: EntryId, block_ms: int) -> bytes:
        """Pack the blocking look for an entry behind that one."""
        return pack(("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", self._us.topic, str(after)))

    async def _run(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Reply:
        return checked(await scripts.run(self._link, ScriptCall(name, keys, arguments)))


def _ids(rows: Reply) -> tuple[EntryId, ...]:
    return tuple(as_entry_id(it) for it in as_list(rows))


def _marked(taken: TakeOver, suspects: Collection[EntryId]) -> TakeOver:
    """Say of those that are one that they are suspects."""
    entries = [replace(it, suspect=it.id in suspects) for it in taken.entries]
    return attrs.evolve(taken, entries=tuple(entries))


def _parked(rows: Reply) -> tuple[Parked, ...]:
    pairs = [as_row(row, 2) for row in as_list(rows)]
    return tuple(Parked(as_entry_id(key), as_record(fields) or None) for key, fields in pairs)


def _surveyed(rows: Reply) -> tuple[Parked, ...]:
    known = [as_row(row, 3) for row in as_list(rows)]
    return tuple(
        Parked(as_entry_id(key), as_record(fields) or None, held=as_int(held) == 1)
        for key, fields, held in known
    )


def _waits(rows: Reply) -> dict[EntryId, float]:
    pairs = [as_row(row, 2) for row in as_list(rows)]
    return {as_entry_id(key): as_int(left_ms) / 1000 for key, left_ms in pairs}
