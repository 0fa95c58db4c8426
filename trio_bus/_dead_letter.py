"""The context that a record gets when it is buried: a set of fields behind its own."""

from datetime import UTC, datetime, timedelta

import attrs

from ._backend import Death, DeathCause, Receipt, Record
from ._entry_id import EntryId
from ._errors import ValidationError

CONTEXT_PREFIX = b"dead-letter-"

TOPIC = b"dead-letter-topic"
GROUP = b"dead-letter-group"
ENTRY_ID = b"dead-letter-id"
ATTEMPTS = b"dead-letter-attempts"
FIRST = b"dead-letter-first"
"""When the entry was added, in milliseconds since 1970 by the clock of the server."""
LAST = b"dead-letter-last"
"""When it was buried, in milliseconds since 1970 by the clock of the server."""
CAUSE = b"dead-letter-cause"
ERROR_TYPE = b"dead-letter-error-type"
ERROR_TEXT = b"dead-letter-error-text"

ONLY = b"dead-letter-only"
"""Last field of a copy that was sent back into this one group: its value. Others ack it unseen."""

CONTEXT = (TOPIC, GROUP, ENTRY_ID, ATTEMPTS, FIRST, LAST, CAUSE, ERROR_TYPE, ERROR_TEXT)
"""The names of one set, in their order."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@attrs.frozen
class DeadLetter:
    """Where a dead-lettered entry comes from, and why it was given up."""

    topic: str
    """The topic that it was published to."""
    group: str
    """The group that gave it up; other groups may have handled it."""
    entry_id: EntryId
    """Its id in that topic."""
    attempts: int
    """How often it had been delivered."""
    first_received: datetime
    """When it was added to that topic, in UTC, by the clock of the server."""
    last_received: datetime
    """When it was buried, in UTC, by the clock of the server."""
    cause: DeathCause
    error_type: str
    error_text: str


def encode_text(text: str) -> bytes:
    """Write the text of an error, which may hold what UTF-8 cannot: that is escaped."""
    return text.encode("utf-8", "backslashreplace")


def context_fields(topic: str, group: str, receipt: Receipt, now_ms: int, death: Death) -> Record:
    """Make the fields that are added to a record that is buried at *now_ms*, the server's time."""
    values = (
        topic,
        group,
        str(receipt.id),
        str(receipt.attempt),
        str(receipt.id.ms),
        str(now_ms),
        death.cause.value,
        death.error_type,
        death.error_text,
    )
    return tuple(zip(CONTEXT, map(encode_text, values), strict=True))


def dead_letter_of(record: Record) -> DeadLetter | None:
    """Read the context of a record; None if it has none, or one that makes no sense.

    A record that was buried again has several sets. The last complete one counts, the earlier
    ones are history.
    """
    starts = _starts(record)
    return _read_at(record, starts[-1]) if starts else None


def history_of(record: Record) -> tuple[DeadLetter, ...]:
    """Read all contexts of a record that make sense, the last one included, in their order."""
    read = [_read_at(record, start) for start in _starts(record)]
    return tuple(it for it in read if it is not None)


def is_for(record: Record, group: str) -> bool:
    """Tell whether *group* is to handle it: all are, but of a copy that was sent back into one.

    Only the last field counts. Buried again it has a context behind it, and is an ordinary entry of
    the dead-letter topic.
    """
    name, value = record[-1] if record else (b"", b"")
    return name != ONLY or value == encode_text(group)


def lies_dead(record: Record) -> bool:
    """Tell whether it was buried, and is no copy that was sent back."""
    return bool(_starts(record)) and record[-1][0] != ONLY


def ends_with_context(record: Record, topic: str, group: str, entry_id: EntryId) -> bool:
    """Tell whether it is a dead letter of that entry, as it was buried."""
    names = (TOPIC, GROUP, ENTRY_ID)
    values = map(encode_text, (topic, group, str(entry_id)))
    first = record[-len(CONTEXT) :][: len(names)]
    return first == tuple(zip(names, values, strict=True))


def without_context(record: Record) -> Record:
    """Return the fields that were there before it was first buried."""
    starts = _starts(record)
    return record[: starts[0]] if starts else record


def _starts(record: Record) -> list[int]:
    names = tuple(name for name, _ in record)
    size = len(CONTEXT)
    if TOPIC not in names:  # nearly always
        return []
    places = range(len(names) - size + 1)
    return [at for at in places if names[at : at + size] == CONTEXT]


def _read_at(record: Record, start: int) -> DeadLetter | None:
    return _read([value for _, value in record[start : start + len(CONTEXT)]])


def _read(values: list[bytes]) -> DeadLetter | None:
    try:
        topic, group, entry_id, attempts, first, last, cause, error_type, error_text = [
            value.decode() for value in values
        ]
        return DeadLetter(
            topic=topic,
            group=group,
            entry_id=EntryId.parse(entry_id),
            attempts=_number(attempts),
            first_received=_EPOCH + timedelta(milliseconds=_number(first)),
            last_received=_EPOCH + timedelta(milliseconds=_number(last)),
            cause=DeathCause(cause),
            error_type=error_type,
            error_text=error_text,
        )
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise ValidationError("not a number")
    return int(text)
