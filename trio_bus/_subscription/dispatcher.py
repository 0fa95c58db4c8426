"""The inner nursery: one task for each delivery that a handler works on."""

from __future__ import annotations

import abc
import math
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from trio_bus._batch import Batch
from trio_bus._delivery import Delivery
from trio_bus._errors import BusError
from trio_bus._modes import AckMode
from trio_bus._one_error import one_error

from .cell import NAME, Cell

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
        self._margin = core.lease / 2
        self._expire = core.inspection.expire
        self._nursery: trio.Nursery | None = None  # while it takes anything
        self._context = copy_context()
        self._closed = trio.Event()
        self._scope = trio.CancelScope()
        self._finished = trio.Event()

    def deliver(self, holdings: list[Holding]) -> None:
        """Start these at once; after `close`, leave them to be released."""
        if self._nursery is not None:
            # Whoever delivers may be another handler: its context is no business of these.
            self._context.run(self._start, self._nursery, holdings)
        else:
            self._forgo(holdings)

    def recall(self) -> None:  # noqa: B027 - it is nothing, for all
        """Do nothing: each has a task, or will have one in a moment."""

    def close(self) -> None:
        """Take no more; whoever closes gives back what has not started, and so it never does."""
        self._end_intake()
        self._closed.set()

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
                    try:
                        if not self._closed.is_set():
                            self._nursery = nursery
                        await self._closed.wait()
                    finally:
                        self._end_intake()
        finally:
            self._finished.set()

    def _end_intake(self) -> None:
        self._nursery = None

    @abc.abstractmethod
    def _start(self, nursery: trio.Nursery, holdings: list[Holding]) -> None:
        """Start what handles these."""

    def _is_in_time(self, holding: Holding) -> bool:
        """Say whether it is ours, and in time: that may have been over while we waited."""
        if holding.settling is not None or holding.lost:
            return False
        message = holding.message
        return message is None or message.expires_at is None or not self._expire(holding)

    def _forgo(self, holdings: list[Holding]) -> None:
        """Let go of what was acked on arrival and is not handled any more: at most once.

        The rest is open, and given back at the end.
        """
        for holding in holdings:
            if not holding.open:
                self._core.ended(holding)


class Dispatcher(_Tasks):
    """Starts a task for each entry, in a cell of its own."""

    def __init__(self, core: Core, handler: Handler) -> None:
        super().__init__(core)
        self._handler = handler
        self._idle: list[Cell] = []
        self._acks = core.ack_mode is AckMode.AUTO_ON_HANDLER_SUCCESS
        self._acks_first = core.ack_mode is AckMode.AUTO_ON_RECEIVE
        self._has_timeout = core.config.handler_timeout is not None

    def _start(self, nursery: trio.Nursery, holdings: list[Holding]) -> None:
        for holding in holdings:
            cell = self._idle.pop() if self._idle else None
            if cell is not None and cell.is_open:
                cell.nursery.start_soon(self._handle, holding, cell, name=NAME)
            else:
                nursery.start_soon(Cell().live, partial(self._handle, holding))

    def _end_intake(self) -> None:
        super()._end_intake()
        for cell in self._idle:
            cell.scope.cancel("there is no more to handle")
        self._idle.clear()

    @trio.lowlevel.enable_ki_protection
    async def _handle(self, holding: Holding, cell: Cell) -> None:
        """Handle one. It is written out, because each message pays for each call in it."""
        now, onward = self._core.time(), None
        if self._acks_first or now >= holding.lease_until - self._margin:
            ours, now = await self._is_ours(holding), self._core.time()
        else:
            ours = self._is_in_time(holding)
        if ours:
            self._core.history.started(now, holding)
            if self._has_timeout:
                holding.deadline = cell.scope.deadline = now + holding.context.handler_timeout
            holding.run_in(cell.nursery, cell.scope)
            try:
                await _call(self._handler, Delivery(holding))
            except BaseException as error:  # noqa: BLE001 - what has to be raised, is
                if cell.scope.cancel_called:
                    cell.end_with(partial(holding.conclude_cancelled, error, ack=self._acks))
                    return
                onward = holding.settle_after(error, ack=self._acks)
            else:
                if self._acks and holding.settling is None and not holding.lost:
                    self._core.succeeded(holding)
                else:
                    holding.end(None, release=False, ack=False)
        if onward is not None:
            raise onward
        if self._nursery is None or holding.lost or self._has_timeout:
            self._leave(cell)
        else:
            self._idle.append(cell)

    def _leave(self, cell: Cell) -> None:
        """Keep the cell for the next one, or end it; one that is cancelled ends by itself."""
        cell.scope.deadline = math.inf
        if self._nursery is None:
            cell.scope.cancel("there is no more to handle")
        elif not cell.scope.cancel_called:
            self._idle.append(cell)

    async def _is_ours(self, holding: Holding) -> bool:
        return await (self._acked(holding) if self._acks_first else self._may_start(holding))

    async def _may_start(self, holding: Holding) -> bool:
        await self._core.leases.check(holding)
        return self._is_in_time(holding)

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
        now = trio.current_time()
        for holding in holdings:
            if now >= holding.lease_until - self._margin:
                await self._core.leases.check(holding)
                now = trio.current_time()
        ours = [  # as `_is_in_time` says, without a call for each
            it
            for it in holdings
            if it.settling is None
            and not it.lost
            and (it.message is None or it.message.expires_at is None or not self._expire(it))
        ]
        if not ours:
            return
        self._core.history.started(now, *ours)
        batch = Batch(ours)
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
