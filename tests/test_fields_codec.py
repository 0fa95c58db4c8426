"""The default codec: one field for each attribute."""

from datetime import UTC, datetime

import pytest

from trio_bus._backend import Record
from trio_bus._codec import ALLOWANCE
from trio_bus._errors import SerializationError
from trio_bus._fields import FieldsCodec
from trio_bus._message import Message

CODEC = FieldsCodec()
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SMALLEST: Record = (
    (b"ce_specversion", b"1.0"),
    (b"ce_id", b"u"),
    (b"ce_time", b"2026-01-02T12:00:00Z"),
    (b"ce_topic", b"orders"),
    (b"data", b"\x00\xff"),
)


def changed(name: bytes, value: bytes | None) -> Record:
    """Make the smallest record with one field set, or left out."""
    rest = tuple(field for field in SMALLEST if field[0] != name)
    return rest if value is None else (*rest, (name, value))


def test_the_smallest_message() -> None:
    """Attributes without a value have no field."""
    message = Message("orders", b"\x00\xff", uid="u", occurred_at=NOON)
    assert CODEC.encode(message) == SMALLEST
    assert CODEC.decode(SMALLEST) == message


def test_every_attribute_has_a_field() -> None:
    """With its name in CloudEvents where it has one."""
    message = Message(
        "orders",
        b"{}",
        key="é",
        kind="paid",
        source="shop",
        uid="u",
        occurred_at=NOON.replace(microsecond=120_000),
        headers={"b": "\x00é", "a": ""},
        content_type="application/json",
        event_version="2",
        idempotency_key="i",
        expires_at=NOON,
        trace_uid="t",
        correlation_uid="c",
    )
    record = CODEC.encode(message)
    assert record == (
        (b"ce_specversion", b"1.0"),
        (b"ce_id", b"u"),
        (b"ce_source", b"shop"),
        (b"ce_type", b"paid"),
        (b"ce_time", b"2026-01-02T12:00:00.120Z"),
        (b"ce_topic", b"orders"),
        (b"ce_partitionkey", "é".encode()),
        (b"content-type", b"application/json"),
        (b"ce_eventversion", b"2"),
        (b"ce_idempotencykey", b"i"),
        (b"ce_traceuid", b"t"),
        (b"ce_correlationuid", b"c"),
        (b"ce_expirytime", b"2026-01-02T12:00:00Z"),
        (b"headers", '{"b":"\\u0000é","a":""}'.encode()),
        (b"data", b"{}"),
    )
    assert CODEC.decode(record) == message
    assert CODEC.decode(record[::-1]) == message
    assert list(CODEC.decode(record).headers) == ["b", "a"]


def test_empty_is_not_none() -> None:
    """For the attributes that may be None."""
    empty = Message(
        "orders",
        content_type="",
        event_version="",
        idempotency_key="",
        trace_uid="",
        correlation_uid="",
    )
    assert CODEC.decode(CODEC.encode(empty)) == empty
    assert CODEC.decode(CODEC.encode(Message("orders"))).trace_uid is None


def test_the_payload_is_not_copied() -> None:
    """The very same bytes go in and come out."""
    payload = b"x" * 1000
    record = CODEC.encode(Message("orders", payload))
    assert record[-1][1] is payload
    assert CODEC.decode(record).payload is payload


def test_unknown_fields_are_ignored() -> None:
    """Even twice, and whatever they are called."""
    odd = ((b"x", b"\xff"), (b"x", b""), (b"", b""), (b"\xff", b"1"))
    assert CODEC.decode(odd + SMALLEST + odd) == CODEC.decode(SMALLEST)


def test_what_others_wrote_is_read() -> None:
    """Where we would refuse to publish it; and no version at all is version 1.0."""
    assert CODEC.decode(changed(b"ce_topic", b"")).topic == ""
    assert CODEC.decode(changed(b"ce_id", b"")).uid == ""
    assert (
        CODEC.decode(changed(b"headers", b'{"retry-attempt":"1"}')).headers["retry-attempt"] == "1"
    )
    assert CODEC.decode(changed(b"headers", b"{}")).headers == {}
    assert CODEC.decode(changed(b"headers", b'{"content-type":"x"}')).content_type == "x"
    assert CODEC.decode(changed(b"ce_specversion", None)).uid == "u"


@pytest.mark.parametrize("name", [b"ce_id", b"ce_time", b"ce_topic", b"data"])
def test_required_fields_are_missed_by_name(name: bytes) -> None:
    """There is no message without them."""
    with pytest.raises(SerializationError, match=f"{name.decode()}.* is missing"):
        CODEC.decode(changed(name, None))


@pytest.mark.parametrize("name", [name for name, _ in SMALLEST])
def test_known_fields_are_there_once(name: bytes) -> None:
    """Which of two would count nobody could know."""
    with pytest.raises(SerializationError, match="is there twice"):
        CODEC.decode((*SMALLEST, (name, b"1.0")))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"ce_specversion", b"2.0"),
        (b"ce_specversion", b""),
        (b"ce_id", b"\xff"),
        (b"ce_id", b"\xed\xa0\x80"),
        (b"ce_topic", b"\xc3"),
        (b"ce_time", b"noon"),
        (b"ce_time", b""),
        (b"ce_time", b"\xff"),
        (b"ce_expirytime", b""),
        (b"ce_expirytime", b"+12026-01-02T03:04:05Z"),
        (b"ce_partitionkey", b"\xff"),
        (b"content-type", b"\xff"),
        (b"headers", b""),
        (b"headers", b"null"),
        (b"headers", b"[]"),
        (b"headers", b'{"a":1}'),
        (b"headers", b'{"a":null}'),
        (b"headers", b'{"a":"\xff"}'),
        (b"headers", b'{"a":"\\ud800"}'),
        (b"headers", b'{"\\ud800":"a"}'),
        (b"headers", b'{"a":"b"}x'),
        (b"headers", b'{"a":' + b"[" * 100_000),
        (b"headers", b'\xef\xbb\xbf{"a":"b"}'),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_values_that_are_no_such_thing_are_refused(name: bytes, value: bytes) -> None:
    """With our error and no other."""
    with pytest.raises(SerializationError):
        CODEC.decode(changed(name, value))


def test_the_limit_is_the_payload_and_the_allowance() -> None:
    """The payload is written as it is."""
    assert CODEC.max_record_bytes(1000) == 1000 + ALLOWANCE
