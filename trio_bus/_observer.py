"""Who hears of errors and transitions, and the one that writes them to a log."""

from __future__ import annotations

import logging
from enum import Enum, unique
from typing import Protocol, runtime_checkable

import attrs

from ._backend import DeathCause
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
    POLICY = "policy"
    """``on_failure`` raised, or answered what is none; ``retry_on`` and ``reject_on`` decided."""
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
    """What happened to a delivery, a subscription or a connection.

    A delivery begins with RECEIVED or TAKEN_OVER and ends once: with ACKED, RETRIED, RELEASED,
    DEAD_LETTERED, LEASE_LOST, VANISHED or UNCONFIRMED. All but LEASE_LOST are told when the server
    has answered, so that a handler may have ended long before, or (in MANUAL mode, where it settles
    and goes on) end later. DEAD_LETTERED and VANISHED are also told of entries that nobody
    held, when taking over finds them.
    """

    RECEIVED = "received"
    """A new entry became ours."""
    TAKEN_OVER = "taken-over"
    """An entry became ours that was delivered before: given back, due, or of a lost consumer."""
    STARTED = "started"
    """Its handler starts, or ``receive`` returns it; with its ``waited``."""
    FINISHED = "finished"
    """Its handler, or an ``async with`` block, has ended; with its ``ran``."""
    ACKED = "acked"
    """With its ``ran``; with the ``cause`` EXPIRED if it was never started."""
    RETRIED = "retried"
    """It failed, and will start again after ``delay``; with its ``ran``."""
    RELEASED = "released"
    """It was given back, uncounted, and may start again after ``delay``; with its ``ran``."""
    DEAD_LETTERED = "dead-lettered"
    """It was given up, with a ``cause``; with its ``ran`` if it was started here."""
    EXPIRED = "expired"
    """It is not started: its ``expires_at`` is over. It ends DEAD_LETTERED or ACKED.

    With `AckMode.AUTO_ON_RECEIVE` it may come after ACKED: time was over when that was confirmed.
    """
    LEASE_LOST = "lease-lost"
    """It is not ours any more, or may not be; with its ``ran`` if it was started here."""
    VANISHED = "vanished"
    """A pending entry had been deleted or trimmed from its stream: it is lost."""
    SUSPECTED = "suspected"
    """It may have killed its process, and more than once: it will be started alone."""
    UNSETTLED = "unsettled"
    """A handler in MANUAL mode returned and left its delivery open."""
    UNCONFIRMED = "unconfirmed"
    """The subscription ended before the server had confirmed how it was settled."""
    GROUP_RECREATED = "group-recreated"
    """The group had vanished (flush, deletion, failover) and begins at ``start`` again."""
    RECONNECTED = "reconnected"
    """The connection of the bus is back. Of the bus: without topic, group and consumer."""
    OUTAGE_BEGAN = "outage-began"
    """``failure_threshold`` distinct entries failed in a row: reading pauses, nothing counts."""
    OUTAGE_ENDED = "outage-ended"
    """What was taken in to try was handled. Not told if the subscription ends before."""
    PAUSED = "paused"
    """The program called ``pause``: nothing is taken in, and nothing starts."""
    RESUMED = "resumed"
    """The program called ``resume``."""
    OPENED = "opened"
    DRAINING = "draining"
    CLOSED = "closed"
    ACTIVE = "active"
    """With `OrderingMode.KEY`: this consumer takes entries in now, the others stand by."""
    STANDBY = "standby"
    """With `OrderingMode.KEY`: it does not any more."""


# There is one of each; the hash of Enum is slow, and each message asks. Checkers know that of Enum.
setattr(Transition, "__hash__", object.__hash__)  # noqa: B010 - see above


@attrs.frozen(kw_only=True)
class Event:
    """Where something happened. ``group`` and ``consumer`` are empty outside a subscription."""

    topic: str = ""
    group: str = ""
    consumer: str = ""
    entry_id: EntryId | None = None
    attempt: int | None = None
    delivery: int | None = None
    """A number for each delivery of a subscription. None of what it has not received, or not yet.

    An entry that was given back may come again with the same ``attempt``, and not with the same
    number: consumer and number are what a trace is about.
    """


@attrs.frozen(kw_only=True)
class ErrorEvent(Event):
    """An error that trio_bus met and dealt with, or that a handler raised."""

    scope: Scope
    error: BaseException


@attrs.frozen(kw_only=True)
class TransitionEvent(Event):
    """A step in the life of a delivery or a subscription; ``reason`` says why, if there is one.

    What does not belong to a transition is None; see `Transition`. Durations are in seconds.
    """

    transition: Transition
    reason: str = ""
    cause: DeathCause | None = None
    """Why it was dead-lettered."""
    delay: float | None = None
    """How long it waits before it may start again."""
    waited: float | None = None
    """From when the entry was added to when it started, by the clocks of the server and of us."""
    ran: float | None = None
    """From its start until its handler ended, or until it was settled or lost, if that was first.

    FINISHED tells how long the handler took, and the end of the delivery how long it took to settle
    it, without the time that the server took to confirm that. None where it never started, and
    where AUTO_ON_RECEIVE settled it before."""


class Observer(Protocol):
    """Hears every error and transition.

    Both methods are called in the task where it happened: they must not block. An exception that
    one raises is logged once and dropped. See `SelectiveObserver` for what costs less.
    """

    def on_error(self, event: ErrorEvent, /) -> None:
        """Hear of an error."""
        ...

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Hear of a transition."""
        ...


@runtime_checkable
class SelectiveObserver(Observer, Protocol):
    """Hears every error, and the transitions that it wants: the others cost next to nothing."""

    def wants(self, transition: Transition, /) -> bool:
        """Say whether to be told of such transitions. Asked each time; must not raise."""
        ...


_NOTEWORTHY = (
    Transition.DEAD_LETTERED,
    Transition.EXPIRED,
    Transition.LEASE_LOST,
    Transition.VANISHED,
    Transition.SUSPECTED,
    Transition.UNSETTLED,
    Transition.UNCONFIRMED,
    Transition.GROUP_RECREATED,
    Transition.OUTAGE_BEGAN,
    Transition.OUTAGE_ENDED,
)
_LEVELS = dict.fromkeys(Transition, logging.DEBUG)
_LEVELS[Transition.RECONNECTED] = logging.INFO
_LEVELS.update(dict.fromkeys(_NOTEWORTHY, logging.WARNING))


class LoggingObserver:
    """Writes to the logger ``trio_bus``: errors and losses as warnings, the rest as debug.

    That a connection is back is said with the level info.
    """

    def wants(self, transition: Transition, /) -> bool:
        """Say whether the logger would write it."""
        return logger.isEnabledFor(_LEVELS[transition])

    def on_error(self, event: ErrorEvent, /) -> None:
        """Log the error with its scope."""
        logger.warning("%s failed: %r%s", event.scope.value, event.error, _place(event))

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Log the transition."""
        level = _LEVELS[event.transition]
        if logger.isEnabledFor(level):
            reason = f": {event.reason!a}" if event.reason else ""
            logger.log(level, "%s%s%s", event.transition.value, reason, _place(event))


def _place(event: Event) -> str:
    """Say where, with names escaped so that they cannot forge log lines."""
    parts = [("topic", event.topic), ("group", event.group), ("consumer", event.consumer)]
    shown = [f"{name}={value!a}" for name, value in parts if value]
    if event.entry_id is not None:
        shown.append(f"entry={event.entry_id}")
    if event.attempt is not None:
        shown.append(f"attempt={event.attempt}")
    return f" ({' '.join(shown)})" if shown else ""
