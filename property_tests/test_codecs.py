"""What both codecs promise for every message and every record."""

import base64
import json
import pickle
from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_bus._backend import Death, DeathCause, Receipt, Record
from trio_bus._codec import Codec, is_oversized
from trio_bus._dead_letter import CONTEXT, context_fields, dead_letter_of
from trio_bus._entry_id import EntryId
from trio_bus._envelope import EnvelopeCodec
from trio_bus._errors import SerializationError
from trio_bus._fields import FieldsCodec
from trio_bus._message import Message, check_publishable
from trio_bus._names import own_key
from trio_bus._timestamp import format_timestamp, parse_timestamp
from trio_bus.testing.strategies import groups, instants, messages, topics

CODECS: list[Codec] = [FieldsCodec(), EnvelopeCodec()]
codecs = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: type(codec).__name__)

FIELD_NAMES = [
    *(name for name, _ in CODECS[0].encode(Message("t", key="k", kind="k", source="s"))),
    b"content-type",
    b"ce_eventversion",
    b"ce_idempotencykey",
    b"ce_expirytime",
    b"ce_traceuid",
    b"ce_correlationuid",
    b"headers",
    b"message",
]
LAST_MS = 253_402_300_799_999  # the end of the year 9999
BODY_NAMES = [field.name for field in attrs.fields(Message)]

names = st.sampled_from(FIELD_NAMES) | st.binary(max_size=8)
values = st.binary(max_size=40) | st.text(max_size=20).map(str.encode)
records = st.lists(st.tuples(names, values), max_size=20).map(tuple)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)  # lone surrogates too
    | st.binary(max_size=8).map(lambda raw: base64.b64encode(raw).decode())
    | instants().map(format_timestamp)
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
bodies = st.dictionaries(st.sampled_from(BODY_NAMES), json_values)
almost = st.fixed_dictionaries(
    {
        "uid": st.text(st.characters(), max_size=3),
        "topic": st.text(max_size=3),
        "key": st.text(max_size=3),
        "kind": st.text(max_size=3),
        "source": st.text(max_size=3),
        "occurred_at": instants().map(format_timestamp) | st.text(max_size=3),
        "headers": st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
        "payload": st.text("AQYgwz=+/", max_size=8),
    },
    optional={"expires_at": json_values, "trace_uid": json_values, "x": json_values},
)


def decode_or_refuse(codec: Codec, record: Record) -> Message | None:
    """Decode; None if the record is refused, and any other error fails the test."""
    try:
        return codec.decode(record)
    except SerializationError:
        return None


@codecs
@given(message=messages())
def test_every_message_comes_back(codec: Codec, message: Message) -> None:
    """Equal, with its headers in order, fit to publish again, and below the limit."""
    record = codec.encode(message)
    read = codec.decode(record)
    assert read == message
    assert list(read.headers) == list(message.headers)
    assert pickle.loads(pickle.dumps(read)) == message  # noqa: S301
    check_publishable(read)
    assert codec.encode(read) == record
    assert not is_oversized(record, codec.max_record_bytes(len(message.payload)))


@codecs
@given(record=records)
def test_odd_records_are_read_or_refused(codec: Codec, record: Record) -> None:
    """Never another error; and what is read can be written again."""
    read = decode_or_refuse(codec, record)
    if read is not None:
        assert codec.decode(codec.encode(read)) == read


@codecs
@given(message=messages(), data=st.data())
def test_damaged_records_are_read_or_refused(
    codec: Codec, message: Message, data: st.DataObject
) -> None:
    """One value of a sound record is cut, or one byte of it differs."""
    record = codec.encode(message)
    index = data.draw(st.integers(0, len(record) - 1))
    name, value = record[index]
    at = data.draw(st.integers(0, len(value)))
    new = value[:at] + data.draw(st.binary(max_size=1)) + value[at + 1 :]
    decode_or_refuse(codec, (*record[:index], (name, new), *record[index + 1 :]))


@given(text=st.binary() | st.text().map(str.encode) | json_values.map(json.dumps).map(str.encode))
def test_any_envelope_is_read_or_refused(text: bytes) -> None:
    """Bytes, text and JSON of every shape."""
    decode_or_refuse(EnvelopeCodec(), ((b"message", text),))


@given(body=bodies | almost)
def test_any_body_is_read_or_refused(body: dict[str, object]) -> None:
    """JSON that comes close; what is read can be written again."""
    text = json.dumps({"message": body}).encode()
    read = decode_or_refuse(EnvelopeCodec(), ((b"message", text),))
    if read is not None:
        assert EnvelopeCodec().decode(EnvelopeCodec().encode(read)) == read


@given(instant=instants(), minutes=st.integers(-1439, 1439))
def test_every_instant_comes_back(instant: datetime, minutes: int) -> None:
    """From UTC, and from any offset that it can be written in."""
    text = format_timestamp(instant)
    assert parse_timestamp(text) == instant
    assert parse_timestamp(text.lower()) == instant
    zone = timezone(timedelta(minutes=minutes))
    try:
        local = instant.astimezone(zone)
    except OverflowError:
        return
    assert parse_timestamp(local.isoformat()) == instant
    assert parse_timestamp(local.isoformat()).tzinfo is UTC


@given(text=st.text("0123456789-+:.TtZz UC\u2212", max_size=40) | st.text())
def test_any_timestamp_is_read_or_refused(text: str) -> None:
    """Never another error; and what is read can be written again."""
    try:
        instant = parse_timestamp(text)
    except SerializationError:
        return
    assert parse_timestamp(format_timestamp(instant)) == instant


@given(
    body=records,
    topic=topics(),
    group=groups(),
    now_ms=st.integers(0, LAST_MS),
    receipt=st.builds(
        Receipt,
        st.builds(EntryId, st.integers(0, LAST_MS), st.integers(0, 2**64 - 1)),
        st.integers(1, 2**31),
    ),
    death=st.builds(Death, st.sampled_from(DeathCause), st.just("E"), st.text(st.characters())),
)
def test_every_context_comes_back(
    *, body: Record, topic: str, group: str, now_ms: int, receipt: Receipt, death: Death
) -> None:
    """Behind any record, whatever the text of the error."""
    context = context_fields(topic, group, receipt, now_ms, death)
    letter = dead_letter_of(body + context)
    assert letter is not None
    assert (letter.topic, letter.group) == (topic, group)
    assert (letter.entry_id, letter.attempts) == (receipt.id, receipt.attempt)
    assert letter.first_received == receipt.id.time
    assert letter.last_received == EntryId(now_ms).time
    assert letter.cause is death.cause
    assert letter.error_text == death.error_text.encode("utf-8", "backslashreplace").decode()


@given(fields=st.lists(st.tuples(st.sampled_from(CONTEXT), values), min_size=9, max_size=30))
def test_any_context_is_read_or_none(fields: list[tuple[bytes, bytes]]) -> None:
    """It never raises."""
    dead_letter_of(tuple(fields))
    dead_letter_of(tuple(zip(CONTEXT, (value for _, value in fields), strict=False)))


@given(one=st.tuples(topics(), groups()), other=st.tuples(topics(), groups()))
def test_own_keys_are_never_shared(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Two groups of two topics have two keys, none of which is a topic."""
    keys = [own_key(topic, "due", group) for topic, group in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)
    assert all(key.startswith("trio_bus:{") for key in keys)
