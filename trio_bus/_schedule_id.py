"""The name of a message that is scheduled."""

from __future__ import annotations

import re
from hashlib import sha256

import attrs

from ._errors import ValidationError
from ._names import check_text, check_topic, shown
from ._uid import new_uid

_UID = re.compile(r"[0-9a-f]{32}(-[0-9a-f]{32})?")


def _check_uid(value: object) -> str:
    uid = check_text(value, "uid")
    if not _UID.fullmatch(uid):
        raise ValidationError(f"uid: {shown(uid)} is not the uid of a scheduled message")
    return uid


def _topic(value: str) -> str:
    return check_topic(value)


@attrs.frozen
class ScheduleId:
    """Names a message that is scheduled, for `Bus.cancel_scheduled`.

    ``str()`` writes it as one line of text to keep in a database; `parse` reads that.
    """

    topic: str = attrs.field(converter=_topic)
    """Where it will be published."""
    uid: str = attrs.field(converter=_check_uid)
    """Its name among what is scheduled there; not the ``uid`` of the message."""

    @classmethod
    def parse(cls, text: str) -> ScheduleId:
        """Read what ``str()`` wrote.

        Raises:
          ValidationError: *text* is not such an id.
        """
        uid, colon, topic = check_text(text, "schedule id").partition(":")
        if not colon or not _UID.fullmatch(uid):
            raise ValidationError(f"schedule id: {shown(text)} is not like '0a1b...:topic'")
        return cls(topic, uid)

    def __str__(self) -> str:
        return f"{self.uid}:{self.topic}"


def new_schedule_uid(key: str | None) -> str:
    """Return a new uid. Those of one idempotency key share what stands behind the dash."""
    if key is None:
        return new_uid()
    return f"{new_uid()}-{sha256(key.encode()).hexdigest()[:32]}"
