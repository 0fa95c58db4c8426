"""Which reply answers which command of one connection, and the faults that wait in them."""

from __future__ import annotations

from ._conditions import Conditions, Exchange
from ._fault import Fault
from ._frames import Piece

_SUBSCRIBING = {
    *("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"),
    *("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"),
}


class Answers:
    """Counts commands and replies; what is kept for a command is kept by its number.

    With RESP3, a subscription is confirmed by one push for each channel; other pushes answer
    nothing.
    """

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._asked = 0
        self._answered = 0
        self._faults: dict[int, Fault] = {}
        self._names: dict[int, str] = {}
        self._confirmations: dict[int, int] = {}
        # Of the reply that goes on:
        self._is_answer = False
        self._passed = 0

    def expect(self, name: str, words: int) -> None:
        """Note a command that is about to be passed."""
        if (fault := self._conditions.faults.in_reply(name)) is not None:
            self._faults[self._asked] = fault
        if self._conditions.recordings:
            self._names[self._asked] = name
        if name in _SUBSCRIBING:
            self._confirmations[self._asked] = max(1, words - 1)
        self._asked += 1

    def take(self, piece: Piece) -> tuple[Fault | None, int]:
        """Note bytes of a reply; return the fault that waits in them, and how many pass before."""
        if piece.begins:
            self._passed = 0
            self._is_answer = self._answers_something(piece)
        if not self._is_answer:
            return None, 0
        fault = self._faults.get(self._answered)
        before = 0
        if fault is not None:
            before = (fault.after or 0) - self._passed
            if before > len(piece.data) and not piece.ends:
                fault = None
            else:
                del self._faults[self._answered]
        self._passed += len(piece.data)
        if piece.ends:
            self._end()
        return fault, before

    def _answers_something(self, piece: Piece) -> bool:
        if self._answered == self._asked:
            return False
        if piece.kind == b">":
            is_confirmation = piece.name.decode("latin-1") in _SUBSCRIBING
            return is_confirmation and self._answered in self._confirmations
        self._confirmations.pop(self._answered, None)  # it is refused
        return True

    def _end(self) -> None:
        left = self._confirmations.pop(self._answered, 1) - 1
        if left:
            self._confirmations[self._answered] = left
            return
        name = self._names.pop(self._answered, None)
        if name is not None:
            for recording in self._conditions.recordings:
                recording.append(Exchange(name, self._passed))
        self._answered += 1
