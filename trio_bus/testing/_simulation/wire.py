"""The way of one process to the server, on which everything can go wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

import attrs
import trio

from trio_bus._chance import Chance
from trio_bus._errors import BusError, ConnectionLost, RemoteError
from trio_bus.testing._journal import Journal
from trio_bus.testing._line import What

from .faults import Fault, Trouble
from .host import Host
from .process import Process

T = TypeVar("T")

MOST_CALLS = 20_000
"""Operations of one process: whoever asks for more runs hot."""


class Hot(Exception):
    """A process asks the server for more than any work could need."""


def leave_alone(_: object) -> None:
    """Do nothing about an answer that nobody gets."""


@attrs.define(eq=False)
class Wire:
    """Carries operations to the server and their answers back, as far as faults allow."""

    host: Host
    process: Process
    journal: Journal
    latency: float
    chance: Chance
    calls: int = 0
    is_deaf: bool = False
    _faults: list[Fault] = attrs.field(factory=list[Fault])
    _connections: dict[trio.CancelScope, None] = attrs.field(factory=dict[trio.CancelScope, None])

    def cut(self) -> None:
        """Lose the connection: what is under way gets no answer."""
        for connection in list(self._connections):
            connection.cancel("the connection was lost")

    @contextmanager
    def _connection(self) -> Generator[trio.CancelScope, None, None]:
        with trio.CancelScope() as scope:
            self._connections[scope] = None
            try:
                yield scope
            finally:
                del self._connections[scope]

    def expect(self, fault: Fault) -> None:
        """Let a fault hit the next operation that it fits."""
        self._faults.append(fault)

    def heal(self) -> None:
        """Let everything that waits for an operation be forgotten."""
        self._faults.clear()
        self.hear()
        self.process.go_on()

    def hear(self) -> None:
        """Hear wake-ups again."""
        self.is_deaf = False

    async def call(
        self,
        operation: str,
        act: Callable[[], Awaitable[T]],
        *,
        unknown: type[BusError] = ConnectionLost,
        consumer: str = "",
        stray: Callable[[T], None] = leave_alone,
        count: int | None = None,
        seconds: float | None = None,
    ) -> T:
        """Let the server do it, and return what it answers.

        Args:
          operation: How faults call it.
          act: What the server does.
          consumer: Who asks, if it is a member.
          unknown: What is raised where the server may have done it.
          stray: Called with the answer where that does not reach the caller.
          count: About how many entries it is, for the journal.
          seconds: How long the server may take for it, for the journal.
        """
        await self.process.breathe()
        self.check(operation, consumer, count, seconds)
        await self._depart(operation, unknown)
        done: list[T] = []
        returned = False
        try:
            with self._connection() as connection:
                await self._travel()
                done.append(await act())
                await self._come_back(operation, connection)
            await self.process.breathe()
            returned = not connection.cancelled_caught
        finally:
            for answer in () if returned else done:
                stray(answer)
        if not returned:
            raise unknown(f"{operation}: the connection was lost before the answer came")
        return done[0]

    async def _depart(self, operation: str, unknown: type[BusError]) -> None:
        """Begin an operation, if there is a connection and no fault.

        Raises:
          ConnectionLost: there is none.
          BusError: *unknown*, where it was sent.
          RemoteError: the server refuses it.
        """
        fault = self._next(operation, after=False)
        if self.host.is_down:
            await trio.lowlevel.checkpoint()
            raise ConnectionLost(f"{operation}: the server is down")
        if fault is not None and fault.trouble is Trouble.STRANDED:
            await self._strand(fault.seconds)
            raise unknown(f"{operation}: the connection was lost, and nobody did it")
        if fault is not None:
            await self._meet(operation, fault)

    def check(
        self,
        operation: str,
        consumer: str = "",
        count: int | None = None,
        seconds: float | None = None,
    ) -> None:
        """Count an operation, and tell the journal of it.

        Raises:
          Hot: it is one too many.
        """
        self.calls += 1
        actor = self.process.name
        self.journal.command(actor, consumer, operation, count=count, seconds=seconds)
        if self.calls > MOST_CALLS:
            raise Hot(f"{self.process.name}: {self.calls} operations, the last one: {operation}")

    async def _strand(self, seconds: float) -> None:
        """Stand still, while what was sent is nowhere."""
        name = self.process.name
        self.journal.fault(What.PAUSED, actor=name, seconds=seconds)
        self.process.stop()
        try:
            await self.host.linger(seconds)
        finally:
            self.journal.fault(What.RESUMED, actor=name)
            self.process.go_on()

    async def _meet(self, operation: str, fault: Fault) -> None:
        if fault.trouble is Trouble.SLOW:
            with self._connection() as connection:
                await self.host.linger(fault.seconds)
            await self.process.breathe()
            if not connection.cancelled_caught:
                return
        await trio.lowlevel.checkpoint()
        if fault.trouble is Trouble.REFUSED:
            raise RemoteError("OOM command not allowed when used memory > 'maxmemory'.")
        raise ConnectionLost(f"{operation}: the connection was lost before it was sent")

    async def _travel(self) -> None:
        if self.latency:
            await trio.sleep(self.latency * self.chance.random())

    async def _come_back(self, operation: str, connection: trio.CancelScope) -> None:
        fault = self._next(operation, after=True)
        if fault is None:
            await self._travel()
        elif fault.trouble is Trouble.SLOW:
            await self.host.linger(fault.seconds)
        else:
            self.journal.fault(What.REPLY_LOST, operation, actor=self.process.name)
            connection.cancel("the connection was lost")
            await trio.lowlevel.checkpoint()

    def is_halved(self, operation: str) -> bool:
        """Say whether the connection is lost in the middle of this operation."""
        return self._next(operation, after=True, half=True) is not None

    def _next(self, operation: str, *, after: bool, half: bool = False) -> Fault | None:
        """Return the fault that hits this operation, if there is one, and use it up."""
        for place, fault in enumerate(self._faults):
            fits = fault.operation in {"", operation} and fault.after is after
            if not fits or (fault.trouble is Trouble.HALF) is not half:
                continue
            if fault.number > 1:
                self._faults[place] = attrs.evolve(fault, number=fault.number - 1)
            else:
                del self._faults[place]
            return fault
        return None
