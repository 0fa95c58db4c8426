"""An observer that a test can ask what it heard, and wait for what it will hear."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast, overload

from trio_bus._observer import ErrorEvent, Scope, Transition, TransitionEvent
from trio_bus._trio_util import AsyncValue

Heard = ErrorEvent | TransitionEvent
_OfTransitions = Callable[[TransitionEvent], bool]
_OfErrors = Callable[[ErrorEvent], bool]


class RecordingObserver:
    """Keeps every error and transition, in the order in which it heard of them.

    ::

        observer = RecordingObserver()
        async with open_bus("memory:", BusOptions(observer=observer)) as bus:
            ...
            await observer.wait_for(Transition.ACKED, count=3)

    One of them may hear several buses. It keeps everything until `clear`.
    """

    def __init__(self) -> None:
        self._events: list[Heard] = []
        self._heard = AsyncValue(0)

    @property
    def events(self) -> tuple[Heard, ...]:
        """All that it heard, the first one first."""
        return tuple(self._events)

    def on_error(self, event: ErrorEvent, /) -> None:
        """Keep it."""
        self._keep(event)

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Keep it."""
        self._keep(event)

    @overload
    def of(self, what: Transition) -> list[TransitionEvent]: ...
    @overload
    def of(self, what: Scope) -> list[ErrorEvent]: ...
    def of(self, what: Transition | Scope) -> list[TransitionEvent] | list[ErrorEvent]:
        """Return the transitions of one kind, or the errors of one scope."""
        if isinstance(what, Transition):
            found = [it for it in self._events if isinstance(it, TransitionEvent)]
            return [it for it in found if it.transition is what]
        errors = [it for it in self._events if isinstance(it, ErrorEvent)]
        return [it for it in errors if it.scope is what]

    @overload
    async def wait_for(
        self,
        what: Transition,
        holds: _OfTransitions | None = None,
        *,
        count: int = 1,
    ) -> list[TransitionEvent]: ...
    @overload
    async def wait_for(
        self, what: Scope, holds: _OfErrors | None = None, *, count: int = 1
    ) -> list[ErrorEvent]: ...
    async def wait_for(
        self,
        what: Transition | Scope,
        holds: _OfTransitions | _OfErrors | None = None,
        *,
        count: int = 1,
    ) -> list[TransitionEvent] | list[ErrorEvent]:
        """Wait until it has heard so many of one kind, and return them.

        What came before the call counts, unless it was cleared. It waits for ever: put
        `trio.fail_after` around it.

        Args:
          what: Transitions of this kind, or errors of this scope.
          holds: Which of them count; all if it is not given.
          count: How many, at least 1.

        Cancellation: nothing is forgotten.
        """
        await self._heard.wait_value(lambda _: len(self._chosen(what, holds)) >= count)
        return self._chosen(what, holds)

    def _chosen(
        self, what: Transition | Scope, holds: _OfTransitions | _OfErrors | None
    ) -> list[TransitionEvent] | list[ErrorEvent]:
        if holds is None:
            return self.of(what)
        if isinstance(what, Transition):
            return list(filter(cast("_OfTransitions", holds), self.of(what)))
        return list(filter(cast("_OfErrors", holds), self.of(what)))

    def clear(self) -> None:
        """Forget all that it heard so far."""
        self._events.clear()

    def _keep(self, event: Heard) -> None:
        self._events.append(event)
        self._heard.value += 1
