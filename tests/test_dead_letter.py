"""The context of dead letters."""

from datetime import UTC, datetime

import pytest

from trio_bus._backend import Death, DeathCause, Receipt, Record
from trio_bus._codec import is_oversized, record_bytes
from trio_bus._dead_letter import CONTEXT, DeadLetter, context_fields, dead_letter_of
from trio_bus._entry_id import EntryId

RECEIPT = Receipt(EntryId(1_700_000_000_123, 4), 3)
DEATH = Death(DeathCause.REJECTED, "builtins.ValueError", "naïve\n")
BODY: Record = ((b"data", b"x"), (b"dead-letter-reason", b"of somebody else"))
NOW_MS = 1_700_000_005_000


def context(topic: str = "orders", death: Death = DEATH) -> Record:
    """Make one set."""
    return context_fields(topic, "billing", RECEIPT, NOW_MS, death)


def changed(name: bytes, value: bytes) -> Record:
    """Make one set with another value."""
    return tuple((field, value if field == name else old) for field, old in context())


def test_the_fields_and_their_order() -> None:
    """As every backend writes them."""
    assert context() == (
        (b"dead-letter-topic", b"orders"),
        (b"dead-letter-group", b"billing"),
        (b"dead-letter-id", b"1700000000123-4"),
        (b"dead-letter-attempts", b"3"),
        (b"dead-letter-first", b"1700000000123"),
        (b"dead-letter-last", b"1700000005000"),
        (b"dead-letter-cause", b"rejected"),
        (b"dead-letter-error-type", b"builtins.ValueError"),
        (b"dead-letter-error-text", "naïve\n".encode()),
    )


def test_what_is_written_is_read() -> None:
    """With times in UTC."""
    assert dead_letter_of(BODY + context()) == DeadLetter(
        topic="orders",
        group="billing",
        entry_id=EntryId(1_700_000_000_123, 4),
        attempts=3,
        first_received=datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC),
        last_received=datetime(2023, 11, 14, 22, 13, 25, tzinfo=UTC),
        cause=DeathCause.REJECTED,
        error_type="builtins.ValueError",
        error_text="naïve\n",
    )


@pytest.mark.parametrize("cause", DeathCause)
def test_every_cause_survives(cause: DeathCause) -> None:
    """By its value."""
    letter = dead_letter_of(context(death=Death(cause, "", "")))
    assert letter is not None
    assert letter.cause is cause


def test_the_last_complete_set_counts() -> None:
    """Earlier ones are history, and an unfinished one is nothing."""
    again = BODY + context("orders") + context("refunds")
    letter = dead_letter_of(again)
    assert letter is not None
    assert letter.topic == "refunds"
    unfinished = dead_letter_of(again + context("other")[:-1])
    assert unfinished is not None
    assert unfinished.topic == "refunds"


@pytest.mark.parametrize(
    "record",
    [
        (),
        BODY,
        context()[:-1],
        context()[1:],
        context()[::-1],
        changed(b"dead-letter-topic", b"\xff"),
        changed(b"dead-letter-id", b"x"),
        changed(b"dead-letter-id", b"\xff-1"),
        changed(b"dead-letter-attempts", b"-1"),
        changed(b"dead-letter-attempts", b""),
        changed(b"dead-letter-attempts", "²".encode()),
        changed(b"dead-letter-attempts", "٣".encode()),
        changed(b"dead-letter-first", b"9" * 20),
        changed(b"dead-letter-last", b"9" * 5000),
        changed(b"dead-letter-cause", b"boredom"),
        changed(b"dead-letter-error-text", b"\xc3"),
    ],
    ids=lambda record: ascii(record)[-40:],
)
def test_what_makes_no_sense_is_none(record: Record) -> None:
    """It never raises: anybody can write such fields."""
    assert dead_letter_of(record) is None


def test_error_texts_may_hold_what_utf8_cannot() -> None:
    """It is escaped, and readable."""
    letter = dead_letter_of(context(death=Death(DeathCause.REJECTED, "E", "file \udcff")))
    assert letter is not None
    assert letter.error_text == "file \\udcff"


def test_context_does_not_count_as_size() -> None:
    """What was small enough once stays readable, however often it is buried."""
    body = ((b"data", b"x" * 96),)
    assert record_bytes(body) == 100
    assert not is_oversized(body, 100)
    assert is_oversized(body, 99)
    assert not is_oversized(body + context() + context(), 100)
    assert is_oversized(body + context(), 99)
    assert len(CONTEXT) == 9
