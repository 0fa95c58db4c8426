"""What a failure leads to: try again, give back, or bury. Pure, but for the user's function."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutine
from typing import TYPE_CHECKING, cast

from ._backend import Bury, Death, DeathCause, Receipt, Release, Retry, Settlement
from ._decision import Action, Decision, Reason
from ._errors import EventInvalid
from ._exception_groups import leaves

if TYPE_CHECKING:
    from ._config import SubscriptionConfig

MAX_ERROR_TEXT = 4096
"""Characters of an error's text that are kept: enough for a message, too little for a dump."""


class Policy:
    """The retry and dead-letter rules of one subscription."""

    def __init__(self, config: SubscriptionConfig, random: Callable[[], float]) -> None:
        self._config = config
        self._random = random
        self._reject_on = config.reject_on
        # That a base of it is named is no wish to see the same bytes again.
        if not any(issubclass(kind, EventInvalid) for kind in config.retry_on):
            self._reject_on += (EventInvalid,)
        self.max_attempt: int = config.max_attempt

    def decide(
        self,
        receipt: Receipt,
        error: Exception,
        on_broken: Callable[[Exception], None],
        *,
        shared: bool = False,
    ) -> Decision:
        """Say what follows a failure of a handler; *on_broken* hears what ``on_failure`` raises.

        *shared* says that the handler had others too: that one is no event says nothing of them.
        """
        reject_on = self._config.reject_on if shared else self._reject_on
        try:
            return self._asked(receipt, error) or self._default(error, reject_on)
        except Exception as broken:  # noqa: BLE001 - the user's own function failed
            on_broken(broken)
        return self._default(error, reject_on)

    def after_failure(
        self,
        receipt: Receipt,
        error: Exception,
        decision: Decision,
        release_delay: Callable[[], float],
    ) -> Settlement:
        """Say how a decision is carried out; *release_delay* is for one that has no delay."""
        match decision.action:
            case Action.RETRY:
                return self.retry(receipt, error, decision.delay)
            case Action.REJECT:
                return self.reject(receipt, error if decision.reason is None else decision.reason)
            case _:
                return Release(receipt, decision.delay or release_delay())

    def retry(self, receipt: Receipt, reason: Reason, delay: float | None) -> Settlement:
        """Start it again, or bury it at the limit; None: the delay that ``retry_backoff`` says."""
        if receipt.attempt >= self.max_attempt:
            return Bury(receipt, death(DeathCause.EXHAUSTED, reason))
        if delay is None:
            delay = self._config.retry_backoff.delay_after(receipt.attempt, self._random)
        return Retry(receipt, delay)

    def reject(self, receipt: Receipt, reason: Reason) -> Settlement:
        """Bury it at once."""
        return Bury(receipt, death(DeathCause.REJECTED, reason))

    def _asked(self, receipt: Receipt, error: Exception) -> Decision | None:
        if self._config.on_failure is None:
            return None
        answer = cast("object", self._config.on_failure(error, receipt.attempt))
        if answer is None or isinstance(answer, Decision):
            return answer
        if iscoroutine(answer):
            answer.close()  # or it would be warned of, somewhere, some time later
        raise TypeError(f"on_failure returned a {type(answer).__name__}, not a Decision or None")

    def _default(self, error: Exception, reject_on: tuple[type[Exception], ...]) -> Decision:
        failures = list(leaves(error))
        if any(isinstance(leaf, reject_on) for leaf in failures):
            return Decision.reject()
        worth_it = all(isinstance(leaf, self._config.retry_on) for leaf in failures)
        return Decision.retry() if worth_it else Decision.reject()


def death(cause: DeathCause, reason: Reason) -> Death:
    """Describe why an entry is buried, in text that any codec can carry."""
    error_type = "" if isinstance(reason, str) else _type_name(type(reason))
    return Death(cause, error_type, shown(reason))


def shown(reason: Reason) -> str:
    """Return the text of a reason, bounded, without what UTF-8 cannot say."""
    try:
        text = str(reason)[:MAX_ERROR_TEXT]
    except Exception:  # noqa: BLE001 - the reason is broken; what it is about is not
        text = f"<{type(reason).__name__} whose text cannot be made>"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _type_name(kind: type[BaseException]) -> str:
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"
