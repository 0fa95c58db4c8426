"""Tells an observer, and survives it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import attrs

from ._observer import (
    ErrorEvent,
    Observer,
    Scope,
    SelectiveObserver,
    Transition,
    TransitionEvent,
)

if TYPE_CHECKING:
    from ._backend import DeathCause
    from ._entry_id import EntryId

logger = logging.getLogger("trio_bus")

T = TypeVar("T")
_BROKEN = "the observer raised; its errors are not logged again"


@attrs.define(eq=False)
class _Guard:
    """Whether an observer has raised before; shared by all notifiers of a bus."""

    broken: bool = False


@attrs.define(eq=False)
class Notifier:
    """An observer, and the place that its events speak of."""

    observer: Observer
    topic: str = ""
    group: str = ""
    consumer: str = ""
    _guard: _Guard = attrs.field(factory=_Guard)
    wants: Callable[[Transition], bool] = attrs.field(init=False)
    """Whether to make an event of such a transition."""

    def __attrs_post_init__(self) -> None:
        observer = self.observer
        self.wants = observer.wants if isinstance(observer, SelectiveObserver) else _everything

    def at(self, topic: str, group: str = "", consumer: str = "") -> Notifier:
        """Return a notifier for that place."""
        return Notifier(self.observer, topic, group, consumer, self._guard)

    def error(
        self,
        scope: Scope,
        error: BaseException,
        entry_id: EntryId | None = None,
        attempt: int | None = None,
        *,
        delivery: int | None = None,
    ) -> None:
        """Tell of an error; of an observer that raises, log it once."""
        event = ErrorEvent(
            topic=self.topic,
            group=self.group,
            consumer=self.consumer,
            entry_id=entry_id,
            attempt=attempt,
            delivery=delivery,
            scope=scope,
            error=error,
        )
        self._tell(self.observer.on_error, event)

    def transition(
        self,
        transition: Transition,
        entry_id: EntryId | None = None,
        attempt: int | None = None,
        reason: str = "",
        *,
        delivery: int | None = None,
        cause: DeathCause | None = None,
        delay: float | None = None,
        waited: float | None = None,
        ran: float | None = None,
    ) -> None:
        """Tell of a transition; of an observer that raises, log it once."""
        if not self.wants(transition):
            return
        event = TransitionEvent(
            topic=self.topic,
            group=self.group,
            consumer=self.consumer,
            entry_id=entry_id,
            attempt=attempt,
            delivery=delivery,
            transition=transition,
            reason=reason,
            cause=cause,
            delay=delay,
            waited=waited,
            ran=ran,
        )
        self._tell(self.observer.on_transition, event)

    def _tell(self, hear: Callable[[T], None], event: T) -> None:
        try:
            hear(event)
        except Exception:  # an observer must not break the bus
            if not self._guard.broken:
                self._guard.broken = True
                logger.exception(_BROKEN)


def _everything(_: Transition) -> bool:
    return True
