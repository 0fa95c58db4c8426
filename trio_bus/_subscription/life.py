"""How a subscription ends: five bounded steps, in one order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import trio

from trio_bus._backend import Release
from trio_bus._errors import BusClosed, BusError, ConnectionLost, RemoteError
from trio_bus._modes import OrderingMode
from trio_bus._observer import Scope, Transition
from trio_bus._one_error import one_error

from .consumer import Consumer
from .core import Core
from .group import Group
from .ordered import Ordered
from .prober import Prober
from .reclaimer import Reclaimer
from .state import SubscriptionState

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

    def __init__(self, core: Core, backend: StreamBackend, outlet: Outlet, parting: float) -> None:
        self._core = core
        core.deliver, core.recall = outlet.deliver, outlet.recall
        core.on_fatal = self._end_body
        self.body_scope: trio.CancelScope = trio.CancelScope()
        self._outlet = outlet
        # Seconds: for the end of what is taken in, and again for giving back and being forgotten.
        self._parting = parting
        group = Group(backend, core)
        self._consumer = Consumer(core, group)
        keeps_order = core.config.ordering_mode is OrderingMode.KEY
        self._ordered = Ordered(core, group) if keeps_order else None
        self._reclaimer = Reclaimer(core, self._consumer, self._ordered)
        probe = None if self._ordered is None else self._ordered.probe
        self._prober = Prober(core, self._consumer, group, probe)
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
        nursery.start_soon(self._watch, name="trio_bus watch")
        self._core.notifier.transition(Transition.OPENED)

    @trio.lowlevel.enable_ki_protection
    async def _watch(self) -> None:
        """Stop as soon as the block is cancelled: its body may take a while to leave it."""
        try:
            await self.wait_draining()
        finally:
            self._stop()

    @property
    def is_open(self) -> bool:
        """Whether nobody drains it."""
        return self._core.state.value is SubscriptionState.RUNNING

    def _end_body(self) -> None:
        self.body_scope.cancel("the subscription cannot go on")
        self._stop()

    @trio.lowlevel.enable_ki_protection
    async def _serve(self) -> None:
        with self._services:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._core.flusher.run)
                nursery.start_soon(self._core.leases.run)
                nursery.start_soon(self._core.pulse.run)
                nursery.start_soon(self._take_in)

    @trio.lowlevel.enable_ki_protection
    async def _take_in(self) -> None:
        try:
            with self._intake:
                async with trio.open_nursery() as nursery:
                    if self._ordered is None:
                        nursery.start_soon(self._consumer.run)
                    nursery.start_soon(self._reclaimer.run)
                    if self._core.config.failure_threshold is not None:
                        nursery.start_soon(self._prober.run)
        finally:
            self._intake_ended.set()

    @property
    def is_active(self) -> bool:
        """Whether it takes entries in: where an order is kept, one of a group does."""
        return self._ordered is None or self._ordered.is_active

    async def wait_draining(self) -> None:
        """Wait until somebody drains the subscription."""
        state = self._core.state
        await state.wait_value(lambda value: value is not SubscriptionState.RUNNING)

    async def drain(self, timeout: float) -> None:
        """Take in nothing more, wait until nothing is in flight; cancel what takes longer."""
        self._stop()
        if timeout <= 0:
            self._outlet.cancel()
        if self._is_called_by_a_handler():
            await self._intake_ended.wait()
            return  # it cannot wait for its own end
        with trio.move_on_after(timeout):
            await self._wait_nothing_held()
            return
        self._outlet.cancel()
        await self._outlet.wait_finished()
        for holding in self._core.open_holdings():
            self._core.take_away(holding)
        await self._wait_ended()
        with trio.move_on_after(self._core.config.shutdown_timeout + self._parting):
            await self._wait_nothing_held()

    async def _wait_nothing_held(self) -> None:
        await self._intake_ended.wait()
        await self._core.held.wait_value(0)

    async def close(self) -> None:
        """Go through the five steps. A cancellation shortens the drain, skips nothing.

        It is not raised here, or it would replace the error of the body. The steps have a task of
        their own: Ctrl-C is raised in the main task alone, shielded or not.
        """
        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._close, name="trio_bus shutdown")

    @trio.lowlevel.enable_ki_protection
    async def _close(self) -> None:
        self._stop()
        with suppress(trio.Cancelled), trio.move_on_after(self._core.config.drain_timeout):
            await self._outlet.wait_finished()
        try:
            with trio.CancelScope(shield=True):
                await self._finish()
        finally:
            self._services.cancel("the subscription has ended")
            self._core.state.value = SubscriptionState.CLOSED
            self._core.notifier.transition(Transition.CLOSED)

    async def _finish(self) -> None:
        """The end of each step, bounded: the first one by the backend, the others in themselves."""
        self._outlet.cancel()
        await self._outlet.wait_finished()
        await self._intake_ended.wait()
        await self._settle()
        with trio.move_on_after(self._parting):
            await self._release_rest()
            await self._forget()
        self._give_up()

    @trio.lowlevel.enable_ki_protection
    def _stop(self) -> None:
        """Begin step 1: start nothing more, end the read and the claim that are under way.

        What they bring all the same is handed back, by the backend or as it arrives.
        """
        if self._core.state.value is not SubscriptionState.RUNNING:
            return
        self._core.state.value = SubscriptionState.DRAINING
        self._core.notifier.transition(Transition.DRAINING)
        self._intake.cancel("the subscription takes in nothing more")
        self._outlet.close()
        self._core.hand_back_unstarted()

    def _is_called_by_a_handler(self) -> bool:
        """Say whether a handler waits for the end of the caller: itself, or a task inside it."""
        caller = trio.lowlevel.current_task()
        return any(holding.encloses(caller) for holding in self._core.holdings)

    async def _wait_ended(self) -> None:
        """Wait until nothing runs any more: as long as it takes to honour its cancellation."""
        holdings = self._core.holdings
        await self._core.ends.wait_value(lambda _: not any(it.busy for it in holdings))

    async def _settle(self) -> None:
        """Step 3. Wait for the flusher, then give up on what is not confirmed, and tell of it."""
        with trio.move_on_after(self._core.config.shutdown_timeout):
            await self._core.flusher.wait_empty()
        self.unconfirmed = self._core.flusher.abandon(BusClosed("the subscription has ended"))
        for settling in self.unconfirmed:
            self._core.report(Scope.SETTLE, settling.unconfirmed(), settling.holding.receipt)

    async def _release_rest(self) -> None:
        """Step 4. Give back, uncounted, what nobody finished.

        Also what was given up in step 3: where its settlement did happen, this does nothing.
        """
        self._core.hand_back_all()
        if self.unconfirmed:
            await self._insist(self._release_unconfirmed)
        await self._core.flusher.wait_empty()

    async def _release_unconfirmed(self) -> None:
        releases = [Release(settling.holding.receipt) for settling in self.unconfirmed]
        most = self._core.config.ack_batch_size
        for start in range(0, len(releases), most):
            await self._release(releases[start : start + most])

    async def _release(self, releases: list[Release]) -> None:
        for release, result in zip(releases, await self._core.member.settle(releases), strict=True):
            if isinstance(result, RemoteError):
                self._core.report(Scope.RELEASE, result, release.receipt)

    async def _forget(self) -> None:
        """Step 5. Remove the consumer, unless it still owns entries."""
        await self._insist(self._core.member.forget)

    async def _insist(self, step: Callable[[], Awaitable[object]]) -> None:
        """Try again as long as it is the connection that fails, and whoever calls allows."""
        tries = 0
        while True:
            tries += 1
            try:
                await step()
            except ConnectionLost as error:
                self._core.report(Scope.RELEASE, error)
                await self._core.pause(tries)
            except BusError as error:
                self._core.report(Scope.RELEASE, error)
                return
            else:
                return

    def _give_up(self) -> None:
        """Wake who waits for what could not be given back, and tell of it: the lease returns it."""
        for settling in self._core.flusher.abandon(BusClosed("the subscription has ended")):
            self._core.report(Scope.RELEASE, settling.unconfirmed(), settling.holding.receipt)
