"""The ends of all connections, in the middle of a play, and the demand that they come back."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from trio_bus._backend import StreamBackend
from trio_bus._errors import BusError
from trio_bus.testing._invariants import InvariantBroken
from trio_bus.testing._line import What
from trio_bus.testing._places import UNDELIVERED

from .handling import Do

if TYPE_CHECKING:
    from .play import Play
    from .program import Program

Disconnect = Callable[[StreamBackend], object]
"""Ends every connection of a backend; plain or asynchronous."""

LIMIT = 10.0
"""Seconds within which everything goes on: a program on the same machine takes a few tenths."""


class Cuts:
    """Ends all connections of one play when nothing is under way, so that no answer is lost."""

    def __init__(self, play: Play, disconnect: Disconnect) -> None:
        self._play = play
        self._disconnect = disconnect

    def happen(self) -> None:
        """End them; then commands are answered again, and what is published is read.

        Raises:
          InvariantBroken: they do not come back.
        """
        play = self._play
        with play.noting():
            self._wait(self._is_idle, "handlers do not end")
        play.journal.fault(What.FAULT, "all connections end")
        play.pump.run(self._cut)
        with play.noting():
            self._wait(self._is_answered, "no command is answered")
        play.journal.healed()
        for topic in sorted({it.config.topic for it in self._readers()}):
            play.publishing.publish(topic.rpartition(".")[2], 1)
        with play.noting():
            self._wait(self._is_read, "nobody reads what is new")

    def _is_idle(self) -> bool:
        """Let handlers succeed, so that whoever is there can take what comes; say if none runs."""
        for running in list(self._play.running):
            for order in (Do.GIVE_IN, Do.ACK, Do.RETURN):
                running.tell(order)
        self._play.settle()
        return not self._play.running

    async def _cut(self) -> None:
        with suppress(BusError):
            done = self._disconnect(self._play.backend)
            if inspect.isawaitable(done):
                await cast("Awaitable[object]", done)

    def _wait(self, holds: Callable[[], bool], words: str) -> None:
        pump = self._play.pump
        until = pump.now() + LIMIT
        while not holds():
            if pump.now() > until:
                raise InvariantBroken(15, "progress", f"after {LIMIT:g} s {words}")
            pump.advance(self._play.unit)

    def _is_answered(self) -> bool:
        try:
            self._play.places()
        except BusError:
            return False
        return True

    def _is_read(self) -> bool:
        """Say whether nothing waits for those who are there and have nothing to do."""
        places = self._play.places()
        busy = {running.actor for running in self._play.running}
        groups = [
            places.group(it.config.topic, it.group)
            for it in self._readers()
            if it.actor not in busy
        ]
        return not any(group is not None and group.counts.get(UNDELIVERED) for group in groups)

    def _readers(self) -> list[Program]:
        return [it for it in self._play.programs if it.is_open and not it.is_paused]
