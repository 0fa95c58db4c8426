"""How a subscription ends: five bounded steps, in one order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

import trio

from trio_bus._backend import Release
from trio_bus._errors import BusClosed, BusError
from trio_bus._observer import Scope, Transition
from trio_bus._one_error import one_error

from .consumer import Consumer
from .core import Core, SubscriptionState
from .group import Group
from .leases import Leases
from .reclaimer import Reclaimer

if TYPE_CHECKING:
    from trio_bus._backend import StreamBackend
    from trio_bus._holding import Holding
    from trio_bus._settling import Settling


class Outlet(Protocol):
    """Where held entries go: to handlers, or to the user's own loop."""

    def deliver(self, holdings: list[Holding]) -> None:
        """Take these on."""
        ...

    def recall(self) -> None:
        """Give back what has not started; go on with what comes."""
        ...

    def close(self) -> None:
        """Start nothing more."""
        ...

    def cancel(self) -> None:
        """Cancel what was started."""
        ...

    async def wait_finished(self) -> None:
        """Wait until all that was started has ended."""
        ...

    async def run(self) -> None:
        """Run until closed and finished."""
        ...


class Life:
    """The tasks of one subscription, and their end.

    The service tasks live in a shielded scope that only `close` cancels: the body, and its
    ``finally``, can settle and publish while everything outside is being cancelled. They do not
    raise for faults that are expected.
    """

    def __init__(
        self, core: Core, backend: StreamBackend, outlet: Outlet, command_timeout: float
    ) -> None:
        self._core = core
        core.deliver, core.recall = outlet.deliver, outlet.recall
        self._outlet = outlet
        self._command_timeout = command_timeout
        self._consumer = Consumer(core, Group(backend, core))
        self._reclaimer = Reclaimer(core, self._consumer)
        self._services = trio.CancelScope(shield=True)
        self._intake = trio.CancelScope()
        self._intake_ended = trio.Event()
        self.unconfirmed: list[Settling] = []
        """Settlements that the server had not confirmed at the end of step 3."""

    @trio.lowlevel.enable_ki_protection
    def start(self, nursery: trio.Nursery) -> None:
        """Start the tasks."""
        nursery.start_soon(self._serve, name="trio_bus service tasks")
        nursery.start_soon(self._outlet.run, name="trio_bus handlers")
        self._core.notifier.transition(Transition.OPENED)

    @trio.lowlevel.enable_ki_protection
    async def _serve(self) -> None:
        with self._services:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._core.flusher.run)
                nursery.start_soon(Leases(self._core).run)
                nursery.start_soon(self._take_in)

    @trio.lowlevel.enable_ki_protection
    async def _take_in(self) -> None:
        try:
            with self._intake:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._consumer.run)
                    nursery.start_soon(self._reclaimer.run)
        finally:
            self._intake_ended.set()

    async def wait_draining(self) -> None:
        """Wait until somebody drains the subscription."""
        state = self._core.state
        await state.wait_value(lambda value: value is not SubscriptionState.RUNNING)

    async def drain(self, timeout: float) -> None:
        """Take in nothing more, wait until nothing is in flight; cancel what takes longer."""
        await self._stop()
        if timeout <= 0:
            self._outlet.cancel()
        if self._is_called_by_a_handler():
            return  # it cannot wait for its own end
        with trio.move_on_after(timeout):
            await self._core.held.wait_value(0)
            return
        self._outlet.cancel()
        await self._outlet.wait_finished()
        for holding in self._core.open_holdings():
            self._core.hand_back_when_ended(holding)
        await self._wait_ended()
        with trio.move_on_after(self._core.config.shutdown_timeout + self._command_timeout):
            await self._core.held.wait_value(0)

    async def close(self) -> None:
        """Go through the five steps. Cancellation: shortens the drain, skips nothing.

        They have a task of their own: Ctrl-C is raised in the main task alone, shielded or not.
        """
        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._close, name="trio_bus shutdown")

    @trio.lowlevel.enable_ki_protection
    async def _close(self) -> None:
        try:
            await self._stop()
            with trio.move_on_after(self._core.config.drain_timeout):
                await self._outlet.wait_finished()
        finally:
            with trio.CancelScope(shield=True):
                self._outlet.cancel()
                await self._outlet.wait_finished()
                await self._settle()
                with trio.move_on_after(self._command_timeout):
                    await self._release_rest()
                    await self._forget()
            self._services.cancel("the subscription has ended")
            self._core.state.value = SubscriptionState.CLOSED
            self._core.notifier.transition(Transition.CLOSED)

    async def _stop(self) -> None:
        """Step 1. End the read and the claim that are under way; what they brought is handed back.

        Bounded: the backend ends a read within its command timeout.
        """
        self._begin_to_stop()
        with trio.CancelScope(shield=True):
            await self._intake_ended.wait()
        self._outlet.close()
        for holding in self._core.open_holdings():
            if holding.predecessor is not None:  # it has not started, and will not
                self._core.hand_back(holding)

    @trio.lowlevel.enable_ki_protection
    def _begin_to_stop(self) -> None:
        if self._core.state.value is SubscriptionState.RUNNING:
            self._core.state.value = SubscriptionState.DRAINING
            self._core.notifier.transition(Transition.DRAINING)
        self._intake.cancel("the subscription takes in nothing more")

    def _is_called_by_a_handler(self) -> bool:
        caller = trio.lowlevel.current_task()
        return any(holding.task is caller for holding in self._core.holdings)

    async def _wait_ended(self) -> None:
        """Wait until nothing runs any more: as long as it takes to honour its cancellation."""
        holdings = self._core.holdings
        await self._core.ends.wait_value(lambda _: not any(it.busy for it in holdings))

    async def _settle(self) -> None:
        """Step 3. Wait for the flusher, then give up on what is not confirmed."""
        with trio.move_on_after(self._core.config.shutdown_timeout):
            await self._core.flusher.outstanding.wait_value(0)
        self.unconfirmed = self._core.flusher.abandon(BusClosed("the subscription has ended"))

    async def _release_rest(self) -> None:
        """Step 4. Give back, uncounted, what nobody finished.

        Also what was given up in step 3: where its settlement did happen, this does nothing.
        """
        for holding in self._core.open_holdings():
            self._core.hand_back(holding)
        given_up = [Release(settling.holding.receipt) for settling in self.unconfirmed]
        if given_up:
            await self._try(lambda: self._core.member.settle(given_up))
        await self._core.flusher.outstanding.wait_value(0)

    async def _forget(self) -> None:
        """Step 5. Remove the consumer, unless it still owns entries."""
        await self._try(self._core.member.forget)

    async def _try(self, step: Callable[[], Awaitable[object]]) -> None:
        try:
            await step()
        except BusError as error:
            self._core.report(Scope.RELEASE, error)
