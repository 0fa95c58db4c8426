"""The backend that keeps its streams in this process."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import trio

from trio_bus._backend import Buried, GroupMember, Membership, Record, StreamBackend
from trio_bus._entry_id import EntryId
from trio_bus._errors import RemoteError, Unsupported, ValidationError
from trio_bus._graves import Grave, Redriven
from trio_bus._info import ConsumerInfo, GroupInfo, TopicInfo
from trio_bus._names import (
    ABANDONED,
    DEAD,
    DUE,
    FREE,
    KEY,
    RESERVED_CONSUMERS,
    SUSPECT,
    own_key,
)
from trio_bus._once import Append, Once
from trio_bus._schedulable import check_schedulable

from . import graves
from .appending import append_once
from .errors import StreamError
from .group import Consumer, Group
from .group_commands import xgroup_create, xgroup_destroy
from .ids import MAX_ID, MIN_ID
from .member import MemoryMember
from .private import keep
from .schedule import instant_ms
from .server import Server, refusals, translate
from .stream import Stream
from .stream_commands import make_trim, xadd, xdel, xtrim

_NOT_PERSISTENT = "ERR memory: persists nothing; PERSISTED needs a server with an append-only file"


class MemoryBackend(StreamBackend):
    """Keeps streams in memory, with the semantics of a server; they are gone with this object.

    Two buses on one of these are two processes on one server. It may be used from several
    ``trio.run`` calls, one after the other: its time goes on where it stopped.

    Args:
      wall_start: What its clock shows at the first call; by default the time of this machine. From
        then on it follows ``trio.current_time()``.

    The methods that are not async play an administrator, for tests.
    """

    __slots__ = ("_server",)

    def __init__(self, *, wall_start: datetime | None = None) -> None:
        self._server = Server(wall_start)

    @property
    def url(self) -> str | None:
        """None, since no other process can find these streams."""
        return None

    async def append(
        self, topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
    ) -> list[EntryId | Exception]:
        """Append in order; an id or its own error for each record.

        Cancelled, it did not happen.
        """
        await trio.lowlevel.checkpoint()
        with self._server.step() as now_ms:
            return [
                self._append(topic, record, how, now_ms)
                for record, how in zip(records, once or (None,) * len(records), strict=True)
            ]

    async def append_persisted(
        self,
        appends: Sequence[Append],
        replicas: int,  # noqa: ARG002 - of the contract
    ) -> list[EntryId | Exception]:
        """Refuse them all: nothing here outlives this process, and no replica has it."""
        await trio.lowlevel.checkpoint()
        return [Unsupported(_NOT_PERSISTENT) for _ in appends]

    def append_nowait(
        self,
        topic: str,
        record: Record,
        once: Once | None,
        on_result: Callable[[EntryId | Exception], None],
    ) -> None:
        """Append at once; *on_result* is called before this returns."""
        with self._server.step() as now_ms:
            result = self._append(topic, record, once, now_ms)
        on_result(result)

    async def schedule(
        self,
        topic: str,
        record: Record,
        uid: str,
        when: float | datetime,
        once: float | None = None,
    ) -> str:
        """Keep a record until it is due; see `StreamBackend.schedule`.

        Cancelled, it did not happen.
        """
        check_schedulable(record)
        await trio.lowlevel.checkpoint()
        with self._server.step() as now_ms:
            schedule = self._server.schedule(topic)
            if once is not None and once > 0:
                earlier = schedule.marked(uid, now_ms)
                if earlier is not None:
                    return earlier
            if uid in schedule:
                return uid
            if once is not None and once > 0:
                schedule.mark(uid, now_ms + math.ceil(once * 1000))
            if isinstance(when, datetime):
                due = instant_ms(when)
            else:
                due = self._server.clock.due_ms(when)
            schedule.add(uid, record, due)
            self._server.alarms.ring(topic, max(0, due - now_ms) / 1000)
            return uid

    async def cancel_scheduled(self, topic: str, uid: str) -> bool:
        """Take a record out of the schedule; say whether it was there.

        Cancelled, it did not happen.
        """
        await trio.lowlevel.checkpoint()
        schedule = self._server.schedule(topic)
        removed = schedule.remove(uid)
        if removed:
            schedule.unmark(uid)
        return removed

    async def create_group(self, topic: str, group: str, start: EntryId | None) -> bool:
        """Make sure that the group exists; say whether it is new.

        Raises:
          WrongType: the key of this topic holds something else.
        """
        await trio.lowlevel.checkpoint()
        position = "$" if start is None else str(start)
        with self._server.step():
            try:
                xgroup_create(self._server.store, topic, group, position, make_stream=True)
            except StreamError as refusal:
                if refusal.code != "BUSYGROUP":
                    raise
                return False
            self._server.store.delete(own_key(topic, "due", group))
            return True

    async def create_private(
        self, topic: str, group: str, start: EntryId | None, expiry: float
    ) -> EntryId | None:
        """Create the group of one consumer alone; see `StreamBackend.create_private`.

        Raises:
          WrongType: the key of this topic holds something else.
        """
        await trio.lowlevel.checkpoint()
        with self._server.step() as now_ms:
            stream = self._server.store.make_stream(topic)
            if group in stream.groups:
                return None
            begin = stream.last_id if start is None else start
            if begin > stream.last_id:
                begin = MIN_ID
            stream.groups[group] = Group(begin)
            self._server.store.delete(own_key(topic, "due", group))
            us = Membership(
                topic=topic, group=group, consumer="", lease=0.0, max_attempt=1, expiry=expiry
            )
            keep(self._server.store, us, now_ms)
            return begin

    @asynccontextmanager
    async def join(self, membership: Membership) -> AsyncGenerator[GroupMember, None]:
        """Be that consumer inside the ``async with`` block; both ends of it are checkpoints."""
        await trio.lowlevel.checkpoint()
        alarm = self._server.alarms.add(membership.topic, membership.group)
        try:
            yield MemoryMember(self._server, membership, alarm)
        finally:
            self._server.alarms.remove(membership.topic, alarm)
        await trio.lowlevel.checkpoint()

    async def info(self, topic: str) -> TopicInfo:
        """Say what there is of a topic; a topic that does not exist is empty.

        Raises:
          WrongType: the key of this topic holds something else.
        """
        await trio.lowlevel.checkpoint()
        return self._info(topic)

    async def buried(
        self, topic: str, group: str | None, after: EntryId | None
    ) -> tuple[list[Buried], EntryId | None]:
        """Read some dead ones; see `StreamBackend.buried`."""
        await trio.lowlevel.checkpoint()
        with self._server.step():
            return graves.buried(self._server.store, topic, group, after)

    async def redrive(self, dead: Sequence[Grave]) -> list[Redriven | RemoteError]:
        """Send dead ones back; see `StreamBackend.redrive`.

        Cancelled, it did not happen.
        """
        await trio.lowlevel.checkpoint()
        with self._server.step() as now_ms:
            return [self._redrive(grave, now_ms) for grave in dead]

    def _info(self, topic: str) -> TopicInfo:
        with self._server.step() as now_ms:
            stream = self._server.store.find_stream(topic)
            scheduled = len(self._server.schedule(topic))
            if stream is None:
                return TopicInfo(topic, 0, (), scheduled=scheduled)
            groups = sorted(stream.groups.items())
            infos = tuple(_group_info(name, group, stream, now_ms) for name, group in groups)
            return TopicInfo(topic, len(stream.entries), infos, stream.entries.first(), scheduled)

    def delete_topic(self, topic: str) -> bool:
        """Remove the stream of a topic with its groups (DEL); say whether there was one.

        What we keep beside it stays. Whoever waits in `GroupMember.read` gets `GroupMissing`.
        """
        with self._server.step():
            return self._server.store.delete(topic) == 1

    def use_up(self, topic: str) -> None:
        """Append an entry with the greatest id there is: the stream takes nothing more (XADD).

        Raises:
          RemoteError: it was used up before.
        """
        with self._server.step():
            record: Record = ((b"last", b"of all"),)
            xadd(self._server.store, topic, str(MAX_ID), record, self._server.clock.now_ms())

    def destroy_group(self, topic: str, group: str) -> bool:
        """Remove a group with all that is pending in it; say whether there was one.

        Raises:
          RemoteError: there is no such topic.
        """
        with self._server.step():
            return xgroup_destroy(self._server.store, topic, group) == 1

    def trim(self, topic: str, max_length: int) -> int:
        """Remove all but the newest *max_length* entries; return how many were removed."""
        with refusals():
            return xtrim(self._server.store, topic, make_trim(maxlen=max_length))

    def delete_entry(self, topic: str, entry_id: EntryId) -> bool:
        """Remove an entry from its stream, pending or not; say whether it was there."""
        with refusals():
            return xdel(self._server.store, topic, [str(entry_id)]) == 1

    def step_clock(self, seconds: float) -> None:
        """Set the clock of this server forward by so many seconds, or back if it is less than 0.

        What is due by an instant is due earlier or later then, and leases end so; ids of entries
        grow all the same.
        """
        self._server.clock.step(seconds)

    def _redrive(self, grave: Grave, now_ms: int) -> Redriven | RemoteError:
        try:
            result = graves.redrive(self._server.store, grave, now_ms)
        except StreamError as refusal:
            return translate(refusal)
        if result is Redriven.DONE:
            self._server.alarms.ring(grave.topic, 0.0, grave.group)
        return result

    def _append(
        self, topic: str, record: Record, once: Once | None, now_ms: int
    ) -> EntryId | Exception:
        try:
            return append_once(self._server, topic, record, once, now_ms)
        except StreamError as refusal:
            return translate(refusal)
        except ValidationError as error:
            return error


def _group_info(name: str, group: Group, stream: Stream, now_ms: int) -> GroupInfo:
    members = [it for it in group.consumers.values() if it.name not in RESERVED_CONSUMERS]
    members.sort(key=lambda consumer: consumer.name)
    return GroupInfo(
        name,
        group.last_delivered,
        stream.entries.count_after(group.last_delivered),
        sum(len(consumer.pending) for consumer in members),
        _held(group, FREE) + _held(group, ABANDONED),
        _held(group, DUE),
        _held(group, DEAD),
        tuple(_consumer_info(consumer, now_ms) for consumer in members),
        _oldest(group, stream),
        _held(group, SUSPECT),
        _held(group, KEY),
    )


def _oldest(group: Group, stream: Stream) -> EntryId | None:
    """Return the oldest entry that this group has not finished."""
    held = [it.pending.first() for it in group.consumers.values() if it.name != DEAD]
    known = [entry_id for entry_id in held if entry_id is not None]
    return min([*known, *stream.undelivered(group, 1)], default=None)


def _held(group: Group, consumer: str) -> int:
    return len(group.consumers[consumer].pending) if consumer in group.consumers else 0


def _consumer_info(consumer: Consumer, now_ms: int) -> ConsumerInfo:
    idle_ms = max(0, now_ms - consumer.seen_ms)
    return ConsumerInfo(consumer.name, len(consumer.pending), idle_ms / 1000)
