"""What the invariants leave alone, and the corners of what they remember."""

from __future__ import annotations

from contextlib import nullcontext

import attrs
import pytest
import trio

from tests.test_invariants import CONFIG, LEFT, START, A, fault, joined, member, say
from trio_bus._memory import MemoryBackend
from trio_bus.testing import backend_conformance
from trio_bus.testing._invariants import RULES, Judge, Rule
from trio_bus.testing._line import What
from trio_bus.testing._places import Places
from trio_bus.testing._simulation.faults import Fault, Trouble
from trio_bus.testing._simulation.watch import Watch


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_an_invariant_without_places_judges_what_it_heard(rule: type[Rule]) -> None:
    judge = Judge([rule])
    for line in (joined(), LEFT):
        judge.hear(line)
    judge.finish()
    assert not judge.scene.groups["orders", "billing"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_an_invariant_finds_nothing_wrong_where_there_is_nothing(rule: type[Rule]) -> None:
    judge = Judge([rule])
    for line in (say(What.OPENING, config=CONFIG), joined(), member()):
        judge.hear(line)
    judge.look(Places({}))
    judge.quiet(Places({}))
    judge.finish(Places({}))
    assert judge.scene.groups["orders", "billing"].keys() == {A}


def test_who_is_halted_has_no_free_place_until_it_goes_on() -> None:
    judge = Judge([])
    judge.hear(joined())
    consumer = judge.scene.consumer(A)
    judge.hear(say(What.HALTED, time=1.0))
    assert consumer.halted
    judge.hear(say(What.CONTINUED, time=2.0))
    assert not consumer.halted
    assert consumer.free_since == 2.0
    judge.hear(START)
    assert consumer.free_since is None


def test_who_deletes_a_topic_destroys_its_groups_and_no_others() -> None:
    judge = Judge([])
    bills = say(What.OPENING, config=CONFIG)
    judge.hear(bills)
    judge.hear(attrs.evolve(bills, topic="bills"))
    judge.hear(attrs.evolve(fault(What.TOPIC_DELETED), group=""))
    assert judge.scene.destroyed == {("orders", "billing")}
    assert "orders" in judge.scene.uprooted
    assert not judge.scene.deleted


def test_a_fault_says_all_there_is_to_say_of_it() -> None:
    trouble = next(iter(Trouble))
    assert str(Fault(when=1.0, trouble=trouble)) == f"1.000 s: {trouble.value}"
    more = Fault(when=1.0, trouble=trouble, process="web", operation="ack", seconds=2, number=3)
    assert str(more) == f"1.000 s: {trouble.value} web ack before 2 s #3"
    done = Fault(when=1.0, trouble=trouble, operation="ack", after=True)
    assert str(done) == f"1.000 s: {trouble.value} ack after"


def test_a_lease_that_is_too_short_for_the_suite_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^lease: 0.01 is below 0.05 s$"):
        backend_conformance(lambda: nullcontext(MemoryBackend()), lease=0.01)


def test_a_run_that_goes_round_is_broken_off_also_behind_a_shield() -> None:
    watch = Watch(trio.CancelScope(), most=20)

    async def run() -> None:
        with watch.scope:
            trio.lowlevel.add_instrument(watch)
            with trio.CancelScope(shield=True):
                while True:
                    await trio.lowlevel.checkpoint()

    trio.run(run)
    assert watch.scope.cancelled_caught
    assert "behind_a_shield" in watch.waiting
