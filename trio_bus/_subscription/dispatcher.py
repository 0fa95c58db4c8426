"""The inner nursery: one task for each delivery that a handler works on."""

from __future__ import annotations

import abc
import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import trio

from trio_bus._batch import Batch
from trio_bus._delivery import Delivery
from trio_bus._errors import BusError
from trio_bus._modes import AckMode
from trio_bus._one_error import one_error

if TYPE_CHECKING:
    from trio_bus._holding import Holding

    from .core import Core

_T = TypeVar("_T")

Handler = Callable[[Delivery], Awaitable[None]]
"""An async function of one delivery."""

BatchHandler = Callable[[Batch], Awaitable[None]]
"""An async function of one batch."""


class _Tasks(abc.ABC):
    """Starts tasks for the entries that arrive, until it is closed.

    Its tasks are the user's code: they run unshielded, and what is not an `Exception` leaves the
    subscription through here.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        # Without a bound of its own: what is in it holds a permit.
        self._arrived, self._reads = trio.open_memory_channel["list[Holding]"](math.inf)
        self._scope = trio.CancelScope()
        self._finished = trio.Event()

    def deliver(self, holdings: list[Holding]) -> None:
        """Start these soon; after `close`, leave them to be released."""
        try:
            self._arrived.send_nowait(holdings)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            self._forgo(holdings)

    def recall(self) -> None:  # noqa: B027 - it is nothing, for all
        """Do nothing: each has a task, or will have one in a moment."""

    def close(self) -> None:
        """Take no more; whoever closes gives back what has not started, and so it never does."""
        self._arrived.close()

    def cancel(self) -> None:
        """Cancel every handler."""
        self._scope.cancel("the drain timeout is over")

    async def wait_finished(self) -> None:
        """Wait until every handler has ended."""
        await self._finished.wait()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Run handlers until closed, or cancelled, and the last one has ended."""
        try:
            with self._scope, one_error():
                async with trio.open_nursery() as nursery:
                    async for holdings in self._reads:
                        self._start(nursery, holdings)
        finally:
            with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
                while True:
                    self._forgo(self._reads.receive_nowait())
            self._reads.close()
            self._finished.set()

    @abc.abstractmethod
    def _start(self, nursery: trio.Nursery, holdings: list[Holding]) -> None:
        """Start what handles these."""

    def _forgo(self, holdings: list[Holding]) -> None:
        """Let go of what was acked on arrival and is not handled any more: at most once.

        The rest is open, and given back at the end.
        """
        for holding in holdings:
            if not holding.open:
                self._core.ended(holding)


class Dispatcher(_Tasks):
    """Starts a task for each entry."""

    def __init__(self, core: Core, handler: Handler) -> None:
        super().__init__(core)
        self._handler = handler

    def _start(self, nursery: trio.Nursery, holdings: list[Holding]) -> None:
        for holding in holdings:
            nursery.start_soon(self._handle, holding)

    @trio.lowlevel.enable_ki_protection
    async def _handle(self, holding: Holding) -> None:
        acked_first = self._core.ack_mode is AckMode.AUTO_ON_RECEIVE
        if not await (self._acked(holding) if acked_first else self._may_start(holding)):
            return
        self._core.history.started(holding)
        holding.begin()
        error = await _failure(self._handler, Delivery(holding))
        ack = self._core.ack_mode is AckMode.AUTO_ON_HANDLER_SUCCESS
        onward = holding.conclude(error, ack=ack)
        if onward is not None:
            raise onward

    async def _may_start(self, holding: Holding) -> bool:
        """Say whether it is ours, and in time: that may have been over while we asked."""
        ours = await self._core.leases.check(holding)
        return ours and not self._core.inspection.expire(holding)

    async def _acked(self, holding: Holding) -> bool:
        """Wait for the ack that precedes the handler; say whether the entry is ours to handle.

        Cancelled, it is not handled: at most once.
        """
        assert holding.settling is not None, "AUTO_ON_RECEIVE submits on arrival"
        try:
            await holding.settling.confirmed()
        except BaseException as error:
            self._core.ended(holding)
            if isinstance(error, BusError):
                return False
            raise
        if self._core.inspection.is_over(holding):
            self._core.ended(holding)
            return False
        return True


class BatchDispatcher(_Tasks):
    """Starts a task for what arrives together: what one read or one claim brought."""

    def __init__(self, core: Core, handler: BatchHandler) -> None:
        super().__init__(core)
        self._handler = handler

    def _start(self, nursery: trio.Nursery, holdings: list[Holding]) -> None:
        nursery.start_soon(self._handle_all, holdings)

    @trio.lowlevel.enable_ki_protection
    async def _handle_all(self, holdings: list[Holding]) -> None:
        for holding in holdings:
            if holding.is_doubtful:
                await self._core.leases.check(holding)
        expire = self._core.inspection.expire
        ours = [holding for holding in holdings if holding.open and not expire(holding)]
        if not ours:
            return
        for holding in ours:
            self._core.history.started(holding)
        batch = Batch([Delivery(holding) for holding in ours])
        batch.begin()
        error = await _failure(self._handler, batch)
        ack = self._core.ack_mode is AckMode.AUTO_ON_HANDLER_SUCCESS
        onward = batch.conclude(error, ack=ack)
        if onward is not None:
            raise onward


@trio.lowlevel.enable_ki_protection
async def _failure(handler: Callable[[_T], Awaitable[None]], about: _T) -> BaseException | None:
    """Run a handler and return what it raised, for `conclude` to sort."""
    try:
        await _call(handler, about)
    except BaseException as caught:  # noqa: BLE001 - see above
        return caught
    return None


@trio.lowlevel.disable_ki_protection
async def _call(handler: Callable[[_T], Awaitable[None]], about: _T) -> None:
    """Run the user's code, where Ctrl-C may surface."""
    await handler(about)
