"""Publishing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, final

import attrs
import trio

from ._backend import Record, StreamBackend
from ._clock import WallClock
from ._dead_letters import Choice, DeadLetters, RedriveOutcome, redrive
from ._entry_id import EntryId
from ._errors import BusClosed, BusError, PublishError, ValidationError
from ._gate import Gate
from ._headers import NO_HEADERS
from ._info import TopicInfo
from ._modes import Confirmation, Guarantee
from ._names import check_any_group, check_topic
from ._naming import naming
from ._notifier import Notifier
from ._observer import Scope
from ._once import Append, Once, too_many_fields
from ._options import BusOptions, PublishOptions
from ._publisher import Publisher
from ._schedulable import check_schedulable
from ._schedule_id import ScheduleId, new_schedule_uid
from ._scheduler import Scheduler, check_when

if TYPE_CHECKING:
    from ._message import Message

_PLAIN = PublishOptions()


@attrs.frozen
class BatchOutcome:
    """What became of each message of a batch, in the order they were given."""

    results: tuple[EntryId | Exception, ...]
    """For each message the id that the server gave it, or its own error."""

    def raise_errors(self) -> None:
        """Do nothing if every message was stored.

        Raises:
          PublishError: some were not; holds the error of each.
        """
        errors = [result for result in self.results if isinstance(result, Exception)]
        if errors:
            total = len(self.results)
            raise PublishError(f"{len(errors)} of {total} messages were not stored", errors)


@final
class Bus:
    """Carries messages over one backend. It owns no tasks; what it uses, others opened.

    Make one with `open_bus`, or of a backend that you opened yourself: two buses on one
    `MemoryBackend` are like two processes.
    """

    def __init__(self, backend: StreamBackend, options: BusOptions | None = None) -> None:
        self.backend = backend
        self.options: BusOptions = BusOptions() if options is None else options
        self.notifier: Notifier = Notifier(self.options.observer)
        self.gate: Gate = Gate(self.options.codec, self.options.max_payload_bytes)
        self.clock: WallClock = WallClock()
        self._publisher = Publisher(backend, self.options, self.notifier, self.check_open)
        self._scheduler = Scheduler(backend, self.options, self.notifier, self.check_open)
        self._closed = False

    @property
    def url(self) -> str | None:
        """Where another process reaches the same streams; None if none can."""
        return self.backend.url

    async def publish(self, message: Message, options: PublishOptions = _PLAIN) -> EntryId:
        """Append a message to its topic and return the id that the server gave it.

        A message with an ``idempotency_key`` is stored once within ``dedup_window``: publishing
        another one with that key to that topic returns the id of the first.

        An attempt that failed is followed by others for ``publish_timeout``, with growing, random
        pauses, where that cannot store the message twice: where it certainly was not stored (no
        connection; a server that is loading, busy, or in a failover), or where it has a key. The
        observer hears of each.

        Raises:
          ValidationError: the message breaks a rule or is too large; nothing was sent.
          OutcomeUnknown: the connection broke before the reply; it **may have been stored**.
          ConnectionLost: there is no connection; it was not stored.
          NotPersisted: it is stored, but not known to be on as many disks as PERSISTED asks for.
          Unsupported: PERSISTED is more than this server can do; it was not stored.
          RemoteError: the server refused; it was not stored.
          BusClosed: ``open_bus`` was left.

        Cancellation: while waiting for the reply, the message **may have been stored**. While
        waiting for the next attempt, nothing more is sent.
        """
        if self._closed:
            self.check_open()
        if message.idempotency_key is None and options.confirmation is Confirmation.ACCEPTED:
            # What nearly every publish is: nothing is made, or called, that only a failure needs.
            if options.metadata is NO_HEADERS:
                record = self.gate.encode(message)
            else:
                record = self._encode(message, options)
            began = trio.current_time()
            outcomes = await self.backend.append(message.topic, (record,))
            if type(outcomes[0]) is EntryId:
                return outcomes[0]
            appends = (Append(message.topic, record),)
            (result,) = await self._publisher.go_on(appends, outcomes, began)
            if isinstance(result, Exception):
                raise result
            return result
        append = self.prepare(message, options)
        (result,) = await self._publisher.store((append,), _replicas(options))
        if isinstance(result, Exception):
            raise result
        return result

    async def publish_batch(
        self, messages: Sequence[Message], options: PublishOptions = _PLAIN
    ) -> BatchOutcome:
        """Append many messages, in one round trip for each topic and chunk.

        The order in each stream is the order of the list. One message that fails does not stop
        the others: see `BatchOutcome`. Messages are checked before anything is sent.

        Keys, and attempts after failures, are as in `publish`; of two messages with one key, both
        results are the id of the first. A message that failed is not tried again once one behind it
        in its topic is, or may be, stored; only one with an `OutcomeUnknown` may turn up later than
        what stands behind it. With PERSISTED there is one wait for all.

        Raises:
          BusClosed: ``open_bus`` was left.

        Cancellation: any of them may have been stored. While waiting for the next attempt, nothing
        more is sent.
        """
        self.check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        records = self._plain_records(messages, options)
        if records:
            return BatchOutcome(
                tuple(await self._publisher.store_plain(messages[0].topic, records))
            )
        results: list[EntryId | Exception | None] = [None] * len(messages)
        places: list[int] = []
        appends: list[Append] = []
        for position, message in enumerate(messages):
            try:
                appends.append(self.prepare(message, options))
            except BusError as error:
                results[position] = error
            else:
                places.append(position)
        if appends:
            outcomes = await self._publisher.store(appends, _replicas(options))
            for position, outcome in zip(places, outcomes, strict=True):
                results[position] = outcome
        else:
            await trio.lowlevel.checkpoint()
        return BatchOutcome(tuple(result for result in results if result is not None))

    def publish_nowait(self, message: Message, options: PublishOptions = _PLAIN) -> None:
        """Queue a message to be appended to its topic, without waiting: unconfirmed, and not async.

        Nobody is told that it was stored; that it was not, only the observer hears. There is one
        attempt. One with an ``idempotency_key`` is stored once. What is queued when ``open_bus`` is
        left, also by an error or a cancellation, is still sent, and its answers are awaited for up
        to ``command_timeout``, but not for more than 10 seconds.

        Raises:
          trio.WouldBlock: too much is queued or unanswered; nothing was queued.
          ValidationError: the message breaks a rule or is too large, or PERSISTED is asked for.
          ConnectionLost: there is no connection now; nothing was queued.
          BusClosed: ``open_bus`` was left.
        """
        self.check_open()
        if options.confirmation is Confirmation.PERSISTED:
            raise ValidationError("confirmation: publish_nowait cannot wait for PERSISTED")
        append = self.prepare(message, options)
        hear = partial(self._hear, append.topic)
        self.backend.append_nowait(append.topic, append.record, append.once, hear)

    async def schedule(
        self,
        message: Message,
        *,
        delay: float | None = None,
        at: datetime | None = None,
        options: PublishOptions = _PLAIN,
    ) -> ScheduleId:
        """Let the server keep a message, and publish it when it is due.

        It survives this bus, and every other one: when it is due, any subscription of its topic
        that is open, of whatever group and in whatever process, appends it, within 50 ms if it can
        hear of it (see `Scope.WAKE`), else at its next ``reclaim_interval``. Where none is open it
        waits for one. It gets its entry id then, is appended once, and what is due earlier comes
        earlier.

        Args:
          message: What to publish. One with an ``idempotency_key`` is scheduled once within
            ``dedup_window``: another one with that key on that topic gets the first id back, unless
            the first was cancelled.
          delay: Publish it so many seconds from now, counted by the server; at least 0.
          at: Publish it at this instant, with a time zone, by the clock of the server; now, if it
            is over. Give either this or *delay*.
          options: As in `publish`; PERSISTED is refused.

        Attempts that fail are followed by others as in `publish`.

        Raises:
          ValidationError: the message breaks a rule or is too large, or the time makes no sense;
            nothing was sent.
          OutcomeUnknown: the connection broke before the reply; it **may be scheduled**.
          ConnectionLost: there is no connection; it is not scheduled.
          RemoteError: the server refused; it is not scheduled.
          BusClosed: ``open_bus`` was left.

        Cancellation: while waiting for the reply, the message **may be scheduled**.
        """
        self.check_open()
        when = check_when(delay, at)
        if options.confirmation is Confirmation.PERSISTED:
            raise ValidationError("confirmation: schedule cannot wait for PERSISTED")
        record = self._encode(message, options)
        check_schedulable(record)
        once = self._once(message, record, options)
        uid = new_schedule_uid(None if once is None else once.key)
        window = None if once is None else once.window
        kept = await self._scheduler.schedule(message.topic, record, uid, when, window)
        return ScheduleId(message.topic, kept)

    async def cancel_scheduled(self, schedule_id: ScheduleId) -> bool:
        """Say True, and it will not be published; False if it is not scheduled (any more).

        Raises:
          OutcomeUnknown: the connection broke before the reply; it may be cancelled. Cancel it
            again: what was cancelled answers False then, like what was published.
          ConnectionLost: there is no connection; nothing was sent.
          RemoteError: the server refused.
          BusClosed: ``open_bus`` was left.

        Cancellation: may have happened.
        """
        self.check_open()
        return await self._scheduler.cancel(schedule_id.topic, schedule_id.uid)

    async def info(self, topic: str) -> TopicInfo:
        """Ask the server about a topic: its length, its groups, what they hold.

        Raises:
          ValidationError: this is no topic.
          ConnectionLost: there is no connection.
          WrongType: the key of that name holds something else.
        """
        self.check_open()
        with naming(check_topic(topic)):
            return await self.backend.info(topic)

    def dead_letters(self, topic: str, *, group: str | None = None) -> DeadLetters:
        """Read what was given up: iterate over it with ``async for``.

        First what the groups of *topic* keep that have no dead-letter topic, group by group; then,
        if *topic* is a dead-letter topic, the dead letters in it. It is read in portions, and
        nothing is changed. Those that cannot be decoded are among them. A topic that is
        no dead-letter topic is searched for them all the same, from its beginning.

        Args:
          topic: A topic, or a dead-letter topic.
          group: Only what this group gave up.

        Raises:
          ValidationError: this is no topic, or no group.
          BusClosed: ``open_bus`` was left.

        Iterating raises `ConnectionLost`, or another `RemoteError`. To leave the loop needs no
        cleaning up.
        """
        self.check_open()
        checked = None if group is None else check_any_group(group)
        return DeadLetters(self.backend, self.gate, self.check_open, check_topic(topic), checked)

    async def redrive(
        self,
        topic: str,
        *,
        ids: Collection[EntryId] | None = None,
        error_type: str | None = None,
        everything: bool = False,
        group: str | None = None,
        dry_run: bool = False,
    ) -> RedriveOutcome:
        """Send dead letters back into the group that gave them up, and into no other.

        Each is handled again under its own id, and its attempts begin at 1. It does not lie among
        the dead any more, in one atomic step; its history stays, and `dead_letters` tells it should
        it be given up again. What is given up while this runs is not sent back twice.

        Args:
          topic: Where they lie, as in `dead_letters`.
          ids: Those with these ids: where they lie, not where they were published.
          error_type: Those whose error has exactly this type.
          everything: All of them. Give one of *ids*, *error_type* and this.
          group: Only what this group gave up.
          dry_run: Change nothing: tell which ones it would be.

        Raises:
          ValidationError: the topic, group or an id is none, or not exactly one choice was made.
          OutcomeUnknown, ConnectionLost: some may have been sent back. Ask again: they are not
            sent back twice.
          RemoteError: the server refused to list them.
          BusClosed: ``open_bus`` was left.

        Cancellation: some, or all, may have been sent back.
        """
        letters = self.dead_letters(topic, group=group)
        choice = Choice(ids=ids, error_type=error_type, everything=everything)
        return await redrive(self.backend, letters, choice, dry_run=dry_run)

    def check_open(self) -> None:
        """Raise `BusClosed` if ``open_bus`` was left."""
        if self._closed:
            raise BusClosed("this bus is closed: its open_bus block was left")

    def close(self) -> None:
        """Refuse everything from now on; `open_bus` calls this."""
        self._closed = True

    def _plain_records(
        self, messages: Sequence[Message], options: PublishOptions
    ) -> Sequence[Record] | None:
        """Encode a batch for one topic, without keys; None if it is another, or one is refused."""
        topic = messages[0].topic if messages else ""
        for message in messages:
            if message.topic != topic or message.idempotency_key is not None:
                return None
        if options.confirmation is not Confirmation.ACCEPTED:
            return None
        try:
            if options.metadata is NO_HEADERS:
                return self.gate.encode_all(messages)
            return [self._encode(message, options) for message in messages]
        except BusError:
            return None

    def prepare(self, message: Message, options: PublishOptions) -> Append:
        """Check a message, and return what there is to append.

        Raises:
          ValidationError: it breaks a rule, or is too large.
          SerializationError: the codec cannot express it.
        """
        record = self._encode(message, options)
        return Append(message.topic, record, self._once(message, record, options))

    def _encode(self, message: Message, options: PublishOptions) -> Record:
        if options.metadata is not NO_HEADERS:
            headers = {**options.metadata, **message.headers}
            message = attrs.evolve(message, headers=headers)
        return self.gate.encode(message)

    def _once(self, message: Message, record: Record, options: PublishOptions) -> Once | None:
        key = message.idempotency_key
        if key is None:
            if options.guarantee is Guarantee.EXACTLY_ONCE:
                raise ValidationError("idempotency_key: None: EXACTLY_ONCE needs one")
            return None
        if not key:  # it would make duplicates of all whose key was forgotten
            raise ValidationError("idempotency_key: '' is empty")
        if error := too_many_fields(record):
            raise error
        return Once(key, self.options.dedup_window)

    def _hear(self, topic: str, result: EntryId | Exception) -> None:
        """Tell the observer of what nobody waits for, where it failed."""
        if isinstance(result, Exception):
            self.notifier.at(topic).error(Scope.PUBLISH, result)

    def __repr__(self) -> str:
        return f"<Bus on {type(self.backend).__name__}{' (closed)' if self._closed else ''}>"


def _replicas(options: PublishOptions) -> int | None:
    return options.replicas if options.confirmation is Confirmation.PERSISTED else None
