"""Where one handler at a time runs, and can be cancelled alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from trio_bus._one_error import one_error

Run = Callable[["Cell"], Awaitable[None]]


class Cell:
    """A nursery that outlives the handler in it, so that the next one finds it there.

    A scope for each handler would cost as much as its task does. This one costs nothing until it is
    cancelled: then it ends together with the handler.
    """

    __slots__ = ("_end", "is_open", "nursery", "scope")

    def __init__(self) -> None:
        self.nursery: trio.Nursery
        self.scope: trio.CancelScope
        # Whether something can be started in it: it ends by itself when all around is cancelled.
        self.is_open: bool = True
        self._end: Callable[[], BaseException | None] | None = None

    @trio.lowlevel.enable_ki_protection
    async def live(self, run: Run) -> None:
        """Start a task that runs in it; return when it is cancelled and nothing runs in it."""
        try:
            with one_error():
                async with trio.open_nursery() as self.nursery:
                    self.scope = self.nursery.cancel_scope
                    self.nursery.start_soon(run, self, name=NAME)
                    try:
                        await trio.sleep_forever()
                    finally:
                        self.is_open = False
        finally:
            onward = None if self._end is None else self._end()
            if onward is not None:
                raise onward

    def end_with(self, end: Callable[[], BaseException | None]) -> None:
        """Let *end* decide what is raised, outside of this cell, which is cancelled."""
        self._end = end


NAME = "trio_bus handler"
