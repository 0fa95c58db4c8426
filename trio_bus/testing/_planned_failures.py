"""What a test wants to go wrong, call by call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from enum import Enum, unique
from typing import TypeVar

import attrs
import trio

from trio_bus._chance import Chance
from trio_bus._errors import (
    BusError,
    ConnectionLost,
    NotPersisted,
    OutcomeUnknown,
    ValidationError,
)

T = TypeVar("T")


@unique
class Done(Enum):
    """How much of an operation the server had done when it failed."""

    NOTHING = "nothing"
    """It never got there, or was refused."""
    HALF = "half"
    """The first half of a list, rounded down; of ``append``, ``append_persisted``, ``redrive``,
    ``settle``."""
    EVERYTHING = "everything"
    """Only the answer was lost."""


OPERATIONS = frozenset(
    {
        *("append", "append_persisted", "append_nowait", "schedule", "cancel_scheduled"),
        *("create_group", "create_private", "info", "read", "look", "take_over", "take_booked"),
        *("keep_booking", "give_up_booking", "settle", "renew", "forget", "buried", "redrive"),
        *("lead", "give_up_lead", "survey", "draw", "start", "grown"),
    }
)
DIVISIBLE = frozenset({"append", "append_persisted", "redrive", "settle"})
_CHANGING = frozenset({*DIVISIBLE, "schedule", "cancel_scheduled"})
"""Of what may have happened or not, nobody can know it afterwards."""


@attrs.frozen
class _Failure:
    error: BusError
    done: Done


class PlannedFailures:
    """The next failures of each operation, oldest first; and how often each was called."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._failures: dict[str, list[_Failure]] = {}
        self._delays: dict[str, list[float]] = {}
        self._acts: dict[str, list[Callable[[], object]]] = {}
        self._probability = 0.0
        self._random = Chance(0)

    def fail(self, operation: str, errors: tuple[BusError, ...], done: Done) -> None:
        """Let the next calls fail."""
        _check(operation)
        if done is Done.HALF and operation not in DIVISIBLE:
            raise ValidationError(f"done: {operation!r} cannot be done by half")
        planned = [
            _Failure(error, Done.EVERYTHING if isinstance(error, NotPersisted) else done)
            for error in errors
        ]
        self._failures.setdefault(operation, []).extend(planned)

    def delay(self, operation: str, seconds: tuple[float, ...]) -> None:
        """Let the next answers come late."""
        _check(operation)
        for delay in seconds:
            if not delay >= 0:
                raise ValidationError(f"seconds: {delay!r} is not 0 or more")
        self._delays.setdefault(operation, []).extend(seconds)

    def when_done(self, operation: str, act: Callable[[], object]) -> None:
        """Act before the next answer comes."""
        _check(operation)
        self._acts.setdefault(operation, []).append(act)

    def fail_at_random(self, probability: float, seed: int) -> None:
        """Let calls fail by chance."""
        if not 0 <= probability <= 1:
            raise ValidationError(f"probability: {probability!r} is not from 0 to 1")
        self._probability, self._random = probability, Chance(seed)

    def heal(self) -> None:
        """Forget all that is planned."""
        self._failures.clear()
        self._delays.clear()
        self._acts.clear()
        self._probability = 0.0

    def left(self, operation: str) -> int:
        """Return how many failures have not happened yet."""
        _check(operation)
        return len(self._failures.get(operation, ()))

    def take(self, operation: str) -> BusError | None:
        """Count a call that does nothing but fail or not; return its error."""
        self.calls[operation] += 1
        failure = self._next(operation)
        return None if failure is None else failure.error

    async def run(
        self,
        operation: str,
        act: Callable[[], Awaitable[T]],
        half: Callable[[], Awaitable[T]] | None = None,
    ) -> T:
        """Do it, or fail; *half* does the half of it."""
        self.calls[operation] += 1
        failure = self._next(operation)
        if failure is None:
            return await self._answer(operation, await act())
        if failure.done is Done.EVERYTHING:
            await act()
        elif failure.done is Done.HALF and half is not None:
            await half()
        else:
            await trio.lowlevel.checkpoint()
        raise failure.error

    async def _answer(self, operation: str, result: T) -> T:
        acts, delays = self._acts.get(operation), self._delays.get(operation)
        if acts and (result or operation != "read"):
            acts.pop(0)()
        if delays:
            await trio.sleep(delays.pop(0))
        return result

    def _next(self, operation: str) -> _Failure | None:
        planned = self._failures.get(operation)
        if planned:
            return planned.pop(0)
        if self._random.random() < self._probability:
            return self._by_chance(operation)
        return None

    def _by_chance(self, operation: str) -> _Failure:
        choices = [Done.NOTHING, Done.EVERYTHING]
        if operation in DIVISIBLE:
            choices.append(Done.HALF)
        done = self._random.choice(choices)
        unknown = done is not Done.NOTHING and operation in _CHANGING
        kind = OutcomeUnknown if unknown else ConnectionLost
        return _Failure(kind(f"{operation}: it was to fail, with {done.value} done"), done)


def _check(operation: str) -> None:
    if operation not in OPERATIONS:
        known = ", ".join(sorted(OPERATIONS))
        raise ValidationError(f"operation: {operation!r} is none; there are {known}")
