"""Scheduling: attempts, until the server has it or there is no more time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, TypeVar, final

import trio

from ._checks import MAX_SECONDS, is_number
from ._errors import BusError, OutcomeUnknown, ValidationError
from ._names import shown
from ._observer import Scope
from ._publisher import is_transient, pause_within

if TYPE_CHECKING:
    from ._backend import Record, StreamBackend
    from ._notifier import Notifier
    from ._options import BusOptions

T = TypeVar("T")


def check_when(delay: object, at: object) -> float | datetime:
    """Return the delay or the instant, whichever is given.

    Raises:
      ValidationError: none or both are given, or it makes no sense.
    """
    if at is None:
        return _check_delay(delay)
    if delay is not None:
        raise ValidationError(f"delay: {shown(delay)}, and at: {shown(at)}: give one of them")
    if not isinstance(at, datetime):
        raise ValidationError(f"at: {shown(at)} is not a datetime")
    if at.utcoffset() is None:
        raise ValidationError(f"at: {shown(at)} has no time zone")
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValidationError(f"at: {shown(at)} in UTC is not in 1 to 9999") from error


def _check_delay(delay: object) -> float:
    if delay is None:
        raise ValidationError("delay: None, and at: None: give one of them")
    if not is_number(delay):
        raise ValidationError(f"delay: {shown(delay)} is not a number")
    if not 0 <= delay <= MAX_SECONDS:
        raise ValidationError(
            f"delay: {shown(delay)} is not at least 0 and at most {MAX_SECONDS:g}"
        )
    return delay


@final
class Scheduler:
    """Schedules by way of a backend, and tries again what may be tried again.

    What certainly did not happen is tried again always, and what may have happened only where a
    second attempt finds the first.
    """

    def __init__(
        self,
        backend: StreamBackend,
        options: BusOptions,
        notifier: Notifier,
        check_open: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._timeout = options.publish_timeout
        self._notifier = notifier
        self._check_open = check_open

    async def schedule(
        self, topic: str, record: Record, uid: str, when: float | datetime, once: float | None
    ) -> str:
        """Put a record into the schedule; return the uid that is in it.

        A delay counts from this call, however many attempts it takes.
        """
        began = trio.current_time()

        async def attempt() -> str:
            left = when
            if not isinstance(when, datetime):
                left = max(0.0, when - (trio.current_time() - began))
            return await self._backend.schedule(topic, record, uid, left, once)

        return await self._try(topic, attempt, once or 0.0)

    async def cancel(self, topic: str, uid: str) -> bool:
        """Take a record out of the schedule; say whether it was there."""
        return await self._try(topic, lambda: self._backend.cancel_scheduled(topic, uid), 0.0)

    async def _try(self, topic: str, attempt: Callable[[], Awaitable[T]], window: float) -> T:
        """Attempt it; for so many seconds an attempt finds an earlier one that did happen."""
        began = trio.current_time()
        doubt: OutcomeUnknown | None = None
        tries = 0
        while True:
            try:
                with trio.move_on_at(inf if doubt is None else began + window):
                    return await attempt()
                # Later, an attempt would not find the earlier one.
                raise OutcomeUnknown("an earlier attempt may have done it; its window is over")
            except BusError as error:
                tries += 1
                doubt = error if isinstance(error, OutcomeUnknown) else doubt
                pause = pause_within(tries, began + self._timeout)
                self._notifier.at(topic).error(Scope.PUBLISH, error)
                if pause is None or not is_transient(error):
                    raise _last_word(error, doubt) from error.__cause__
                if doubt is not None and trio.current_time() - began + pause >= window:
                    raise _last_word(error, doubt) from error.__cause__
            await trio.sleep(pause)
            self._check_open()


def _last_word(error: BusError, doubt: OutcomeUnknown | None) -> BusError:
    """Return the last error, unless that says less than one before it."""
    if doubt is None or isinstance(error, OutcomeUnknown):
        return error
    return OutcomeUnknown(f"an earlier attempt may have done it; the last one: {error}")
