"""What a function of the user's says about a failure. Pure."""

from __future__ import annotations

from enum import Enum, unique
from typing import Self, final

import attrs

from ._checks import MAX_SECONDS, is_number
from ._errors import ValidationError
from ._names import shown

Reason = str | BaseException


@unique
class Action(Enum):
    """The verb of a delivery that a decision stands for."""

    RETRY = "retry"
    REJECT = "reject"
    RELEASE = "release"


@final
@attrs.frozen
class Decision:
    """What happens to a delivery that failed, in the words of its verbs.

    Made by ``Decision.retry()``, ``Decision.reject()`` and ``Decision.release()``, for
    ``SubscriptionConfig.on_failure``.
    """

    action: Action
    delay: float | None = None
    reason: Reason | None = None

    @classmethod
    def retry(cls, delay: float | None = None) -> Self:
        """Start it again later; at the limit of attempts it is dead-lettered.

        Args:
          delay: Seconds, 0 to 1e9, without jitter; None: as ``retry_backoff`` says.

        Raises:
          ValidationError: *delay* is not such a number.
        """
        return cls(Action.RETRY, checked_delay(delay))

    @classmethod
    def reject(cls, reason: Reason | None = None) -> Self:
        """Dead-letter it at once.

        Args:
          reason: Kept in the dead letter, as text or an exception; None: the failure itself.
        """
        return cls(Action.REJECT, reason=reason)

    @classmethod
    def release(cls, delay: float | None = None) -> Self:
        """Give it back as if it had not been delivered: the attempt is not counted.

        Args:
          delay: Seconds, 0 to 1e9, before it may start again; None: as `Delivery.release` does.

        Raises:
          ValidationError: *delay* is not such a number.
        """
        return cls(Action.RELEASE, checked_delay(delay))


def checked_delay(delay: float | None) -> float | None:
    """Return *delay* as a float, or None.

    Raises:
      ValidationError: it is not a number of seconds from 0 to 1e9.
    """
    if delay is None:
        return None
    if not is_number(delay) or not 0 <= delay <= MAX_SECONDS:
        raise ValidationError(f"delay: {shown(delay)} is not 0 to {MAX_SECONDS:g} seconds")
    return float(delay)
