"""One term of the consumer that keeps the order of its group."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from .lines import Lines

if TYPE_CHECKING:
    from trio_bus._errors import BusError


def _never() -> bool:
    return False


class Term:
    """From when a consumer becomes active until it is so no more: its token, and its lines.

    Invariant: once it is over nobody waits inside `ending`, and nothing is asked with the token. A
    call whose answer tells something is not made inside: it is heard, though the term is over.
    """

    def __init__(self, token: int) -> None:
        self.token = token
        self.lines: Lines = Lines()
        self.is_over: bool = False
        self.failure: BusError | None = None
        """What it ended with."""
        self.rung: trio.Event = trio.Event()
        """Set when something has changed; there is a new one then."""
        self._scopes: dict[trio.CancelScope, Callable[[], bool]] = {}

    def ring(self) -> None:
        """Wake whoever waits for a change."""
        self.rung.set()
        self.rung = trio.Event()

    def end(self, failure: BusError | None = None) -> None:
        """Let it be over, and end what waits in it."""
        self.is_over = True
        self.failure = self.failure or failure
        for scope, is_spared in self._scopes.items():
            if not is_spared():
                scope.cancel("the term is over")

    @contextmanager
    def ending(self, spare: Callable[[], bool] = _never) -> Generator[None, None, None]:
        """Cancel the block when the term is over; not while *spare* says so."""
        with trio.CancelScope() as scope:
            self._scopes[scope] = spare
            if self.is_over:
                scope.cancel("the term is over")
            try:
                yield
            finally:
                del self._scopes[scope]
