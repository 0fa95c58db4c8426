"""Readers that wait for entries."""

from __future__ import annotations

from collections.abc import Callable

import trio

from trio_bus._backend import Entry

from .errors import StreamError

Look = Callable[[], list[Entry]]


class _Waiter:
    __slots__ = ("found", "look", "task")

    def __init__(self, look: Look) -> None:
        self.task = trio.lowlevel.current_task()
        self.look = look
        self.found: list[Entry] | StreamError = []


class WaitingRoom:
    """Everyone who waits, by key, first come first served.

    Invariant: who is in here has found nothing since the key changed last. A waiter that is served
    leaves in the same step, and one that is cancelled has left before anything could be given to
    it; so nothing is ever handed to a reader that does not return it.
    """

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: dict[str, dict[_Waiter, None]] = {}

    async def wait(self, key: str, look: Look) -> list[Entry]:
        """Wait until *look*, which is called after each change of *key*, finds entries.

        Raises:
          StreamError: what *look* raised.
        """
        waiter = _Waiter(look)
        self._waiters.setdefault(key, {})[waiter] = None

        def abort(_: object) -> trio.lowlevel.Abort:
            self._leave(key, waiter)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if isinstance(waiter.found, StreamError):
            raise waiter.found
        return waiter.found

    def serve(self, key: str) -> None:
        """Let those who wait for *key* look again, in the order in which they came."""
        for waiter in list(self._waiters.get(key, ())):
            try:
                waiter.found = waiter.look()
            except StreamError as error:
                waiter.found = error
            if waiter.found:
                self._leave(key, waiter)
                trio.lowlevel.reschedule(waiter.task)

    def _leave(self, key: str, waiter: _Waiter) -> None:
        waiters = self._waiters[key]
        del waiters[waiter]
        if not waiters:
            del self._waiters[key]
