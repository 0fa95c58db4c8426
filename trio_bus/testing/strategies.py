"""Hypothesis strategies for the values of trio_bus. They need the extra ``testing``.

They make every kind of value that trio_bus accepts, the odd ones too, and shrink to the plainest.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from hypothesis import strategies as st

from trio_bus._errors import ValidationError
from trio_bus._headers import is_reserved
from trio_bus._message import BAGGAGE, TRACEPARENT, TRACESTATE, Message
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
    return st.dictionaries(names.filter(lambda name: not is_reserved(name)), st.text(), max_size=8)


def instants() -> st.SearchStrategy[datetime]:
    """Make instants in UTC, from the year 1 to 9999, in all precisions."""
    exact = st.datetimes(timezones=st.just(UTC))
    return exact | exact.map(_whole_second) | exact.map(_whole_millisecond)


def messages(
    *,
    topic: st.SearchStrategy[str] | None = None,
    payload: st.SearchStrategy[bytes] | None = None,
) -> st.SearchStrategy[Message]:
    """Make valid messages.

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
        idempotency_key=optional,
        expires_at=st.none() | instants(),
        trace_uid=optional,
        correlation_uid=optional,
    )


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
