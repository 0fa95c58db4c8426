"""Runtimes with one fault each: the real one, in which one thing is done wrong."""

from __future__ import annotations

# pyright: reportPrivateUsage=false
# The faults are inside.
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

import pytest
import trio

from trio_bus._backend import Ack, Bury, DeathCause, Release
from trio_bus._delivery import Delivery
from trio_bus._errors import HandlerTimeout
from trio_bus._holding import Holding
from trio_bus._policy import Policy, death
from trio_bus._subscription import dispatcher
from trio_bus._subscription.dispatcher import Dispatcher
from trio_bus._subscription.leases import Leases
from trio_bus._subscription.life import Life
from trio_bus._subscription.permits import Permits
from trio_bus._subscription.valve import Valve

if TYPE_CHECKING:
    from trio_bus._backend import Receipt, Settlement
    from trio_bus._decision import Reason

Fault = Callable[[pytest.MonkeyPatch], None]


def acks_before_it_handles(patch: pytest.MonkeyPatch) -> None:
    """At least once becomes at most once."""

    async def call(handler: dispatcher.Handler, delivery: Delivery) -> None:
        holding: Holding = delivery._holding
        if holding.open:
            holding.context.keeper.submit(holding, Ack(holding.receipt))
        await handler(delivery)

    patch.setattr(dispatcher, "_call", call)


def takes_one_too_many(patch: pytest.MonkeyPatch) -> None:
    """There is a permit more than there should be."""
    real = Permits.__init__

    def init(self: Permits, max_in_flight: int, max_pending_acks: int, valve: Valve) -> None:
        real(self, max_in_flight + 1, max_pending_acks, valve)

    patch.setattr(Permits, "__init__", init)


def keeps_what_it_did_not_finish(patch: pytest.MonkeyPatch) -> None:
    """What was not finished at the close is left to its lease."""

    async def release_rest(self: Life) -> None:
        await trio.lowlevel.checkpoint()

    patch.setattr(Life, "_release_rest", release_rest)

    def submit(self: Holding, settlement: Ack | Release) -> None:
        if isinstance(settlement, Ack) and self.open:
            self.context.keeper.submit(self, settlement)

    patch.setattr(Holding, "_submit_if_open", submit)


def never_renews(patch: pytest.MonkeyPatch) -> None:
    """Leases run out under handlers that take long."""

    def next_renewal(self: Leases) -> float:
        return inf

    patch.setattr(Leases, "_next", next_renewal)


def buries_one_too_early(patch: pytest.MonkeyPatch) -> None:
    """The last attempt is never made."""
    real = Policy.retry

    def retry(self: Policy, receipt: Receipt, reason: Reason, delay: float | None) -> Settlement:
        if receipt.attempt >= self.max_attempt - 1:
            return Bury(receipt, death(DeathCause.EXHAUSTED, reason))
        return real(self, receipt, reason, delay)

    patch.setattr(Policy, "retry", retry)


def counts_cancellation_as_failure(patch: pytest.MonkeyPatch) -> None:
    """What was cancelled is retried, and counted."""

    def submit(self: Holding, settlement: Ack | Release) -> None:
        if isinstance(settlement, Release):
            self.context.keeper.failed(self, HandlerTimeout("it was cancelled"))
        elif self.open:
            self.context.keeper.submit(self, settlement)

    patch.setattr(Holding, "_submit_if_open", submit)


def does_not_wait_for_its_handlers(patch: pytest.MonkeyPatch) -> None:
    """A block is left while its handlers run."""

    async def wait_finished(self: Dispatcher) -> None:
        await trio.lowlevel.checkpoint()

    patch.setattr(Dispatcher, "wait_finished", wait_finished)


def acks_what_is_rejected(patch: pytest.MonkeyPatch) -> None:
    """What nobody can handle is done, and not in the dead-letter topic."""

    def reject(self: Policy, receipt: Receipt, reason: Reason) -> Settlement:
        return Ack(receipt)

    patch.setattr(Policy, "reject", reject)


def never_times_out(patch: pytest.MonkeyPatch) -> None:
    """A handler may take as long as it likes."""
    real = Holding.begin

    def begin(self: Holding) -> None:
        real(self)
        assert self._scope is not None
        self._scope.deadline = self.deadline = inf

    patch.setattr(Holding, "begin", begin)


def leaves_a_task(patch: pytest.MonkeyPatch) -> None:
    """Something of a subscription runs for ever."""
    real = Life.start

    def start(self: Life, nursery: trio.Nursery) -> None:
        real(self, nursery)
        trio.lowlevel.spawn_system_task(trio.sleep_forever)

    patch.setattr(Life, "start", start)


FAULTS: tuple[tuple[Fault, set[str]], ...] = (
    (acks_before_it_handles, {"decisions"}),
    (takes_one_too_many, {"bounds"}),
    (keeps_what_it_did_not_finish, {"lives"}),
    (never_renews, {"leases", "in flight"}),
    (buries_one_too_early, {"deaths"}),
    (counts_cancellation_as_failure, {"cancellations"}),
    (does_not_wait_for_its_handlers, {"decisions"}),
    (acks_what_is_rejected, {"decisions"}),
    (never_times_out, {"handler timeout"}),
    (leaves_a_task, {"leaks"}),
)
"""Each with the names of the invariants that may notice it."""
