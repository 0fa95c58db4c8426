"""What may be a name, and what may not."""

from enum import StrEnum

import pytest

from trio_bus._errors import ValidationError
from trio_bus._names import (
    ABANDONED,
    DEAD,
    DUE,
    FREE,
    KEY,
    RESERVED_CONSUMERS,
    SUSPECT,
    check_consumer,
    check_group,
    check_text,
    check_topic,
    own_key,
    shown,
)

GOOD_TOPICS = ["orders", "orders.created", "{orders}.dead", "a b", "заказы", "~orders", "x" * 1024]
BAD_TOPICS = [
    "",
    "   ",
    "\u3000",
    "a\nb",
    "a\x00",
    "a\x7f",
    "a\x85",
    "x" * 1025,
    "é" * 513,
    "trio_bus:x",
    "trio_bus:",
    "{}",
    "{",
    "}",
    "}a{",
    "{a}{b}",
    "{{a}}",
    "{a}}",
    "a\ud800",
    b"orders",
    None,
    7,
    ["orders"],
]


@pytest.mark.parametrize("topic", GOOD_TOPICS)
def test_good_topics_pass_as_they_are(topic: str) -> None:
    """A valid topic is returned unchanged, the second time too."""
    assert check_topic(topic) == topic
    assert check_topic(topic) == topic


@pytest.mark.parametrize("topic", BAD_TOPICS, ids=ascii)
def test_bad_topics_are_refused_by_name(topic: object) -> None:
    """The error names the field, and is raised the second time too."""
    for _ in range(2):
        with pytest.raises(ValidationError, match=r"^where: "):
            check_topic(topic, "where")


@pytest.mark.parametrize("name", ["billing", "a{b", "x" * 256, "trio_bus:x", "a~"])
def test_good_group_and_consumer_names_pass(name: str) -> None:
    """Braces and our prefix harm nobody inside a group."""
    assert check_group(name) == check_consumer(name) == name


@pytest.mark.parametrize(
    "name", ["", " ", "a\tb", "~free", "~x", "x" * 257, "é" * 129, 7, "\ud800"]
)
def test_bad_group_and_consumer_names_are_refused(name: object) -> None:
    """What begins with ``~`` is ours; the rest is as with topics."""
    with pytest.raises(ValidationError, match=r"^group: "):
        check_group(name)
    with pytest.raises(ValidationError, match=r"^consumer: "):
        check_consumer(name)


def test_room_can_be_reserved_in_a_consumer_name() -> None:
    """A prefix leaves bytes for its suffix."""
    assert check_consumer("x" * 216, reserve=40)
    with pytest.raises(ValidationError, match="216 bytes"):
        check_consumer("x" * 217, reserve=40)


def test_reserved_consumers_are_no_valid_names() -> None:
    """So no member of a group can be one of them."""
    assert {FREE, DUE, ABANDONED, SUSPECT, DEAD, KEY} == RESERVED_CONSUMERS
    assert {"~free", "~due", "~abandoned", "~suspect", "~dead", "~key"} == RESERVED_CONSUMERS
    for name in RESERVED_CONSUMERS:
        with pytest.raises(ValidationError):
            check_consumer(name)


def test_own_keys_share_the_slot_of_their_topic() -> None:
    """The hash tag of the key is that of the topic."""
    assert own_key("orders", "due", "billing") == "trio_bus:{orders}:6:orders:3:due:7:billing"
    assert own_key("{eu}.é", "due", "g") == "trio_bus:{eu}:7:{eu}.é:3:due:1:g"


def test_own_keys_never_meet() -> None:
    """Separators inside names do not make two names one."""
    assert own_key("a:3:due:1:b", "due", "c") != own_key("a", "due", "b:3:due:1:c")


def test_members_of_a_str_enum_become_plain_text() -> None:
    """So that nothing later depends on how an enum prints or hashes."""

    class Topic(StrEnum):
        ORDERS = "orders"

    assert type(check_topic(Topic.ORDERS)) is str
    assert type(check_text(Topic.ORDERS, "key")) is str


def test_values_in_errors_are_escaped_and_short() -> None:
    """An error text is one line of a bounded length."""
    assert shown("a\nb\x1b") == r"'a\nb\x1b'"
    assert len(shown("\U0001f600" * 100_000)) < 150
    assert shown(b"x" * 10_000).endswith("...")


def test_values_that_cannot_be_shown_show_their_type() -> None:
    """An error text must come out, whatever the value is."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "<list>"
    assert shown(10**5000) == "<int>"
