"""What the invariants hear that seldom happens, written by hand."""

from __future__ import annotations

import attrs
import pytest

from tests.test_invariants import (
    FANNED,
    FANS,
    LEFT,
    ONE,
    OWN,
    RECEIVING,
    TWO,
    B,
    at_server,
    fault,
    joined,
    letter,
    own,
    own_places,
    places,
    say,
)
from trio_bus import SubscriptionConfig, Transition
from trio_bus.testing import InvariantBroken, What
from trio_bus.testing._invariants import Judge, Rule, deaths, fan_out, hand_over
from trio_bus.testing._line import Line
from trio_bus.testing._places import Places, TopicPlaces


def judge_of(rule: type[Rule], *lines: Line) -> Judge:
    """Let a rule hear that."""
    judge = Judge([rule])
    for line in lines:
        judge.hear(line)
    return judge


def test_who_gave_back_a_suspect_is_not_waited_for() -> None:
    """It starts when nothing else runs: nobody knows when that is."""
    released, late = at_server(What.RELEASED, ONE), at_server(What.GIVEN, ONE, time=1.0)
    apart = at_server(What.SET_APART, TWO)
    with pytest.raises(InvariantBroken, match="b-1 could have taken it"):
        judge_of(hand_over.HandOver, joined(B), released, late)
    judge = judge_of(hand_over.HandOver, joined(B), apart, released, late)
    assert judge.scene.suspicious == {("orders", "billing")}


@pytest.mark.parametrize("gone", [False, True])
def test_a_letter_of_a_topic_that_is_gone_is_compared_with_nothing(*, gone: bool) -> None:
    """Nobody knows what the entry was."""
    letters = {"{orders}.dead": TopicPlaces(length=1, groups={}, records={ONE: letter(b"other")})}
    there = places((ONE, "done"), letters=[letter(b"other")])
    judge = judge_of(deaths.Deaths)
    judge.quiet(Places(letters))
    if gone:
        judge.hear(attrs.evolve(fault(What.TOPIC_DELETED), group=""))
        judge.quiet(there)
    else:
        with pytest.raises(InvariantBroken, match="the fields of 1-0 changed"):
            judge.quiet(there)


def test_who_deletes_a_topic_deletes_the_private_groups_of_it_alone() -> None:
    """What is left of those is judged no more; what is left of others is."""
    lives = [own(What.BEGUN, ONE, seconds=1.0), FANNED, attrs.evolve(LEFT, group=OWN)]
    judge = judge_of(
        fan_out.FanOut,
        *lives,
        *(attrs.evolve(line, topic="bills") for line in lives),
        attrs.evolve(fault(What.TOPIC_DELETED), group=""),
    )
    orders = own_places().topics["orders"]
    judge.finish(Places({"orders": orders}))
    with pytest.raises(InvariantBroken, match="is there, and its subscription was left"):
        judge.finish(Places({"bills": orders}))


@pytest.mark.parametrize(("config", "suspects"), [(FANS, 0), (RECEIVING, 1)])
def test_a_suspect_that_was_acked_first_is_one_until_its_handler_ends(
    config: SubscriptionConfig, suspects: int
) -> None:
    """Where acks come first, what is settled has yet to be handled, alone."""
    judge = Judge([])
    judge.hear(attrs.evolve(joined(), config=config))
    for what in (What.SET_APART, What.GIVEN, What.ACKED):
        judge.scene.hear(at_server(what, ONE))
    assert len(judge.scene.suspects) == suspects


@pytest.mark.parametrize("what", [*What, *Transition], ids=lambda what: what.value)
def test_a_scene_knows_no_entry_that_is_not_named(what: What | Transition) -> None:
    """Nor a consumer that nobody heard of."""
    judge = Judge([])
    judge.scene.hear(say(what, None))
    assert not judge.scene.suspects
    assert not any(it.held or it.running for it in judge.scene.consumers.values())
