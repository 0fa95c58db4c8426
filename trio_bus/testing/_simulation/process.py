"""A process of the simulated world: it lives, stands still, and dies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from trio_bus._exception_groups import is_group


class Dead(BaseException):
    """This process has died: whatever still runs in it ends here."""


class Process:
    """What runs in one process, and whether it may go on.

    Whoever is dead reaches the server no more, whatever its tasks still try while they end, and
    tells nothing. Whoever stands still gets no answer, and its handlers do nothing.
    """

    def __init__(self, place: str, number: int) -> None:
        self.place = place
        self.name = f"{place}.{number}"
        self.alive = True
        self._scope = trio.CancelScope()
        self._still: trio.Event | None = None

    async def live(self, life: Callable[[], Awaitable[None]]) -> None:
        """Run it; return when it ends, and also when `die` ended it."""
        try:
            with self._scope:
                await life()
        except BaseException as error:  # noqa: BLE001 - what the dead raise is nobody's concern
            rest = _of_others(error) if not self.alive else error
            if rest is not None:
                raise rest from None

    async def breathe(self) -> None:
        """Go on at once, or after standing still; end, if this process is dead.

        It is a checkpoint only where it has to wait.
        """
        while self._still is not None and self.alive:
            with trio.CancelScope(shield=True):
                await self._still.wait()
        if not self.alive:
            raise Dead

    def stop(self) -> None:
        """Stand still, as SIGSTOP does it."""
        if self._still is None:
            self._still = trio.Event()

    def go_on(self) -> None:
        """Stand still no more."""
        if self._still is not None:
            self._still.set()
            self._still = None

    def die(self) -> None:
        """End as SIGKILL does it."""
        self.alive = False
        self._scope.cancel("killed")
        self.go_on()


def _of_others(error: BaseException) -> BaseException | None:
    """Return what of an error is no concern of a dead process: a cancellation from outside."""
    if is_group(error):
        return error.split(trio.Cancelled)[0]
    return error if isinstance(error, trio.Cancelled) else None
