"""What is looked at before an entry starts: whether it is for us, can be read, is in time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from trio_bus._backend import Ack, Bury, DeathCause
from trio_bus._dead_letter import ONLY, is_for, lies_dead
from trio_bus._errors import Oversized, SerializationError
from trio_bus._modes import AckMode
from trio_bus._observer import Scope
from trio_bus._policy import death, shown

if TYPE_CHECKING:
    from trio_bus._backend import Record
    from trio_bus._gate import Gate
    from trio_bus._holding import Holding

    from .core import Core


class Inspection:
    """Decodes what arrived; settles at once what cannot start."""

    def __init__(self, core: Core, gate: Gate, now: Callable[[], datetime]) -> None:
        self._core = core
        self._gate = gate
        self._now = now

    def key_of(self, record: Record | None) -> str | None:
        """Return the key of what is to be read later; None where it has none, or is unreadable."""
        try:
            return None if record is None else self._gate.decode(record).key or None
        except SerializationError:
            return None

    def passing(self, holdings: Iterable[Holding]) -> list[Holding]:
        """Decode these, settle those that cannot start, and return the others."""
        decode, ready = self._gate.decode_flat, list["Holding"]()
        acks = self._core.ack_mode is AckMode.AUTO_ON_RECEIVE
        for holding in holdings:
            entry = holding.entry
            words = entry.flat
            if words and words[-2] == ONLY and not is_for(entry.record, self._core.group):
                self._core.submit(holding, Ack(holding.receipt))
                continue
            try:
                message = holding.message = decode(words, holding.size)
            except SerializationError as error:
                self._bury_unread(holding, error)
                continue
            if message.expires_at is None or not self.expire(holding):
                ready.append(holding)
                if acks:
                    holding.busy = True
                    self._core.submit(holding, Ack(holding.receipt))
        return ready

    def expire(self, holding: Holding) -> bool:
        """Bury it, or ack it where there is no dead-letter topic, if its time is over; say so."""
        if not self.is_over(holding):
            return False
        if self._core.config.dead_letter_topic is None:
            self._core.submit(holding, Ack(holding.receipt))
        else:
            reason = f"expired at {holding.message and holding.message.expires_at}"
            bury = Bury(holding.receipt, death(DeathCause.EXPIRED, reason))
            self._core.submit(holding, bury, reason)
        return True

    def is_over(self, holding: Holding) -> bool:
        """Say whether its time is over, and tell the observer if it is.

        That of a dead letter is of no interest to those who handle dead letters.
        """
        expires_at = holding.message.expires_at if holding.message else None
        if expires_at is None or self._now() < expires_at or lies_dead(holding.entry.record):
            return False
        self._core.history.expired(holding, expires_at)
        return True

    def _bury_unread(self, holding: Holding, error: SerializationError) -> None:
        oversized = isinstance(error, Oversized)
        cause = DeathCause.OVERSIZED if oversized else DeathCause.UNDECODABLE
        self._core.report(Scope.DECODE, error, holding.receipt)
        self._core.submit(holding, Bury(holding.receipt, death(cause, error)), shown(error))
