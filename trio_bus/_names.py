"""What may be a name: topics, groups, consumers, and the names of our own keys beside them."""

import re

from ._errors import ValidationError

FREE = "~free"
"""Holds entries that were released: claimable at once."""
DUE = "~due"
"""Holds entries that wait for their time: retried, or released with a delay."""
ABANDONED = "~abandoned"
"""Holds entries whose owner lost its lease: claimable at once. Their last delivery counts."""
DEAD = "~dead"
"""Holds entries that were buried where there is no dead-letter topic."""
SUSPECT = "~suspect"
"""Holds entries that lost their owner again and again: each waits to be started alone."""
KEY = "~key"
"""Holds entries that were read in order and wait for their key."""
RESERVED_CONSUMERS = frozenset({FREE, DUE, ABANDONED, SUSPECT, DEAD, KEY})
"""The consumers of every group that are no members: they hold what is not running."""

_FAN_OUT = "~fan-"

MAX_TOPIC_BYTES = 1024
MAX_NAME_BYTES = 256
"""The limit of a group and of a consumer, in UTF-8 bytes."""

GOOD_TOPICS: set[str] = set()
"""Topics that `check_topic` has found good: who publishes looks here first, for each message."""
_MOST_TOPICS = 1024

_OWN_PREFIX = "trio_bus:"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # exactly the category Cc of Unicode
_SHOWN = 120


def shown(value: object) -> str:
    """Write a value for an error text: escaped, so that it cannot forge log lines, and short."""
    if isinstance(value, str | bytes):
        value = value[:_SHOWN]
    try:
        text = ascii(value)
    except Exception:  # noqa: BLE001  # too deep, too long, or broken: an error text must come out
        return f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def check_text(value: object, field: str) -> str:
    """Return *value* as a plain str that can be written as UTF-8.

    Raises:
      ValidationError: it is no str, or has half a surrogate pair in it.
    """
    if type(value) is str and value.isascii():  # nearly always
        return value
    if not isinstance(value, str):
        raise ValidationError(f"{field}: {shown(value)} is not a str")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValidationError(f"{field}: {shown(value)} is not valid Unicode") from error
    return str.__str__(value)  # members of a str enum become the text that they stand for


def check_topic(text: object, field: str = "topic") -> str:
    """Return *text* if it may be published to.

    A topic has at most 1,024 UTF-8 bytes, is not blank, has no control characters, and does not
    begin with ``trio_bus:``, which our own keys do. Braces are the hash tag of a Redis cluster: a
    topic may hold one well-formed, non-empty tag like ``{orders}`` and no other brace.

    Raises:
      ValidationError: the text names *field* and the value.
    """
    if type(text) is str and text in GOOD_TOPICS:  # nearly always
        return text
    topic = check_text(text, field)
    _check_topic(topic, field)
    if len(GOOD_TOPICS) == _MOST_TOPICS:
        GOOD_TOPICS.clear()
    GOOD_TOPICS.add(topic)
    return topic


def _check_topic(topic: str, field: str) -> None:
    _check_name(topic, field, MAX_TOPIC_BYTES)
    if topic.startswith(_OWN_PREFIX):
        raise ValidationError(f"{field}: {shown(topic)} begins with {_OWN_PREFIX!r}, our own keys")
    if ("{" in topic or "}" in topic) and not _has_one_tag(topic):
        raise ValidationError(
            f"{field}: {shown(topic)} has braces that are not one hash tag like '{{orders}}'"
        )


def check_group(text: object, field: str = "group") -> str:
    """Return *text* if it may name a group.

    A group has at most 256 UTF-8 bytes, is not blank, has no control characters, and does not
    begin with ``~``.

    Raises:
      ValidationError: the text names *field* and the value.
    """
    return _check_member(check_text(text, field), field, MAX_NAME_BYTES)


def check_any_group(text: object, field: str = "group") -> str:
    """Return *text* if it may be the name of a group that exists: a private one, too.

    Raises:
      ValidationError: the text names *field* and the value.
    """
    name = check_text(text, field)
    if is_private(name):
        check_consumer(name.removeprefix(_FAN_OUT), field)
        return name
    return check_group(name, field)


def check_consumer(text: object, field: str = "consumer", *, reserve: int = 0) -> str:
    """Return *text* if it may name a consumer; the rules are those of a group.

    Args:
      text: The name, or the beginning of one.
      field: What to call it in an error.
      reserve: Bytes to leave free for what will be added to the name.

    Raises:
      ValidationError: the text names *field* and the value.
    """
    return _check_member(check_text(text, field), field, MAX_NAME_BYTES - reserve)


def private_group(consumer: str) -> str:
    """Name the group that a consumer has for itself; nobody else may name one so."""
    return _FAN_OUT + consumer


def is_private(group: str) -> bool:
    """Say whether a group belongs to one consumer alone."""
    return group.startswith(_FAN_OUT)


def own_key(topic: str, kind: str, group: str) -> str:
    """Name a key of ours that belongs to a group of a topic; it shares the slot of the topic.

    Whatever else there are many of in a topic can stand in the place of the group. Each part stands
    behind its length in UTF-8 bytes, so that no two share a key:
    ``trio_bus:{orders}:6:orders:3:due:7:billing``.
    """
    tag = topic[topic.index("{") + 1 : topic.index("}")] if "{" in topic else topic
    parts = [f"{len(part.encode())}:{part}" for part in (topic, kind, group)]
    return f"{_OWN_PREFIX}{{{tag}}}:{':'.join(parts)}"


def _check_member(text: str, field: str, limit: int) -> str:
    _check_name(text, field, limit)
    if text.startswith("~"):
        raise ValidationError(f"{field}: {shown(text)} begins with '~', which is reserved")
    return text


def _check_name(text: str, field: str, limit: int) -> None:
    if not text.strip():
        raise ValidationError(f"{field}: {shown(text)} is blank")
    if _CONTROL.search(text):
        raise ValidationError(f"{field}: {shown(text)} has a control character")
    if len(text.encode()) > limit:
        raise ValidationError(f"{field}: {shown(text)} is longer than {limit:,} bytes")


def _has_one_tag(topic: str) -> bool:
    opening, closing = topic.find("{"), topic.find("}")
    return topic.count("{") == topic.count("}") == 1 and closing > opening + 1
