"""The Hypothesis strategies, of values and examples that are the same in each run.

What they make is used in ``property_tests/test_strategies.py``.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from trio_bus import AckMode, Backoff, Message, SubscriptionConfig
from trio_bus.testing import strategies
from trio_bus.testing.strategies import (
    backoffs,
    groups,
    header_maps,
    instants,
    messages,
    subscription_configs,
    topics,
)

pytestmark = pytest.mark.any_python

T = TypeVar("T")

SAME = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
)


def some(strategy: st.SearchStrategy[T]) -> list[T]:
    """Return what a strategy makes, the same each time; the first is the plainest."""
    found = list[T]()

    @SAME
    @given(strategy)
    def collect(value: T) -> None:
        found.append(value)

    collect()
    return found


def test_topics_are_tagged_or_not() -> None:
    made = some(topics())
    assert made[0] == "0"
    assert {"{" in topic for topic in made} == {True, False}


def test_no_header_is_reserved_and_no_key_is_empty() -> None:
    """A map that a message refuses is not made; what is known is made too."""
    made = some(header_maps())
    for headers in made:
        assert headers.get("idempotency-key") != ""
        Message("orders", headers=headers)
    assert any("traceparent" in headers for headers in made)


def test_instants_have_all_precisions() -> None:
    made = [instant.microsecond for instant in some(instants())]
    assert any(not it for it in made)
    assert any(it and not it % 1000 for it in made)
    assert any(it % 1000 for it in made)


def test_messages_are_of_what_is_given() -> None:
    made = some(messages(topic=st.just("orders"), payload=st.just(b"x")))
    assert {(message.topic, message.payload) for message in made} == {("orders", b"x")}
    assert {message.expires_at is None for message in made} == {True, False}


def test_the_plainest_message_says_nothing() -> None:
    plain = some(messages())[0]
    assert (plain.topic, plain.payload, plain.key) == ("0", b"", "")
    assert not plain.headers


def test_the_plainest_pause_is_none() -> None:
    assert some(backoffs())[0] == Backoff(first=0.0, cap=0.0, jitter=0.0, factor=1.0)


def test_settings_are_of_what_is_given() -> None:
    """And of all modes; whoever acks on arrival tries nothing again."""
    made = some(subscription_configs(st.just("orders"), st.just("billing")))
    assert {(config.topic, config.group) for config in made} == {("orders", "billing")}
    assert {config.ack_mode for config in made} == {None, *AckMode}
    assert {config.dead_letter_topic for config in made} == {None, "orders.dead"}
    default = SubscriptionConfig("orders", "billing", ack_mode=AckMode.AUTO_ON_RECEIVE)
    for config in made:
        if config.ack_mode is AckMode.AUTO_ON_RECEIVE:
            assert config.max_retry == default.max_retry
    assert len({config.max_retry for config in made}) > 3


def test_settings_are_of_any_topic_and_group() -> None:
    made = some(subscription_configs())
    assert (made[0].topic, made[0].group) == ("0", some(groups())[0])
    assert len({config.topic for config in made}) > 9


def test_names_that_are_refused_are_not_made() -> None:
    assert [strategies._is_topic(name) for name in ("orders", "trio_bus:x")] == [True, False]
    assert [strategies._is_group(name) for name in ("billing", "~due")] == [True, False]


def test_an_instant_is_rounded_down() -> None:
    instant = datetime(2030, 1, 1, 2, 3, 4, 567_891, tzinfo=UTC)
    assert strategies._whole_second(instant).microsecond == 0
    assert strategies._whole_millisecond(instant).microsecond == 567_000
