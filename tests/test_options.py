"""No option is without an effect: each changes something that can be seen."""

from __future__ import annotations

import attrs
import pytest
from trio.testing import MockClock

from tests.option_rows import REAL, VIRTUAL, Effect
from trio_bus import Backoff, BusOptions, PublishOptions, Retention, SubscriptionConfig

KINDS = (SubscriptionConfig, Backoff, Retention, PublishOptions, BusOptions)
Any_ = (
    Effect[SubscriptionConfig]
    | Effect[Backoff]
    | Effect[Retention]
    | Effect[PublishOptions]
    | Effect[BusOptions]
)


@pytest.mark.guards("an option does nothing")
def test_every_option_has_a_row() -> None:
    """A new one fails here, by its name, until `option_rows` says what it does."""
    there = {f"{kind.__name__}.{field.name}" for kind in KINDS for field in attrs.fields(kind)}
    assert {str(effect) for effect in (*VIRTUAL, *REAL)} == there
    assert len(there) == len(VIRTUAL) + len(REAL)


@pytest.mark.guards("an option does nothing", "zeros become defaults")
@pytest.mark.parametrize("effect", VIRTUAL, ids=str)
@pytest.mark.guards("a permit is off by one")
async def test_an_option_has_its_effect(autojump_clock: MockClock, effect: Any_) -> None:
    """In virtual time; a zero is one of its values where it may be."""
    await effect.check()


@pytest.mark.parametrize("effect", REAL, ids=str)
async def test_an_option_of_a_connection_has_its_effect(effect: Any_) -> None:
    """With a peer."""
    await effect.check()
