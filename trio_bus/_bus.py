"""Publishing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import attrs
import trio

from ._backend import Record, StreamBackend, TopicInfo
from ._clock import WallClock
from ._config import BusOptions, PublishOptions
from ._entry_id import EntryId
from ._errors import BusClosed, BusError, PublishError
from ._gate import Gate
from ._names import check_topic
from ._notifier import Notifier
from ._observer import Scope

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
        self._closed = False

    @property
    def url(self) -> str | None:
        """Where another process reaches the same streams; None if none can."""
        return self.backend.url

    async def publish(self, message: Message, options: PublishOptions = _PLAIN) -> EntryId:
        """Append a message to its topic and return the id that the server gave it.

        Raises:
          ValidationError: the message breaks a rule or is too large; nothing was sent.
          OutcomeUnknown: the connection broke before the reply; it **may have been stored**.
          ConnectionLost: there is no connection; nothing was sent.
          RemoteError: the server refused.
          BusClosed: ``open_bus`` was left.

        Cancellation: while waiting for the reply, the message **may have been stored**.
        """
        self.check_open()
        record = self._encode(message, options)
        (result,) = await self.backend.append(message.topic, [record])
        if isinstance(result, Exception):
            self.notifier.at(message.topic).error(Scope.PUBLISH, result)
            raise result
        return result

    async def publish_batch(
        self, messages: Sequence[Message], options: PublishOptions = _PLAIN
    ) -> BatchOutcome:
        """Append many messages, in one round trip for each topic and chunk.

        The order in each stream is the order of the list. One message that fails does not stop
        the others: see `BatchOutcome`. Messages are checked before anything is sent.

        Raises:
          BusClosed: ``open_bus`` was left.

        Cancellation: any of them may have been stored.
        """
        self.check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        results: list[EntryId | Exception | None] = [None] * len(messages)
        topics: dict[str, list[tuple[int, Record]]] = {}
        for position, message in enumerate(messages):
            try:
                record = self._encode(message, options)
            except BusError as error:
                results[position] = error
            else:
                topics.setdefault(message.topic, []).append((position, record))
        if not topics:
            await trio.lowlevel.checkpoint()
        for topic, numbered in topics.items():
            await self._append(topic, numbered, results)
        return BatchOutcome(tuple(result for result in results if result is not None))

    async def info(self, topic: str) -> TopicInfo:
        """Ask the server about a topic: its length, its groups, what they hold.

        Raises:
          ValidationError: this is no topic.
          ConnectionLost: there is no connection.
          WrongType: the key of that name holds something else.
        """
        self.check_open()
        return await self.backend.info(check_topic(topic))

    def check_open(self) -> None:
        """Raise `BusClosed` if ``open_bus`` was left."""
        if self._closed:
            raise BusClosed("this bus is closed: its open_bus block was left")

    def close(self) -> None:
        """Refuse everything from now on; `open_bus` calls this."""
        self._closed = True

    def _encode(self, message: Message, options: PublishOptions) -> Record:
        if options.metadata:
            headers = {**options.metadata, **message.headers}
            message = attrs.evolve(message, headers=headers)
        return self.gate.encode(message)

    async def _append(
        self,
        topic: str,
        numbered: list[tuple[int, Record]],
        results: list[EntryId | Exception | None],
    ) -> None:
        """Append the records of one topic and put each result where its message stands."""
        outcomes = await self.backend.append(topic, [record for _, record in numbered])
        notifier = self.notifier.at(topic)
        for (position, _), outcome in zip(numbered, outcomes, strict=True):
            results[position] = outcome
            if isinstance(outcome, Exception):
                notifier.error(Scope.PUBLISH, outcome)

    def __repr__(self) -> str:
        return f"<Bus on {type(self.backend).__name__}{' (closed)' if self._closed else ''}>"
