"""What happened in a run, line by line."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from trio_bus._headers import NO_HEADERS

from ._expiries import expiry_of, expiry_of_delivery
from ._line import SERVER, WORLD, Line, Pairs, What
from ._wording import headers_of, is_cancelled, kind_of, kind_of_failure, label_of

if TYPE_CHECKING:
    from trio_bus._config import SubscriptionConfig
    from trio_bus._delivery import Delivery
    from trio_bus._entry_id import EntryId
    from trio_bus._message import Message

Listener = Callable[[Line], object]


class Journal:
    """Who did what when, in order; whoever listens hears each line as it is written.

    Args:
      clock: Tells the time in seconds; by default that of the trio run.
      start: What *clock* shows when the run begins.

    The dead write nothing: after `died`, lines of that actor are dropped. What a listener raises
    leaves the method that wrote the line.
    """

    def __init__(
        self, clock: Callable[[], float] = trio.current_time, *, start: float = 0.0
    ) -> None:
        self.lines: list[Line] = []
        self._clock = clock
        self._start = start
        self._listeners: list[Listener] = []
        self._dead: set[str] = set()
        self._batches = 0

    def listen(self, listener: Listener) -> None:
        """Let it hear every line from now on."""
        self._listeners.append(listener)

    def now(self) -> float:
        """Return the seconds since the run began."""
        return self._clock() - self._start

    def write(self, line: Line) -> None:
        """Append a line."""
        if line.actor in self._dead:
            return
        self.lines.append(line)
        if line.what is What.DIED:
            self._dead.add(line.actor)
        for listener in self._listeners:
            listener(line)

    def say(
        self,
        actor: str,
        what: What,
        detail: str = "",
        *,
        topic: str = "",
        group: str = "",
        consumer: str = "",
        entry_id: EntryId | None = None,
        label: str = "",
        seconds: float | None = None,
        count: int | None = None,
        headers: Pairs = (),
        expires: float | None = None,
    ) -> None:
        """Write a line, now."""
        line = Line(
            time=self.now(),
            actor=actor,
            what=what,
            detail=detail,
            topic=topic,
            group=group,
            consumer=consumer,
            entry_id=entry_id,
            label=label,
            seconds=seconds,
            count=count,
            headers=headers,
            expires=expires,
        )
        self.write(line)

    def fault(
        self,
        what: What,
        detail: str = "",
        *,
        actor: str = WORLD,
        topic: str = "",
        group: str = "",
        entry_id: EntryId | None = None,
        seconds: float | None = None,
    ) -> None:
        """Declare that somebody made something go wrong: one of `FAULTS`, or its end.

        *actor* is whom it hits; `WORLD` is everybody.
        """
        self.say(actor, what, detail, topic=topic, group=group, entry_id=entry_id, seconds=seconds)

    def died(self, actor: str, detail: str = "") -> None:
        """Say that a process is dead: from now on it does nothing, and writes nothing."""
        self.say(actor, What.DIED, detail)

    def healed(self) -> None:
        """Say that the last fault is over."""
        self.say(WORLD, What.HEALED)

    def quiet(self) -> None:
        """Say that nothing is under way: every answer has come, every task waits."""
        self.say(WORLD, What.QUIET)

    def leaked(self, actor: str, detail: str) -> None:
        """Say what is left that should not be: a task, a connection."""
        self.say(actor, What.LEAKED, detail)

    def over(self) -> None:
        """Say that the run is over."""
        self.say(WORLD, What.OVER)

    def command(
        self,
        actor: str,
        consumer: str,
        operation: str,
        *,
        count: int | None = None,
        seconds: float | None = None,
    ) -> None:
        """Say that a process asks the server for something: about how many, for how long."""
        self.say(actor, What.COMMAND, operation, consumer=consumer, count=count, seconds=seconds)

    def begun(self, topic: str, group: str, begin: EntryId | None, expiry: float) -> None:
        """Say that the server begins a private group after that entry; None: it was there."""
        if begin is not None:
            self.say(SERVER, What.BEGUN, topic=topic, group=group, entry_id=begin, seconds=expiry)

    # -- publishing ----------------------------------------------------------------------------

    def publishing(
        self, actor: str, messages: Sequence[Message], metadata: Mapping[str, str] = NO_HEADERS
    ) -> Told:
        """Say that messages are published together; the answer is told to what this returns."""
        self._batches += 1
        told = Told(self, actor, tuple(messages), self._batches)
        for message in messages:
            told.write(What.PUBLISHING, message, headers=headers_of(message, metadata))
        return told

    def scheduling(
        self,
        actor: str,
        message: Message,
        seconds: float | None = None,
        metadata: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        """Say that a message is to be published later, in so many seconds."""
        self.say(
            actor,
            What.SCHEDULING,
            topic=message.topic,
            label=label_of(message),
            seconds=seconds,
            headers=headers_of(message, metadata),
            expires=expiry_of(message, self.now()),
        )

    def scheduled(self, actor: str, message: Message) -> None:
        """Say that the server confirmed that it will be published."""
        self.say(actor, What.SCHEDULED, topic=message.topic, label=label_of(message))

    def cancelled(self, actor: str, message: Message) -> None:
        """Say that the server confirmed that it will not be published."""
        self.say(actor, What.CANCELLED_SCHEDULED, topic=message.topic, label=label_of(message))

    # -- subscribing ---------------------------------------------------------------------------

    def opening(self, actor: str, config: SubscriptionConfig, asked: Pairs = ()) -> None:
        """Say that a subscription is being opened, with settings that were made of *asked*."""
        self._about(What.OPENING, actor, "", config, asked=asked)

    def joined(
        self, actor: str, consumer: str, config: SubscriptionConfig, largest: int | None = None
    ) -> None:
        """Say that it is open, what its name is, and how large a payload it takes."""
        self._about(What.JOINED, actor, consumer, config, size=largest)

    def halted(self, actor: str, consumer: str, config: SubscriptionConfig) -> None:
        """Say that it was paused: it takes nothing for now."""
        self._about(What.HALTED, actor, consumer, config)

    def continued(self, actor: str, consumer: str, config: SubscriptionConfig) -> None:
        """Say that it was resumed."""
        self._about(What.CONTINUED, actor, consumer, config)

    def leaving(self, actor: str, consumer: str, config: SubscriptionConfig, how: str) -> None:
        """Say that it is being left; *how* is ``leave``, ``drain``, ``aclose`` or ``cancel``."""
        self._about(What.LEAVING, actor, consumer, config, how)

    def left(self, actor: str, consumer: str, config: SubscriptionConfig, how: str = "") -> None:
        """Say that its block is left; *how* says with which error, if with one."""
        self._about(What.LEFT, actor, consumer, config, how)

    def _about(
        self,
        what: What,
        actor: str,
        consumer: str,
        config: SubscriptionConfig,
        detail: str = "",
        *,
        size: int | None = None,
        asked: Pairs = (),
    ) -> None:
        line = Line(
            time=self.now(),
            actor=actor,
            what=what,
            topic=config.topic,
            group=config.group_of(consumer) if consumer else config.group,
            consumer=consumer,
            detail=detail,
            config=config,
            size=size,
            asked=asked,
        )
        self.write(line)

    # -- handling ------------------------------------------------------------------------------

    @contextmanager
    def handling(
        self,
        actor: str,
        config: SubscriptionConfig,
        consumer: str,
        delivery: Delivery,
        detail: str = "",
        *,
        yields: bool = False,
    ) -> Generator[None, None, None]:
        """Say that a handler starts, and, when the block is left, how it ended.

        *yields* says that it ends at once when it is cancelled.
        """
        handler = Handler(self, actor, config, consumer, delivery)
        handler.say(What.STARTED, detail, yields=yields, headers=headers_of(delivery.message))
        try:
            yield
        except BaseException as error:
            ended = What.CANCELLED if is_cancelled(error) else What.FAILED
            handler.say(ended, kind_of(error))
            raise
        handler.say(What.SUCCEEDED)

    @contextmanager
    def verb(
        self,
        actor: str,
        config: SubscriptionConfig,
        consumer: str,
        delivery: Delivery,
        verb: str,
        *,
        delay: float | None = None,
    ) -> Generator[None, None, None]:
        """Say that a handler calls one of the five verbs, and what became of it."""
        handler = Handler(self, actor, config, consumer, delivery)
        handler.say(What.VERB, verb, seconds=delay)
        try:
            yield
        except BaseException as error:
            handler.say(What.VERB_FAILED, f"{verb}: {kind_of(error)}")
            raise
        handler.say(What.VERB_DONE, verb)


class Told:
    """What a publisher is told of messages that it published together, in their order."""

    def __init__(
        self, journal: Journal, actor: str, messages: tuple[Message, ...], batch: int
    ) -> None:
        self._journal = journal
        self._actor = actor
        self._messages = messages
        self._batch = batch

    def __call__(self, results: Sequence[EntryId | BaseException]) -> None:
        """Write the results, one for each message."""
        for message, result in zip(self._messages, results, strict=True):
            if isinstance(result, BaseException):
                self.write(kind_of_failure(result), message, detail=kind_of(result))
            else:
                self.write(What.PUBLISHED, message, result)

    def failed(self, error: BaseException) -> None:
        """Write that all of them failed with this error, or were cancelled."""
        self([error] * len(self._messages))

    def write(
        self,
        what: What,
        message: Message,
        entry_id: EntryId | None = None,
        detail: str = "",
        headers: Pairs = (),
    ) -> None:
        """Write one line about one of them."""
        once = "once" if message.idempotency_key is not None else ""
        line = Line(
            time=self._journal.now(),
            actor=self._actor,
            what=what,
            topic=message.topic,
            entry_id=entry_id,
            label=label_of(message),
            batch=self._batch,
            detail=detail or once,
            size=len(message.payload),
            headers=headers,
            expires=expiry_of(message, self._journal.now()),
        )
        self._journal.write(line)


class Handler:
    """Writes what one handler does."""

    def __init__(
        self,
        journal: Journal,
        actor: str,
        config: SubscriptionConfig,
        consumer: str,
        delivery: Delivery,
    ) -> None:
        self._journal = journal
        self._actor = actor
        self._config = config
        self._consumer = consumer
        self._delivery = delivery
        self._attempt = delivery.state.attempt
        self._label = label_of(delivery.message)

    def say(
        self,
        what: What,
        detail: str = "",
        *,
        seconds: float | None = None,
        yields: bool = False,
        headers: Pairs = (),
    ) -> None:
        """Write one line."""
        now = self._journal.now()
        line = Line(
            time=now,
            actor=self._actor,
            what=what,
            topic=self._config.topic,
            group=self._config.group_of(self._consumer),
            consumer=self._consumer,
            entry_id=self._delivery.entry_id,
            attempt=self._attempt,
            label=self._label,
            detail=detail,
            yields=yields,
            seconds=seconds,
            key=self._delivery.message.key if what is What.STARTED else "",
            headers=headers,
            expires=expiry_of_delivery(self._delivery, now) if what is What.STARTED else None,
        )
        self._journal.write(line)
