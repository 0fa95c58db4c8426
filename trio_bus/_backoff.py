"""How long to wait before the next attempt."""

from collections.abc import Callable, Mapping

import attrs
import cattrs

from . import _checks as checks
from ._errors import ValidationError
from ._names import shown
from ._tables import Seconds

# Inside a table of ours there is no converter of the caller's: a misspelt name is always refused.
_strict = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)


@attrs.frozen
class Backoff:
    """How long to wait before an entry is started again.

    The n-th failure waits ``first * factor ** (n - 1)`` seconds, at most ``cap``, less a random
    part of up to ``jitter`` of it: with ``jitter=1.0`` anything from 0 to all of it (so that
    what failed together does not come back together), with ``jitter=0.0`` exactly that long.
    """

    first: Seconds = attrs.field(default=0.1, validator=checks.seconds())
    """At least 0."""
    factor: Seconds = attrs.field(default=2.0, validator=checks.number(1.0, 1e9))
    """At least 1."""
    cap: Seconds = attrs.field(default=300.0, validator=checks.seconds())
    """At least 0."""
    jitter: Seconds = attrs.field(default=1.0, validator=checks.number(0.0, 1.0))
    """From 0 to 1."""

    def delay_after(self, attempt: int, random: Callable[[], float]) -> float:
        """Choose the seconds to wait after a failed attempt.

        Args:
          attempt: Which attempt failed; the first one is 1.
          random: Gives numbers from 0 to 1, like ``random.random``.
        """
        return self._longest(attempt) * (1.0 - self.jitter * random())

    def _longest(self, attempt: int) -> float:
        if self.first == 0.0:
            return 0.0
        try:
            return min(self.cap, self.first * float(self.factor) ** (attempt - 1))
        except OverflowError:
            return self.cap


def backoff_from_table(value: object, _: object) -> object:
    """Read the table of a backoff; what is none is left to the validator."""
    if not isinstance(value, Mapping):
        return value
    try:
        return _strict.structure(value, Backoff)
    except cattrs.errors.ForbiddenExtraKeysError as error:
        unknown = ", ".join(sorted(error.extra_fields))
        raise ValidationError(f"retry_backoff: {shown(unknown)} is no setting of it") from error
