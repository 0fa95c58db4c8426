"""The backend that keeps its streams on a Redis or Valkey server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from functools import partial

import trio

from trio_bus._backend import Buried, GroupMember, Membership, Record, StreamBackend
from trio_bus._credentials import Secret
from trio_bus._entry_id import EntryId
from trio_bus._errors import ConnectionLost, PermissionDenied, RemoteError
from trio_bus._graves import Grave, Redriven
from trio_bus._info import TopicInfo
from trio_bus._names import own_key
from trio_bus._notifier import Notifier
from trio_bus._observer import Scope, Transition
from trio_bus._once import Append, Once
from trio_bus._one_error import one_error
from trio_bus._options import BusOptions
from trio_bus._slots import check_one_slot

from . import graves, private, schedule, scripts
from .address import Address, read_address
from .appending import pack_append, parts, result, unsent
from .chunk import append_chunk
from .connecting import connect
from .credit import Credit
from .info import topic_info
from .link import WINDOW_BYTES, WINDOW_COMMANDS, Link, connect_first
from .member import RedisMember
from .persisting import Lane
from .pipeline import Pipeline
from .replies import as_int
from .rights import check_subscribing
from .scripts import ScriptCall
from .unconfirmed import Unconfirmed
from .wakes import Wakes


class RedisBackend(StreamBackend):
    """Streams on a server. Made by `open_redis`, which owns its connections."""

    __slots__ = (
        *("_address", "_lanes", "_link", "_nursery", "_options", "_readers", "_unconfirmed"),
        "_wakes",
    )

    def __init__(
        self,
        address: Address,
        options: BusOptions,
        link: Link,
        wakes: Wakes,
        nursery: trio.Nursery,
    ) -> None:
        self._address = address
        self._options = options
        self._link = link
        self._wakes = wakes
        self._nursery = nursery
        self._readers: set[Pipeline] = set()
        self._lanes: dict[int, Lane] = {}
        self._unconfirmed = Unconfirmed(link)

    @property
    def url(self) -> str:
        """Where another process finds the same streams; without passwords."""
        return self._address.safe_url

    @trio.lowlevel.enable_ki_protection
    async def append(
        self, topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
    ) -> list[EntryId | Exception]:
        """Append in order; an id or an error of its own for each record.

        One round trip for each chunk of up to 1,000 records or about 1 MiB. When the connection is
        lost, what comes after that chunk is not sent: order in the stream is order in the list.

        Cancellation: some or all of them may have been appended.
        """
        if not records:
            await trio.lowlevel.checkpoint()
        if len(records) == 1 and not once:  # the way of most messages
            data = pack_append(topic, records[0])
            try:
                pipeline = self._link.current or await self._link.wait_connected()
            except ConnectionLost as error:
                return unsent(1, error.__cause__)
            owed = pipeline.begin_together(data, 1) or await pipeline.begin(data, 1)
            try:
                await owed.wait()
            except BaseException:
                pipeline.leave(owed)
                raise
            return [result(owed)]
        ids: list[EntryId | Exception] = []
        packed = parts(topic, records, once)
        while len(ids) < len(records):
            try:
                pipeline = self._link.current or await self._link.wait_connected()
            except ConnectionLost as error:
                return ids + unsent(len(records) - len(ids), error.__cause__)
            found, cause = await append_chunk(pipeline, packed)
            ids += found
            if cause is not None:
                return ids + unsent(len(records) - len(ids), cause)
        return ids

    async def append_persisted(
        self, appends: Sequence[Append], replicas: int
    ) -> list[EntryId | Exception]:
        """Append in order, and wait for the disks; see `StreamBackend.append_persisted`.

        Who wants the same number of replicas shares a connection, and the wait.

        Cancellation: once they were sent, they may have been appended.
        """
        self._link.check_open()
        lane = self._lanes.get(replicas)
        if lane is None:
            timeout = self._options.command_timeout
            lane = Lane(replicas, self._open_reader, self._nursery.start_soon, timeout)
            self._lanes[replicas] = lane
        return await lane.append(appends)

    def append_nowait(
        self,
        topic: str,
        record: Record,
        once: Once | None,
        on_result: Callable[[EntryId | Exception], None],
    ) -> None:
        """Queue a record on the connection that all share; see `StreamBackend.append_nowait`."""
        self._unconfirmed.append(topic, record, once, on_result)

    async def schedule(
        self,
        topic: str,
        record: Record,
        uid: str,
        when: float | datetime,
        once: float | None = None,
    ) -> str:
        """Keep a record until it is due; see `StreamBackend.schedule`."""
        call = schedule.scheduling(topic, record, uid, when, once)
        await trio.lowlevel.checkpoint_if_cancelled()
        return await schedule.schedule(self._link, call)

    async def cancel_scheduled(self, topic: str, uid: str) -> bool:
        """Take a record out of the schedule; say whether it was there."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return await schedule.cancel(self._link, topic, uid)

    async def create_group(self, topic: str, group: str, start: EntryId | None) -> bool:
        """Make sure that the group exists; say whether it is new."""
        position = "$" if start is None else str(start)
        kept = (own_key(topic, kind, group) for kind in ("due", "tending", "active"))
        keys = (topic, *kept, graves.notes_key(topic, group))
        call = ScriptCall("create_group", keys, (group, position))
        try:
            return as_int(await scripts.run(self._link, call)) == 1
        except PermissionDenied:
            await check_subscribing(self._link, topic)  # it names what some servers do not
            raise

    async def create_private(
        self, topic: str, group: str, start: EntryId | None, expiry: float
    ) -> EntryId | None:
        """Create the group of one consumer alone; see `StreamBackend.create_private`."""
        return await private.create(self._link, topic, group, start, expiry)

    @asynccontextmanager
    async def join(self, membership: Membership) -> AsyncGenerator[GroupMember]:
        """Be that consumer inside the block; entering and leaving it are checkpoints.

        Raises:
          PermissionDenied: this user lacks a right that a consumer needs, now or later.
          ValidationError: this is a cluster, and the dead-letter topic has another slot.
        """
        may_wake = await check_subscribing(self._link, membership.topic)
        await self._check_slots(membership)
        timeout = self._options.command_timeout
        channel = schedule.wake_channel(membership.topic)
        alarm = self._wakes.add(channel, membership.group)
        hint = partial(self._wakes.hint, channel, membership.group)
        hears = partial(self._wakes.hears, channel) if may_wake else lambda: False
        member = RedisMember(
            self._link, membership, self._open_reader, timeout, alarm, hint=hint, hears=hears
        )
        try:
            yield member
        finally:
            self._wakes.remove(channel, alarm)
            await member.aclose()
        await trio.lowlevel.checkpoint()

    async def _check_slots(self, membership: Membership) -> None:
        """See that whatever dies can be moved in one step."""
        dead_letters = membership.dead_letter_topic
        pipeline = self._link.current or await self._link.wait_connected()
        if dead_letters is not None and pipeline.session.server.mode == "cluster":
            check_one_slot(membership.topic, [dead_letters], "dead_letter_topic")

    async def info(self, topic: str) -> TopicInfo:
        """Say what the server knows of a topic; a topic that does not exist is empty."""
        return await topic_info(self._link, topic)

    async def buried(
        self, topic: str, group: str | None, after: EntryId | None
    ) -> tuple[list[Buried], EntryId | None]:
        """Read some dead ones; see `StreamBackend.buried`."""
        return await graves.buried(self._link, topic, group, after)

    async def redrive(self, dead: Sequence[Grave]) -> list[Redriven | RemoteError]:
        """Send dead ones back, each in one atomic step; see `StreamBackend.redrive`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return await graves.redrive(self._link, dead)

    async def aclose(self) -> None:
        """Send what is queued and wait for its answers, cancelled or not; then end all."""
        try:
            await self._unconfirmed.flush(self._options.command_timeout)
        finally:
            self.close()

    def close(self) -> None:
        """End all connections."""
        self._link.close()
        self._wakes.close()
        for pipeline in self._readers:
            pipeline.close()
        for lane in self._lanes.values():  # after their connections: those say what was sent
            lane.close()

    async def _open_reader(self) -> Pipeline:
        """Open a connection that one member, or one lane, has for itself."""
        self._link.check_open()
        session = await connect(self._address, self._options.connect_timeout)
        if self._link.is_closed:
            with trio.CancelScope(shield=True):
                await session.wire.aclose()
            self._link.check_open()
        self._link.meet(session.server)
        credit = Credit(WINDOW_COMMANDS, WINDOW_BYTES)
        timeout = self._options.command_timeout
        pipeline = Pipeline(session, command_timeout=timeout, credit=credit)
        # No checkpoint since the connection was made: `close` will know it.
        self._readers.add(pipeline)
        self._nursery.start_soon(self._serve_reader, pipeline)
        return pipeline

    @trio.lowlevel.enable_ki_protection
    async def _serve_reader(self, pipeline: Pipeline) -> None:
        try:
            await pipeline.serve()
        finally:
            self._readers.discard(pipeline)
            self._link.follow(pipeline)


def open_redis(url: str, options: BusOptions) -> AbstractAsyncContextManager[RedisBackend]:
    """Connect to the server of *url*; the block owns all connections.

    Entering waits for at most ``connect_timeout`` until the server takes us. Later losses end
    nothing: the connection comes back by itself, and the observer hears of both. What the URL
    says about timeouts goes before *options*.

    Raises:
      ValidationError: the URL says something that cannot work.
      ConnectionLost: nobody answered in time; the cause says how.
      AuthenticationFailed, PermissionDenied, TlsFailed, Unsupported: at once.
    """
    return open_secretly(Secret(url), options)


@asynccontextmanager
async def open_secretly(url: Secret, options: BusOptions) -> AsyncGenerator[RedisBackend]:
    """Do what `open_redis` does, without the URL in a local of anything that may fail."""
    address = read_address(url, options)
    chosen = address.refine(options)
    notifier = Notifier(chosen.observer)
    first = await connect_first(partial(connect, address), chosen.connect_timeout)
    link = Link(
        partial(connect, address),
        first,
        connect_timeout=chosen.connect_timeout,
        command_timeout=chosen.command_timeout,
        on_error=partial(notifier.error, Scope.CONNECT),
        on_back=partial(notifier.transition, Transition.RECONNECTED),
    )
    wakes = Wakes(
        partial(connect, address, chosen.connect_timeout), partial(notifier.error, Scope.WAKE)
    )
    # The services never raise, and shield themselves: only `close` ends them, after the body.
    with one_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.serve)
            nursery.start_soon(wakes.serve)
            backend = RedisBackend(address, chosen, link, wakes, nursery)
            try:
                yield backend
            finally:
                await backend.aclose()
