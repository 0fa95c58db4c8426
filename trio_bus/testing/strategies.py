"""Hypothesis strategies for the values of trio_bus. They need the extra ``testing``.

They make every kind of value that trio_bus accepts, the odd ones too, and shrink to the plainest.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import attrs
from hypothesis import strategies as st

from trio_bus._backoff import Backoff
from trio_bus._config import SubscriptionConfig
from trio_bus._errors import ValidationError
from trio_bus._headers import is_reserved
from trio_bus._message import BAGGAGE, TRACEPARENT, TRACESTATE, Message
from trio_bus._modes import AckMode, StartPosition
from trio_bus._names import check_group, check_topic

_KNOWN_HEADERS = (
    "content-type",
    "event-version",
    "idempotency-key",
    TRACEPARENT,
    TRACESTATE,
    BAGGAGE,
)


def topics() -> st.SearchStrategy[str]:
    """Make topics, with and without a hash tag."""
    plain = st.text(st.characters(codec="utf-8", exclude_characters="{}"), min_size=1)
    tagged = st.builds("{}{{{}}}{}".format, plain, plain, plain)
    return (plain | tagged).filter(_is_topic)


def groups() -> st.SearchStrategy[str]:
    """Make names of groups."""
    return st.text(min_size=1).filter(_is_group)


def header_maps() -> st.SearchStrategy[Mapping[str, str]]:
    """Make headers that may be published, known and unknown ones."""
    names = st.text(min_size=1) | st.sampled_from(_KNOWN_HEADERS)
    found = st.dictionaries(names.filter(lambda name: not is_reserved(name)), st.text(), max_size=8)
    return found.filter(lambda headers: headers.get("idempotency-key") != "")  # which is refused


def instants() -> st.SearchStrategy[datetime]:
    """Make instants in UTC, from the year 1 to 9999, in all precisions."""
    exact = st.datetimes(timezones=st.just(UTC))
    return exact | exact.map(_whole_second) | exact.map(_whole_millisecond)


def messages(
    *,
    topic: st.SearchStrategy[str] | None = None,
    payload: st.SearchStrategy[bytes] | None = None,
) -> st.SearchStrategy[Message]:
    """Make messages that can be published.

    Args:
      topic: Where they are published; any topic if it is not given.
      payload: What they say; any bytes if it is not given.
    """
    text = st.text()
    optional = st.none() | text
    return st.builds(
        Message,
        topics() if topic is None else topic,
        st.binary() if payload is None else payload,
        key=text,
        kind=text,
        source=text,
        uid=st.text(min_size=1),
        occurred_at=instants(),
        headers=header_maps(),
        content_type=optional,
        event_version=optional,
        idempotency_key=st.none() | st.text(min_size=1),
        expires_at=st.none() | instants(),
        trace_uid=optional,
        correlation_uid=optional,
    )


def backoffs() -> st.SearchStrategy[Backoff]:
    """Make pauses between attempts: none, short, long, with and without chance."""
    seconds = st.just(0.0) | st.floats(0.001, 60.0)
    return st.builds(
        Backoff,
        first=seconds,
        factor=st.floats(1.0, 10.0),
        cap=seconds,
        jitter=st.sampled_from((0.0, 0.5, 1.0)),
    )


def subscription_configs(
    topic: st.SearchStrategy[str] | None = None, group: st.SearchStrategy[str] | None = None
) -> st.SearchStrategy[SubscriptionConfig]:
    """Make settings with which a subscription can be opened, on a server or in memory.

    What is waited for takes no longer than a minute, so that a test in virtual time is soon over;
    ``retry_on``, ``reject_on`` and ``on_failure`` are as they are by default, and the
    ack mode is any of the three, or left open.

    Args:
      topic: What is read; any topic if it is not given.
      group: Who reads it; any group if it is not given.
    """
    return _configs(topics() if topic is None else topic, groups() if group is None else group)


@st.composite
def _configs(
    draw: st.DrawFn, topic: st.SearchStrategy[str], group: st.SearchStrategy[str]
) -> SubscriptionConfig:
    name = draw(topic)
    ack_mode = draw(st.none() | st.sampled_from(AckMode))
    seconds = st.just(0.0) | st.floats(0.001, 60.0)
    config = SubscriptionConfig(
        name,
        draw(group),
        ack_mode=ack_mode,
        start=draw(st.none() | st.sampled_from(StartPosition)),
        max_in_flight=draw(st.integers(1, 64)),
        max_pending_acks=draw(st.none() | st.integers(1, 64)),
        handler_timeout=draw(st.none() | seconds),
        claim_idle_timeout=draw(st.floats(0.1, 60.0)),
        reclaim_interval=draw(st.floats(0.01, 10.0)),
        block_timeout=draw(st.floats(0.01, 60.0)),
        ack_batch_size=draw(st.integers(1, 1000)),
        drain_timeout=draw(seconds),
        shutdown_timeout=draw(seconds),
        dead_letter_topic=draw(st.none() | st.just(f"{name}.dead").filter(_is_topic)),
    )
    if ack_mode is AckMode.AUTO_ON_RECEIVE:  # nothing is tried again
        return config
    return attrs.evolve(config, max_retry=draw(st.integers(0, 5)), retry_backoff=draw(backoffs()))


def _is_topic(text: str) -> bool:
    try:
        check_topic(text)
    except ValidationError:
        return False
    return True


def _is_group(text: str) -> bool:
    try:
        check_group(text)
    except ValidationError:
        return False
    return True


def _whole_second(instant: datetime) -> datetime:
    return instant.replace(microsecond=0)


def _whole_millisecond(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)
