"""Messages: what they refuse, what they make of their input, and how they travel."""

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest

from tests.loose import loose
from trio_bus._errors import ValidationError
from trio_bus._headers import NO_HEADERS, Headers
from trio_bus._message import (
    BAGGAGE,
    TRACEPARENT,
    TRACESTATE,
    Message,
    check_publishable,
    restored,
)

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
make = loose(Message)


def test_only_the_topic_is_needed() -> None:
    """The rest is empty, or made."""
    before = datetime.now(UTC)
    message = Message("orders")
    assert before <= message.occurred_at <= datetime.now(UTC)
    assert message.occurred_at.tzinfo is UTC
    assert message.payload == b""
    assert (message.key, message.kind, message.source) == ("", "", "")
    assert message.headers == {}
    assert message.content_type is None
    assert message.expires_at is None
    assert message.trace_uid is None
    assert len({Message("orders").uid for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("topic", ""),
        ("topic", b"orders"),
        ("payload", "text"),
        ("payload", bytearray(b"x")),
        pytest.param("payload", memoryview(b"x"), id="payload-memoryview"),
        ("payload", None),
        ("key", 7),
        ("key", None),
        ("key", "\ud800"),
        ("kind", b""),
        ("source", "a\udfff"),
        ("uid", ""),
        ("uid", 7),
        ("occurred_at", "2026-01-02T12:00:00Z"),
        ("occurred_at", NOON.replace(tzinfo=None)),
        ("occurred_at", datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))),
        ("expires_at", NOON.replace(tzinfo=None)),
        ("expires_at", 1767355200),
        ("headers", None),
        ("headers", [("a", "b")]),
        ("headers", {"a": 1}),
        ("headers", {1: "a"}),
        ("headers", {"a": None}),
        ("headers", {"a": "\ud800"}),
        ("headers", {"\ud800": "a"}),
        ("headers", {"": "a"}),
        ("content_type", 1),
        ("event_version", 1),
        ("idempotency_key", b"x"),
        ("trace_uid", "\ud800"),
        ("correlation_uid", 0),
    ],
    ids=ascii,
)
def test_what_cannot_work_is_refused_by_name(field: str, value: object) -> None:
    """The error begins with the name of the field."""
    with pytest.raises(ValidationError, match=f"^{field}: "):
        make(**{"topic": "orders", field: value})


@pytest.mark.parametrize(
    "name",
    [
        "retry-attempt",
        "Retry-Attempt",
        "retry-reason",
        "x-original-topic",
        "X-ORIGINAL-TOPIC",
        "dead-letter-",
        "Dead-Letter-Reason",
        "trio-bus-anything",
        "TRIO-BUS-x",
    ],
)
def test_reserved_headers_are_refused(name: str) -> None:
    """In any case, when made and when published again."""
    with pytest.raises(ValidationError, match=r"^headers: .* is reserved"):
        Message("orders", headers={"fine": "", name: "x"})
    written = restored(
        topic="orders", payload=b"", uid="u", occurred_at=NOON, headers=Headers({name: "x"})
    )
    with pytest.raises(ValidationError, match=r"^headers: .* is reserved"):
        check_publishable(written)


def test_similar_headers_are_not_reserved() -> None:
    """Only whole names and the two prefixes are."""
    headers = {"retry-attempts": "1", "dead-letter": "1", "triobus-x": "1", " ": "", "A": "1"}
    assert Message("orders", headers=headers).headers == headers


def test_trace_context_headers_are_known_by_their_w3c_names() -> None:
    """They are ordinary headers with constants for their names."""
    headers = {TRACEPARENT: "00-1-2-01", TRACESTATE: "v=1", BAGGAGE: "k=v"}
    assert list(headers) == ["traceparent", "tracestate", "baggage"]
    assert Message("orders", headers=headers).headers == headers


