"""How long a topic keeps what is finished, and whether longer than what is not."""

from collections.abc import Mapping
from typing import Annotated

import attrs
import cattrs

from . import _checks as checks
from ._errors import ValidationError
from ._names import shown
from ._tables import raw

_strict = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)


@attrs.frozen(kw_only=True)
class Retention:
    """Which entries are removed from a topic: those beyond either bound.

    One bound at least is needed. An entry that any group of the topic has not finished stays, and
    everything behind it: a stream is cut at its old end. That is so for undelivered, pending and
    delayed entries, and for dead ones that no dead-letter topic has taken.

    Raises:
      ValidationError: there is no bound; or a bound of 0 with ``finished=False``, which would
        remove each entry before anybody has seen it.
    """

    max_age: Annotated[float | None, raw] = attrs.field(
        default=None, validator=checks.optional(checks.seconds())
    )
    """Seconds since it was added, by the clock of the server; at least 0. None: of any age."""
    max_length: Annotated[int | None, raw] = attrs.field(
        default=None, validator=checks.optional(checks.count(0))
    )
    """How many of the newest entries are kept; at least 0. None: however many there are."""
    finished: Annotated[bool, raw] = attrs.field(default=True, validator=checks.one_of(bool))
    """Whether every group must have finished an entry before it goes.

    False removes it unfinished too, and that is a loss which you declare here: what was not read
    yet is never delivered, and what is pending ends as `Transition.VANISHED`.
    """

    def __attrs_post_init__(self) -> None:
        if self.max_age is None and self.max_length is None:
            raise ValidationError("max_age: None, and max_length: None: nothing would be removed")
        for name, bound in (("max_age", self.max_age), ("max_length", self.max_length)):
            if bound == 0 and not self.finished:
                raise ValidationError(f"{name}: 0 with finished=False would remove everything")


def retention_from_table(value: object, _: object) -> object:
    """Read the table of a retention; what is none is left to the validator."""
    if not isinstance(value, Mapping):
        return value
    try:
        return _strict.structure(value, Retention)
    except cattrs.errors.ForbiddenExtraKeysError as error:
        unknown = ", ".join(sorted(error.extra_fields))
        raise ValidationError(f"retention: {shown(unknown)} is no setting of it") from error
