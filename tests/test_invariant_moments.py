"""What the invariants hear that seldom happens, written by hand."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import attrs
import pytest

from tests.test_invariants import (
    CONFIG,
    FANNED,
    FANS,
    LEFT,
    ONE,
    OWN,
    RECEIVING,
    TWO,
    A,
    B,
    Parts,
    at_server,
    fault,
    joined,
    letter,
    member,
    own,
    own_places,
    places,
    say,
)
from trio_bus import OrderingMode, SubscriptionConfig, Transition
from trio_bus.testing import InvariantBroken, What
from trio_bus.testing._invariants import (
    Judge,
    Rule,
    deaths,
    fan_out,
    hand_over,
    neighbours,
    order,
    promptness,
    retained,
)
from trio_bus.testing._invariants.turns import Turns
from trio_bus.testing._line import Line
from trio_bus.testing._places import DONE, UNDELIVERED, Places, TopicPlaces


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


@pytest.mark.parametrize("suspect", [False, True])
def test_what_could_start_does_soon_unless_a_suspect_waits(*, suspect: bool) -> None:
    """That starts when nothing else runs: so nothing is looked for until it is over."""
    judge = judge_of(neighbours.Neighbours, joined(), say(What.COMMAND, time=0.1))
    waiting = places((ONE, UNDELIVERED))
    judge.look(waiting)
    if suspect:
        judge.hear(at_server(What.SET_APART, TWO, time=0.1))
    judge.hear(say(What.COMMAND, time=9.0))
    if suspect:
        judge.look(waiting)
    else:
        with pytest.raises(InvariantBroken, match="and a-1 has a free permit"):
            judge.look(waiting)


@pytest.mark.parametrize("ordered", [False, True])
def test_what_is_due_is_given_soon_unless_an_order_is_kept(*, ordered: bool) -> None:
    """Then it may wait behind others."""
    config = attrs.evolve(CONFIG, ordering_mode=OrderingMode.KEY) if ordered else CONFIG
    nobody = Parts(group="", consumer="", label="m1")
    judge = judge_of(
        promptness.Promptness,
        say(What.OPENING, config=config),
        attrs.evolve(member(), config=config),
        joined(config=config),
        attrs.evolve(say(What.SCHEDULING, **nobody), seconds=1.0),
        say(What.SCHEDULED, **nobody),
        at_server(What.GIVEN, ONE, time=60.0),
    )
    started = say(What.STARTED, ONE, time=60.0, label="m1", attempt=1)
    if ordered:
        judge.hear(started)
    else:
        with pytest.raises(InvariantBroken, match=r"'m1' was due at 1\.000 s"):
            judge.hear(started)


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        (order.Order, What.SUCCEEDED),
        (order.Order, What.ACKED),
        (retained.Retained, What.BEGUN),
    ],
)
def test_a_rule_knows_no_entry_that_is_not_named(rule: type[Rule], what: What) -> None:
    """What it hears of one says nothing of others."""
    judge = judge_of(rule, joined())
    judge.rule(rule).hears()[what](say(what, None, seconds=1.0))
    judge.quiet(places((ONE, DONE)))
    assert judge.scene.consumer(A).config == CONFIG


@pytest.mark.parametrize("what", [*What, *Transition], ids=lambda what: what.value)
def test_a_scene_knows_no_entry_that_is_not_named(what: What | Transition) -> None:
    """Nor a consumer that nobody heard of."""
    judge = Judge([])
    judge.scene.hear(say(what, None))
    assert not judge.scene.suspects
    assert not any(it.held or it.running for it in judge.scene.consumers.values())


def test_nobody_waits_for_an_entry_that_is_not_named() -> None:
    turns = Turns()
    for hear in (turns.begin, turns.end, turns.finish):
        hear(say(What.STARTED, None))
    assert not turns._groups


def test_who_is_not_given_what_comes_back_in_a_fault_is_not_judged() -> None:
    """Whoever could have taken it may be cut off."""
    released, late = at_server(What.RELEASED, ONE), at_server(What.GIVEN, ONE, time=1.0)
    judge = judge_of(hand_over.HandOver, joined(B), released, fault(What.FAULT), late)
    assert not judge.scene.calm
