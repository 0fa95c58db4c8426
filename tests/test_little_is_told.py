"""Journals of backends that tell little: a rule judges by what it knows, and no more."""

from __future__ import annotations

import attrs
import pytest

from tests.harness import config
from tests.test_invariants import ONE, A, B, at_server, joined, say, told
from trio_bus import Bus, EntryId, MemoryBackend, Transition, open_subscription
from trio_bus.testing import InvariantBroken, Line, What
from trio_bus.testing._invariants import RULES, Judge
from trio_bus.testing._invariants.hand_over import HandOver
from trio_bus.testing._invariants.lives import Lives
from trio_bus.testing._invariants.rule import Rule


def bare(subject: What | Transition, entry_id: EntryId | None) -> Line:
    """Write a line that tells next to nothing but what it is about."""
    line = Line(time=1.0, actor="web.1", what=What.TOLD, entry_id=entry_id)
    if isinstance(subject, What):
        return attrs.evolve(line, what=subject)
    return attrs.evolve(line, transition=subject)


@pytest.mark.parametrize("entry_id", [None, ONE])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_line_that_says_little_is_heard(rule: type[Rule], entry_id: EntryId | None) -> None:
    """It may break the rule by what it says; one that has to name an entry is refused."""
    for subject in Judge([rule]).rules[0].hears():
        judge = Judge([rule])
        try:
            judge.hear(bare(subject, entry_id))
            judge.finish()
        except InvariantBroken as broken:
            if broken.name != rule.name:
                pytest.fail(f"{subject} breaks {broken.name}")
        except AssertionError:
            if entry_id is not None:
                raise


def test_who_is_halted_need_not_take_what_others_give_back() -> None:
    """And has to when it goes on."""
    lines = [
        joined(B),
        say(What.HALTED, consumer=B),
        at_server(What.RELEASED, ONE),
        say(What.COMMAND, time=5.0),
        say(What.CONTINUED, consumer=B, time=5.0),
        say(What.COMMAND, time=5.1),
    ]
    judge = Judge([HandOver])
    for line in lines:
        judge.hear(line)
    with pytest.raises(InvariantBroken, match="b-1 could have taken it"):
        judge.hear(say(What.COMMAND, time=9.0))


def test_what_was_given_back_and_deleted_nobody_has_to_take() -> None:
    judge = Judge([HandOver])
    lines = [joined(B), at_server(What.RELEASED, ONE), at_server(What.DELETED, ONE)]
    for line in (*lines, say(What.COMMAND, time=9.0)):
        judge.hear(line)


async def test_figures_that_differ_from_what_was_told_are_found() -> None:
    judge = Judge([Lives])
    judge.hear(joined(A))
    judge.hear(told(Transition.RECEIVED))
    async with open_subscription(Bus(MemoryBackend()), config()) as subscription:
        said = subscription.statistics()
    with pytest.raises(InvariantBroken, match="a-1 says received=0, and its observer heard of 1"):
        judge.rule(Lives).check_statistics(A, said)
