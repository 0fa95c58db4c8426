"""Who hears of errors and transitions, and the one that writes them to a log."""

from __future__ import annotations

import logging
from enum import Enum, unique
from typing import Protocol

import attrs

from ._entry_id import EntryId

logger = logging.getLogger("trio_bus")


@unique
class Scope(Enum):
    """What was being done when an error happened."""

    CONNECT = "connect"
    PUBLISH = "publish"
    READ = "read"
    DECODE = "decode"
    HANDLER = "handler"
    CLAIM = "claim"
    RENEW = "renew"
    SETTLE = "settle"
    RELEASE = "release"
    WAKE = "wake"
    """Listening for wake-ups; where it is refused, ``reclaim_interval`` says how often we look."""
    SCHEDULE = "schedule"
    """Appending a scheduled message that is due; it stays in the schedule."""


@unique
class Transition(Enum):
    """What happened to a delivery or a subscription."""

    STARTED = "started"
    ACKED = "acked"
    RETRIED = "retried"
    RELEASED = "released"
    DEAD_LETTERED = "dead-lettered"
    EXPIRED = "expired"
    """It was not started any more: its ``expires_at`` was over."""
    LEASE_LOST = "lease-lost"
    VANISHED = "vanished"
    """A pending entry had been deleted or trimmed from its stream: it is lost."""
    SUSPECTED = "suspected"
    """It may have killed its process, and more than once: it will be started alone."""
    UNSETTLED = "unsettled"
    """A handler in MANUAL mode returned and left its delivery open."""
    GROUP_RECREATED = "group-recreated"
    """The group had vanished (flush, deletion, failover) and begins at ``start`` again."""
    OPENED = "opened"
    DRAINING = "draining"
    CLOSED = "closed"


@attrs.frozen(kw_only=True)
class Event:
    """Where something happened. ``group`` and ``consumer`` are empty outside a subscription."""

    topic: str = ""
    group: str = ""
    consumer: str = ""
    entry_id: EntryId | None = None
    attempt: int | None = None


@attrs.frozen(kw_only=True)
class ErrorEvent(Event):
    """An error that trio_bus met and dealt with, or that a handler raised."""

    scope: Scope
    error: BaseException


@attrs.frozen(kw_only=True)
class TransitionEvent(Event):
    """A step in the life of a delivery or a subscription; ``reason`` says why, if there is one."""

    transition: Transition
    reason: str = ""


class Observer(Protocol):
    """Hears every error and transition.

    Both methods are called in the task where it happened: they must not block. An exception that
    one raises is logged once and dropped.
    """

    def on_error(self, event: ErrorEvent, /) -> None:
        """Hear of an error."""
        ...

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Hear of a transition."""
        ...


_NOTEWORTHY = {
    Transition.DEAD_LETTERED,
    Transition.EXPIRED,
    Transition.LEASE_LOST,
    Transition.VANISHED,
    Transition.SUSPECTED,
    Transition.UNSETTLED,
    Transition.GROUP_RECREATED,
}


class LoggingObserver:
    """Writes to the logger ``trio_bus``: errors and losses as warnings, the rest as debug."""

    def on_error(self, event: ErrorEvent, /) -> None:
        """Log the error with its scope."""
        logger.warning("%s failed: %r%s", event.scope.value, event.error, _place(event))

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Log the transition."""
        level = logging.WARNING if event.transition in _NOTEWORTHY else logging.DEBUG
        if logger.isEnabledFor(level):
            reason = f": {event.reason!a}" if event.reason else ""
            logger.log(level, "%s%s%s", event.transition.value, reason, _place(event))


def _place(event: Event) -> str:
    """Say where, with names escaped so that they cannot forge log lines."""
    parts = [("topic", event.topic), ("group", event.group), ("consumer", event.consumer)]
    shown = [f"{name}={value!a}" for name, value in parts if value]
    if event.entry_id is not None:
        shown.append(f"entry={event.entry_id} attempt={event.attempt}")
    return f" ({' '.join(shown)})" if shown else ""
