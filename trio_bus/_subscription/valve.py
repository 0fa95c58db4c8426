"""Whether anything may be taken in now."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import Enum, unique

import trio


@unique
class Reason(Enum):
    """Why a valve is shut, whatever room there is."""

    USER = "the program paused it"
    OUTAGE = "everything fails"


def _never() -> bool:
    return False


class Valve:
    """Lets entries in unless somebody has a reason against it, or too many bytes are held.

    Reasons are independent: it opens when the last one is taken back.

    Invariant: where bytes have a bound, one read or claim is under way at a time, and none is begun
    while as many are held: they overshoot by what one of them brings.
    """

    def __init__(self, most_bytes: int | None) -> None:
        self._most_bytes = math.inf if most_bytes is None else most_bytes
        self.bytes: int = 0
        """Of the records that are held."""
        self._under_way = 0
        self._reasons: set[Reason] = set()
        self._changed: trio.Event | None = None
        self._scopes: dict[trio.CancelScope, Callable[[], bool]] = {}

    def is_shut_for(self, reason: Reason) -> bool:
        """Say whether that is one of the reasons."""
        return reason in self._reasons

    def is_shut(self, despite: Reason | None = None) -> bool:
        """Say whether nothing may be taken now; *despite* is a reason that does not count."""
        if self._reasons and any(reason is not despite for reason in self._reasons):
            return True
        bounded = self._most_bytes < math.inf
        return bounded and (self._under_way > 0 or self.bytes >= self._most_bytes)

    async def wait_open(self, despite: Reason | None = None) -> None:
        """Wait until more may be taken; no checkpoint where that is so."""
        while self.is_shut(despite):
            await self._wait_change()

    async def _wait_change(self) -> None:
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    async def wait_without(self, reason: Reason) -> None:
        """Wait until that is no reason any more; no checkpoint where it is none."""
        while self.is_shut_for(reason):
            await self._wait_change()

    def shut(self, reason: Reason) -> None:
        """Let nothing in any more, and end what waits for something to come in."""
        self._reasons.add(reason)
        for scope, is_spared in self._scopes.items():
            if not is_spared():
                scope.cancel(reason.value)

    def open(self, reason: Reason) -> None:
        """Take back a reason."""
        self._reasons.discard(reason)
        self._wake()

    @contextmanager
    def ending(self, spare: Callable[[], bool] = _never) -> Generator[trio.CancelScope, None, None]:
        """Cancel the block when somebody shuts the valve; not while *spare* says so."""
        with trio.CancelScope() as scope:
            self._scopes[scope] = spare
            try:
                yield scope
            finally:
                del self._scopes[scope]

    def begin(self) -> None:
        """Count a read or a claim that begins."""
        self._under_way += 1

    def end(self) -> None:
        """Count one that has ended; what it brought is told in the same step."""
        self._under_way -= 1
        self._wake()

    def hold(self, size: int) -> None:
        """Count so many bytes more."""
        self.bytes += size

    def drop(self, size: int) -> None:
        """Count so many bytes less."""
        self.bytes -= size
        self._wake()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None
