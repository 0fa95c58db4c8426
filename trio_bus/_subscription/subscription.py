"""What a program sees of a subscription."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, final

import attrs
import trio

from trio_bus._observer import Scope, Transition

from .batches import Batches
from .valve import Reason

if TYPE_CHECKING:
    from trio_bus._batch import Batch
    from trio_bus._config import SubscriptionConfig
    from trio_bus._delivery import Delivery

    from .buffer import Buffer
    from .core import Core
    from .life import Life
    from .state import SubscriptionState


@attrs.frozen(kw_only=True)
class SubscriptionStatistics:
    """What a subscription holds now, and how many deliveries ended which way since it was opened.

    Each delivery that was ``received`` ends once, and raises one of ``handled`` to ``unconfirmed``
    by one, when the server has answered. With AUTO_ON_RECEIVE that is before its handler starts.
    """

    state: SubscriptionState
    in_flight: int
    """Held now: waiting to start, being handled, or waiting for the server to confirm."""
    in_flight_bytes: int
    """The size of their records."""
    paused: bool
    """Whether ``pause()`` was called, and ``resume()`` was not since."""
    outage: bool
    """Whether everything fails, and reading is paused for that: see ``failure_threshold``."""
    pending_acks: int
    """The part of them that waits for the server to confirm."""
    received: int
    """New entries, and those that were taken over."""
    failed: int
    """How often a handler raised or took too long, whatever came of it."""
    handled: int
    """Acknowledged."""
    retried: int
    rejected: int
    """Dead-lettered, for whatever cause; also what was found over its limit when taking over."""
    released: int
    expired: int
    """Acknowledged unhandled: their time was over, and there is no dead-letter topic."""
    lost_leases: int
    vanished: int
    """Deleted or trimmed while pending; also what taking over found to be gone."""
    unconfirmed: int
    """Not confirmed by the server before the subscription ended."""
    trimmed: int
    """Removed from the topic by this subscription, as its ``retention`` says: entries."""
    last_errors: dict[Scope, Exception]
    """The latest error of each kind that this subscription met."""
    active: bool = True
    """Whether it takes entries in. With `OrderingMode.KEY` one of a group does; others stand by."""


class _Running:
    """What both kinds of subscription can do."""

    def __init__(self, core: Core, life: Life, name: str) -> None:
        self._core = core
        self._life = life
        self._name = name

    @property
    def config(self) -> SubscriptionConfig:
        """The settings that it was opened with."""
        return self._core.config

    @property
    def name(self) -> str:
        """The name of this consumer in its group."""
        return self._name

    def statistics(self) -> SubscriptionStatistics:
        """Return a snapshot."""
        counts = self._core.history.counts
        return SubscriptionStatistics(
            state=self._core.state.value,
            in_flight=self._core.held.value,
            in_flight_bytes=self._core.valve.bytes,
            paused=self._core.valve.is_shut_for(Reason.USER),
            outage=self._core.outage.lasts.value,
            pending_acks=self._core.flusher.outstanding,
            received=counts[Transition.RECEIVED] + counts[Transition.TAKEN_OVER],
            failed=self._core.history.failures,
            handled=counts[Transition.ACKED],
            retried=counts[Transition.RETRIED],
            rejected=counts[Transition.DEAD_LETTERED],
            released=counts[Transition.RELEASED],
            expired=counts[Transition.EXPIRED],
            lost_leases=counts[Transition.LEASE_LOST],
            vanished=counts[Transition.VANISHED],
            unconfirmed=counts[Transition.UNCONFIRMED],
            trimmed=self._core.history.trimmed,
            last_errors=dict(self._core.last_errors),
            active=self._life.is_active,
        )

    async def wait_idle(self) -> None:
        """Wait until nothing is held: all that was received is settled and confirmed.

        Returns at once where that is so, and after the end of the subscription. More may have come
        when it returns. What waits for another attempt, or was released, is not held. Any number of
        tasks may wait.
        """
        await self._core.held.wait_value(0)

    def pause(self) -> None:
        """Take in nothing, and start nothing, until `resume`. Never a checkpoint.

        Nothing starts once this has returned. What runs goes on, its leases are renewed, and it is
        settled. What was received and has not started is given back, uncounted: other consumers of
        the group take it, and whatever else comes. With AUTO_ON_RECEIVE what is acked already
        starts all the same. What is scheduled on the topic is published in time. Draining and
        leaving work as ever. Where it is paused or drained already this changes nothing.
        """
        if self._core.takes_in:
            self._core.valve.shut(Reason.USER)
            self._core.hand_back_unstarted()
            self._core.history.paused()

    def resume(self) -> None:
        """Take in entries again. Never a checkpoint.

        Where it is not paused, or is drained, nothing changes.
        """
        if self._life.is_open and self._core.valve.is_shut_for(Reason.USER):
            self._core.valve.open(Reason.USER)
            self._core.history.resumed()

    async def drain(self) -> None:
        """Take in nothing more; return when nothing is in flight.

        What was received and not started is given back. Started handlers may run on for
        ``drain_timeout`` seconds, then they are cancelled and their entries given back. May be
        called by several tasks, and again. A handler that calls it, a task inside ``async with
        delivery``, and what these have started, do not wait for themselves: it returns as soon as
        nothing more is taken in.

        Cancellation: nothing more is taken in all the same; call it again to wait.
        """
        await self._life.drain(self._core.config.drain_timeout)

    async def aclose(self) -> None:
        """Drain without patience: cancel the handlers and give back what they had."""
        await self._life.drain(0.0)

    def __repr__(self) -> str:
        config = self._core.config
        kind, state = type(self).__name__, self._core.state.value.value
        return f"<{kind} {self._name!r} of {self._core.group!r} on {config.topic!r}: {state}>"


@final
class Subscription(_Running, trio.abc.AsyncResource):
    """A running subscription whose handler gets the deliveries."""


@final
class PullSubscription(_Running, trio.abc.ReceiveChannel["Delivery"]):
    """A running subscription whose deliveries you receive yourself.

    Iterate over it, from one task or from several. Iteration ends when it is drained.
    """

    def __init__(self, core: Core, life: Life, name: str, buffer: Buffer) -> None:
        super().__init__(core, life, name)
        self._buffer = buffer

    def batches(self, max_size: int | None = None, max_wait: float = 0.0) -> AsyncIterator[Batch]:
        """Iterate over batches instead: ``async for batch in deliveries.batches(100, 0.5)``.

        A batch is complete with *max_size* deliveries, or *max_wait* seconds after its first. It
        has at least one. What was received for one that is not complete when iteration is cancelled
        or the subscription drained, is given back.

        Args:
          max_size: From 1 to ``max_in_flight``, which is what None means.
          max_wait: At least 0: what is there.

        Raises:
          ValidationError: one of them is not in its range.
        """
        return Batches(self._core, self._buffer, max_size, max_wait)

    async def receive(self) -> Delivery:
        """Wait for the next delivery.

        Raises:
          trio.EndOfChannel: the subscription is drained or closed.
        """
        return await self._buffer.receive()
