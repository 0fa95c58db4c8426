"""What is published in a play, and how."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum, unique
from typing import TYPE_CHECKING

import attrs
import trio

from trio_bus._bus import Bus
from trio_bus._message import Message
from trio_bus._options import BusOptions, PublishOptions
from trio_bus._schedule_id import ScheduleId
from trio_bus._wall import wall
from trio_bus.testing._ears import JournalObserver
from trio_bus.testing._forged import FORGED

from .program import LARGEST

if TYPE_CHECKING:
    from .play import Play

PUBLISHER = "publisher"
"""Who publishes, in the journal."""
KEYS = ("", "ann", "ann", "bob")
"""Of what is published, in turn."""
OPTIONS = PublishOptions({"shop": "corner"})
"""Of whatever is published."""


@unique
class Odd(Enum):
    """What is published now and then."""

    UNCONFIRMED = "without waiting"
    TWICE = "with an idempotency key, and once more"
    EXPIRED = "when it has expired"
    EXPIRING = "shortly before it expires"
    OVERSIZED = "larger than any program accepts"
    FOREIGN = "by somebody else: no message can be made of it"


class Publishing:
    """Publishes into the topics of one play. All that is published is told to its journal."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._scheduled: list[tuple[Message, ScheduleId]] = []
        observer = JournalObserver(play.journal, PUBLISHER)
        self._bus = Bus(play.backend, BusOptions(observer=observer))

    def publish(self, topic: str, number: int, *, expires_units: float | None = None) -> None:
        """Publish so many messages at once, as one batch; in larger ones each has a key."""
        messages = [self._message(topic, expires_units) for _ in range(number)]
        if number > 2:
            messages = [attrs.evolve(it, idempotency_key=it.payload.decode()) for it in messages]
        told = self._play.journal.publishing(PUBLISHER, messages, OPTIONS.metadata)
        if number == 1:
            told([self._play.pump.run(self._bus.publish, messages[0], OPTIONS)])
        else:
            told(self._play.pump.run(self._bus.publish_batch, messages, OPTIONS).results)

    def publish_odd(self, topic: str, odd: Odd) -> None:
        """Publish one of those."""
        match odd:
            case Odd.UNCONFIRMED:
                self._publish_nowait(topic)
            case Odd.TWICE:
                self._publish_twice(topic)
            case Odd.OVERSIZED:
                self._publish_oversized(topic)
            case Odd.FOREIGN:
                self._publish_foreign(topic)
            case _:
                self.publish(topic, 1, expires_units=0.0 if odd is Odd.EXPIRED else 2.0)

    def schedule(self, topic: str, units: float) -> None:
        """Schedule a message."""
        message = self._message(topic)
        seconds = units * self._play.unit
        self._play.journal.scheduling(PUBLISHER, message, seconds, OPTIONS.metadata)
        scheduled = self._play.pump.run(self._schedule, message, seconds)
        self._play.journal.scheduled(PUBLISHER, message)
        self._scheduled.append((message, scheduled))

    def cancel_scheduled(self, which: int) -> None:
        """Take a scheduled message back, if it still waits."""
        if self._scheduled:
            message, scheduled = self._scheduled.pop(which % len(self._scheduled))
            if self._play.pump.run(self._bus.cancel_scheduled, scheduled):
                self._play.journal.cancelled(PUBLISHER, message)

    def _publish_nowait(self, topic: str) -> None:
        """Publish a message without waiting; nobody says that it was published."""
        message = self._message(topic)
        self._play.journal.publishing(PUBLISHER, [message], OPTIONS.metadata)
        self._play.pump.run(self._queue, message)

    def _publish_twice(self, topic: str) -> None:
        """Publish a message with an idempotency key, and once more."""
        body = f"{topic}{next(self._play.numbers)}"
        message = attrs.evolve(
            Message(self._play.topic(topic), body.encode()), idempotency_key=body
        )
        for _ in range(2):
            told = self._play.journal.publishing(PUBLISHER, [message], OPTIONS.metadata)
            told([self._play.pump.run(self._bus.publish, message, OPTIONS)])

    def _publish_oversized(self, topic: str) -> None:
        """Publish what no program accepts."""
        body = f"{topic}{next(self._play.numbers)}".ljust(LARGEST + 1).encode()
        message = Message(self._play.topic(topic), body)
        told = self._play.journal.publishing(PUBLISHER, [message], OPTIONS.metadata)
        told([self._play.pump.run(self._bus.publish, message, OPTIONS)])

    def _publish_foreign(self, topic: str) -> None:
        """Append what no message can be made of, as somebody else may."""
        record = ((b"who", b"knows %d" % next(self._play.numbers)),)
        self._play.pump.run(self._play.backend.append, self._play.topic(topic), [record])

    def _message(self, topic: str, expires_units: float | None = None) -> Message:
        number = next(self._play.numbers)
        body, key = f"{topic}{number}".encode(), KEYS[number % len(KEYS)]
        message = Message(self._play.topic(topic), body, key=key, headers=FORGED)
        if expires_units is None:
            return message
        expires_at = wall.now() + timedelta(seconds=expires_units * self._play.unit)
        return attrs.evolve(message, expires_at=expires_at)

    async def _queue(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        self._bus.publish_nowait(message, OPTIONS)

    async def _schedule(self, message: Message, delay: float) -> ScheduleId:
        return await self._bus.schedule(message, delay=delay, options=OPTIONS)