def test_three_headers_fill_their_fields() -> None:
    """Where the field is None; an empty field is not None."""
    headers = {"content-type": "a", "event-version": "b", "idempotency-key": "c"}
    message = Message("orders", headers=headers)
    assert message.content_type == "a"
    assert message.event_version == "b"
    assert message.idempotency_key == "c"
    assert message.headers == headers
    given = Message(
        "orders", headers=headers, content_type="", event_version="x", idempotency_key=""
    )
    assert (given.content_type, given.event_version, given.idempotency_key) == ("", "x", "")
    read = restored(
        topic="t", payload=b"", uid="u", occurred_at=NOON, headers=Headers(headers), content_type=""
    )
    assert (read.content_type, read.event_version, read.idempotency_key) == ("", "b", "c")
    assert Message("orders", headers={"trace-uid": "x"}).trace_uid is None


def test_instants_become_utc() -> None:
    """Whatever zone they were given in."""
    zone = timezone(timedelta(hours=5, minutes=30))
    message = Message("orders", occurred_at=NOON.astimezone(zone), expires_at=NOON.astimezone(zone))
    assert message.occurred_at == message.expires_at == NOON
    assert message.occurred_at.tzinfo is UTC


def test_a_subclass_of_datetime_becomes_a_plain_one() -> None:
    """It might print itself in a way that nobody can read back."""

    class Odd(datetime):
        def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:  # noqa: ARG002
            return "odd"

    message = Message("orders", occurred_at=Odd(2026, 1, 2, 12, 0, 0, 7, tzinfo=UTC))
    assert type(message.occurred_at) is datetime
    assert message.occurred_at == NOON.replace(microsecond=7)


def test_it_travels_and_changes_by_copy() -> None:
    """Pickle, copy, evolve, hash and compare all work; assignment does not."""
    message = Message("orders", b"x", headers={"a": "b"}, expires_at=NOON, trace_uid="")
    assert pickle.loads(pickle.dumps(message)) == message  # noqa: S301
    assert copy.deepcopy(message) == message
    assert {message: 1}[attrs.evolve(message)] == 1
    changed = attrs.evolve(message, topic="refunds")
    assert changed.topic == "refunds"
    assert changed.uid == message.uid
    assert changed != message
    with pytest.raises(ValidationError):
        attrs.evolve(message, topic="")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        message.topic = "refunds"  # type: ignore[misc]  # that it is refused is what we test


def test_headers_are_an_unchangeable_mapping() -> None:
    """A copy of what they were made from, equal to any mapping with the same items."""
    source = {"a": "1", "b": "2"}
    headers = Headers(source)
    source["c"] = "3"
    headers.as_dict()["d"] = "4"
    assert headers == {"b": "2", "a": "1"}
    assert headers != {"a": "1"}
    assert headers != [("a", "1")]
    assert Headers({"b": "2", "a": "1"}) == headers
    assert hash(Headers({"b": "2", "a": "1"})) == hash(headers)
    assert list(headers) == ["a", "b"]
    assert len(headers) == 2
    assert headers["b"] == "2"
    assert repr(headers) == "Headers({'a': '1', 'b': '2'})"
    assert pickle.loads(pickle.dumps(headers)) == headers  # noqa: S301
    with pytest.raises(AttributeError):
        setattr(headers, "x", 1)  # noqa: B010


def test_restored_messages_keep_what_others_wrote() -> None:
    """No check: it has to be handled. Published again it is checked."""
    odd = restored(topic="x" * 2000, payload=b"", uid="", occurred_at=NOON)
    assert odd.topic == "x" * 2000
    assert odd.headers is NO_HEADERS
    assert pickle.loads(pickle.dumps(odd)) == odd  # noqa: S301
    with pytest.raises(ValidationError, match=r"^topic: "):
        check_publishable(odd)
    check_publishable(Message("orders", headers={"a": "b"}))
    check_publishable(restored(topic="orders", payload=b"", uid="u", occurred_at=NOON))
