"""The envelope codec against what the Rust family writes, accepts and refuses."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from trio_bus._backend import Record
from trio_bus._codec import ALLOWANCE, record_bytes
from trio_bus._envelope import EnvelopeCodec
from trio_bus._errors import SerializationError
from trio_bus._message import Message

DATA = Path(__file__).parent / "data"
CODEC = EnvelopeCodec()
PREFIX = '{"message":{"headers":{},"key":"k","kind":"K","occurred_at":"2026-01-02T03:04:05Z",'
REST = '"payload":"","source":"s","topic":"t","uid":"u"'


class Instant(msgspec.Struct):
    """An instant in the data: exact."""

    unix_s: int
    nanos: int
    rfc3339_autosi: str

    def rounded(self) -> datetime | None:
        """Return what a datetime can hold of it; None if its year is beyond."""
        second = self.unix_s + self.nanos // 10**9  # a leap second has more than 10**9 nanos
        try:
            base = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
        except OverflowError:
            return None
        return base.replace(microsecond=self.nanos % 10**9 // 1000)


class Fields(msgspec.Struct):
    """The plain values of a message."""

    uid: str
    topic: str
    key: str
    kind: str
    source: str
    occurred_at: Instant
    headers: dict[str, str]
    payload_hex: str
    content_type: str | None
    event_version: str | None
    idempotency_key: str | None
    expires_at: Instant | None
    trace_uid: str | None
    correlation_uid: str | None

    def message(self) -> Message | None:
        """Make that message; None if an instant does not fit."""
        occurred_at = self.occurred_at.rounded()
        if occurred_at is None:
            return None
        return Message(
            self.topic,
            bytes.fromhex(self.payload_hex),
            key=self.key,
            kind=self.kind,
            source=self.source,
            uid=self.uid,
            occurred_at=occurred_at,
            headers=self.headers,
            content_type=self.content_type,
            event_version=self.event_version,
            idempotency_key=self.idempotency_key,
            expires_at=None if self.expires_at is None else self.expires_at.rounded(),
            trace_uid=self.trace_uid,
            correlation_uid=self.correlation_uid,
        )


class Written(msgspec.Struct):
    """A message, and what the Rust codec makes of it."""

    name: str
    fields: Fields
    hex: str
    header_order_random: bool


class Result(msgspec.Struct):
    """What the Rust codec made of an input."""

    ok: bool
    uid: str = ""
    topic_len: int = 0
    payload_b64: str = ""
    occurred_at: str = ""
    content_type: str | None = None
    headers: dict[str, str] = {}


class Read(msgspec.Struct):
    """An input of the Rust codec; long or broken ones are not spelled out."""

    name: str
    result: Result
    input: str = ""


WRITTEN = [
    msgspec.json.decode(line, type=Written)
    for line in (DATA / "envelope-encode.jsonl").read_bytes().splitlines()
]
READ = [
    msgspec.json.decode(line, type=Read)
    for line in (DATA / "envelope-decode.jsonl").read_bytes().splitlines()
]

# What a datetime cannot hold: how we write the message after reading it; None if we cannot.
LOSSY = {
    "every-optional-set": (b"05.123456789Z", b"05.123456Z"),
    "ts-nanos": (b"05.000000001Z", b"05Z"),
    "ts-leap-second": (b"2016-12-31T23:59:60Z", b"2017-01-01T00:00:00Z"),
    "ts-year-over-9999": None,
}

# The inputs that the data abbreviates.
INPUTS = {
    "topic 2000 bytes": PREFIX
    + '"payload":"","source":"s","topic":"'
    + "a" * 2000
    + '","uid":"u"}}',
    "nesting 200 deep in unknown field": PREFIX + REST + ',"x":' + "[" * 200 + "]" * 200 + "}}",
}
BROKEN_UTF8 = b'{"message":{"uid":"\xff",' + (PREFIX[12:] + REST[:-8] + "}}").encode()

# Where we differ, each on purpose.
POSITIONAL = {
    "envelope as array [message]",
    "message as array (positional)",
    "message as array (8 positional)",
}
INSTANTS = {
    "2026-01-02T03:04:60Z": datetime(2026, 1, 2, 3, 5, tzinfo=UTC),
    "2016-12-31T23:59:60Z": datetime(2017, 1, 1, tzinfo=UTC),
    "+12026-01-02T03:04:05Z": None,
    "-0001-01-02T03:04:05Z": None,
}


def record_of(text: str | bytes) -> Record:
    """Make the record around a JSON text."""
    return ((b"message", text.encode() if isinstance(text, str) else text),)


def decode(text: str | bytes) -> Message:
    """Decode the record around a JSON text."""
    return CODEC.decode(record_of(text))


def expected_instant(text: str) -> datetime | None:
    """Say what we make of an instant that the Rust codec accepts."""
    if text in INSTANTS:
        return INSTANTS[text]
    return datetime.fromisoformat(text)


def test_the_data_is_all_there() -> None:
    """So that the tests below cannot pass by having nothing to do."""
    assert len(WRITTEN) == 17
    assert len(READ) == 59
    names = {row.name for row in WRITTEN} | {row.name for row in READ}
    assert names >= POSITIONAL | set(LOSSY) | set(INPUTS)
    assert {row.result.occurred_at for row in READ} >= set(INSTANTS)


@pytest.mark.parametrize("row", WRITTEN, ids=lambda row: row.name)
def test_we_write_what_rust_writes(row: Written) -> None:
    """Byte for byte, or item for item where the order of headers is random there."""
    message = row.fields.message()
    lossy = LOSSY.get(row.name, (b"", b""))
    if lossy is None:
        assert message is None
        return
    assert message is not None
    expected = bytes.fromhex(row.hex).replace(*lossy) if lossy[0] else bytes.fromhex(row.hex)
    [(name, text)] = CODEC.encode(message)
    assert name == b"message"
    if row.header_order_random:
        assert len(text) == len(expected)
        assert json.loads(text) == json.loads(expected)
    else:
        assert text == expected


@pytest.mark.parametrize("row", WRITTEN, ids=lambda row: row.name)
def test_we_read_what_rust_writes(row: Written) -> None:
    """With the same values; an instant that does not fit is refused."""
    message = row.fields.message()
    if message is None:
        with pytest.raises(SerializationError, match="timestamp"):
            decode(bytes.fromhex(row.hex))
    else:
        assert decode(bytes.fromhex(row.hex)) == message


@pytest.mark.parametrize("row", READ, ids=lambda row: row.name)
def test_we_accept_and_refuse_what_rust_does(row: Read) -> None:
    """With the same values, and with the differences that are named above."""
    text = INPUTS.get(row.name, row.input).encode() or BROKEN_UTF8
    instant = expected_instant(row.result.occurred_at) if row.result.ok else None
    if row.name == "null headers":
        assert decode(text).headers == {}
    elif row.name in POSITIONAL or instant is None:
        with pytest.raises(SerializationError):
            decode(text)
    else:
        message = decode(text)
        assert message.occurred_at == instant
        assert message.uid == row.result.uid
        assert len(message.topic.encode()) == row.result.topic_len
        assert message.payload == base64.b64decode(row.result.payload_b64)
        assert message.content_type == row.result.content_type
        assert message.headers == row.result.headers


def with_body(**changes: object) -> str:
    """Make the JSON of a message in which some fields differ."""
    body: dict[str, object] = {
        "uid": "u",
        "topic": "t",
        "key": "",
        "kind": "",
        "source": "",
        "occurred_at": "2026-01-02T03:04:05Z",
        "headers": {},
        "payload": "",
    }
    return json.dumps({"message": body | changes})


def test_the_reference_body_is_read() -> None:
    """What the tests below change is sound before."""
    message = decode(with_body(payload="YQ==", expires_at="2026-01-02T03:04:06Z"))
    assert message.payload == b"a"
    assert message.expires_at == datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    "field",
    [
        "content_type",
        "event_version",
        "idempotency_key",
        "expires_at",
        "trace_uid",
        "correlation_uid",
    ],
)
def test_optional_fields_may_be_null_but_not_numbers(field: str) -> None:
    """Null is None; another type is refused."""
    assert getattr(decode(with_body(**{field: None})), field) is None
    wrongs: list[object] = [1, True, [], {}, ["x"]]
    for wrong in wrongs:
        with pytest.raises(SerializationError):
            decode(with_body(**{field: wrong}))


@pytest.mark.parametrize("payload", ["YR==", "YWJ=", "YWL=", "YQ", "YQ= =", "Y Q==", "YQ==\n", "é"])
def test_base64_is_strict(payload: str) -> None:
    """Left-over bits, missing padding, white space and other alphabets are refused."""
    with pytest.raises(SerializationError, match="payload"):
        decode(with_body(payload=payload))


@pytest.mark.parametrize("size", range(9))
def test_base64_of_every_length_is_read(size: int) -> None:
    """Padded by none, one or two signs."""
    payload = b"\xff" * size
    assert decode(with_body(payload=base64.b64encode(payload).decode())).payload == payload


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"1",
        b'"message"',
        b"[]",
        b"{}",
        b'{"message":null}',
        b'{"message":[]}',
        (PREFIX + REST + "}}x").encode(),
        (PREFIX + REST + ',"x":NaN}}').encode(),
        (PREFIX + REST + ',"x":-Infinity}}').encode(),
        (PREFIX + REST + ',"x":01}}').encode(),
        (PREFIX + REST + ',"x":"\\ud800":1}}').encode(),
        (PREFIX + REST + ',"\\ud800":1}}').encode(),
        (PREFIX + REST + ',"x":"\x1f"}}').encode(),
        (PREFIX + REST + ',"content_type":null,"content_type":"a"}}').encode(),
        (PREFIX.replace("{}", '{"\\ud800":"a"}') + REST + "}}").encode(),
        (PREFIX.replace("{}", '{"a":"\\udfff"}') + REST + "}}").encode(),
        (PREFIX + REST + "}}").encode("utf-16"),
        (PREFIX + REST + ',"x":' + "[" * 100_000 + "]" * 100_000 + "}}").encode(),
        b"\xff\xfe",
    ],
    ids=lambda text: ascii(text[-40:]),
)
def test_other_json_is_refused(text: bytes) -> None:
    """Never with another error, however odd the text."""
    with pytest.raises(SerializationError):
        decode(text)


def test_a_deep_value_is_refused_where_text_belongs() -> None:
    """At every depth, those that can be read but not shown among them."""
    for depth in (*range(900, 1000), 5000):
        deep = "[" * depth + "]" * depth
        with pytest.raises(SerializationError):
            decode(PREFIX + REST.replace('"uid":"u"', '"uid":' + deep) + "}}")


def test_what_we_ignore_may_be_anything() -> None:
    """Unknown fields at both levels: twice, huge or deep."""
    odd = ',"x":' + "9" * 5000 + ',"x":1e999,"x":"\\ud800","x":{"uid":1}}'
    assert decode(PREFIX + REST + odd + ',"y":[{}],"y":null}').uid == "u"


def test_the_last_of_two_equal_headers_counts() -> None:
    """As in a hash map."""
    text = PREFIX.replace('"headers":{}', '"headers":{"a":"1","b":"2","a":"3"}') + REST + "}}"
    assert decode(text).headers == {"a": "3", "b": "2"}


def test_the_record_has_one_message() -> None:
    """Other fields, like the context of dead letters, are ignored."""
    [field] = record_of(with_body())
    assert CODEC.decode((field, (b"dead-letter-topic", b"\xff"))).uid == "u"
    for record in (), ((b"Message", b"{}"),), (field, field):
        with pytest.raises(SerializationError, match="'message'"):
            CODEC.decode(record)


def test_strings_are_escaped_as_rust_does() -> None:
    """Only what JSON demands, in the shortest form, with small hexadecimal digits."""
    every = "".join(map(chr, range(0x21))) + '"\\/\x7f\x80\u2028\u2029é\U0001f600'
    [(_, text)] = CODEC.encode(Message("t", key=every))
    escaped = "".join(f"\\u{n:04x}" for n in range(0x20))
    for number, short in (8, "b"), (9, "t"), (10, "n"), (12, "f"), (13, "r"):
        escaped = escaped.replace(f"\\u{number:04x}", f"\\{short}")
    expected = escaped + ' \\"\\\\/\x7f\x80\u2028\u2029é\U0001f600'
    assert f'"key":"{expected}"'.encode() in text
    assert CODEC.decode(record_of(text)).key == every


def test_headers_keep_their_order() -> None:
    """There it is random; here it is the publisher's."""
    headers = {"z": "1", "a": "2", "m": "3"}
    [(_, text)] = CODEC.encode(Message("t", headers=headers))
    assert b'"headers":{"z":"1","a":"2","m":"3"}' in text
    assert list(decode(text).headers) == ["z", "a", "m"]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000])
@pytest.mark.guards("a limit that nobody sees")
def test_the_limit_is_the_payload_in_base64_and_the_allowance(size: int) -> None:
    """A message without much else is far below; its payload fits exactly."""
    now = datetime.now(UTC)  # one for both: its text ends where its zeros begin
    record = CODEC.encode(Message("t", bytes(size), occurred_at=now))
    bare = CODEC.encode(Message("t", occurred_at=now))
    assert CODEC.max_record_bytes(size) == record_bytes(record) - record_bytes(bare) + ALLOWANCE
