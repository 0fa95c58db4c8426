"""What waits beside a free permit, looked at again and again: it is taken within a tick."""

from __future__ import annotations

import attrs
import pytest

from tests.test_invariants import (
    APART,
    BEGUN,
    CONFIG,
    GIVEN,
    ONE,
    TWO,
    A,
    B,
    at_server,
    fault,
    figures,
    joined,
    member,
    places,
    say,
)
from trio_bus._names import FREE, SUSPECT
from trio_bus.testing import InvariantBroken, Line, What
from trio_bus.testing._invariants import Judge
from trio_bus.testing._invariants.neighbours import Neighbours
from trio_bus.testing._places import UNDELIVERED, Places

WAITS = places((TWO, UNDELIVERED))
MANY = attrs.evolve(CONFIG, max_in_flight=2)


def judge_of(*lines: Line, punctual: bool = True) -> Judge:
    """Return a judge that has heard these."""
    judge = Judge([Neighbours], punctual=punctual)
    for line in lines:
        judge.hear(line)
    return judge


def look(judge: Judge, seen: Places, *times: float) -> None:
    """Let it look at the same at each of these times."""
    for time in times:
        judge.hear(say(What.COMMAND, time=time))
        judge.look(seen)


def test_what_could_start_does_so_within_a_tick() -> None:
    judge = judge_of(joined())
    look(judge, WAITS, 1.0, 2.0)
    with pytest.raises(InvariantBroken) as broken:
        look(judge, WAITS, 2.1)  # a quarter of a second, a tick, and a third of a lease
    assert broken.value.words == "2-0 could start since 1.000 s, and a-1 has a free permit"


def test_each_entry_has_its_own_time() -> None:
    """Where one was taken another may wait."""
    judge = judge_of(joined())
    look(judge, WAITS, 1.0)
    look(judge, places((ONE, FREE), (TWO, A)), 2.0)
    look(judge, WAITS, 3.0)


def test_a_permit_that_is_free_is_used_also_beside_others() -> None:
    judge = judge_of(joined(config=MANY), BEGUN)
    look(judge, WAITS, 1.0)
    with pytest.raises(InvariantBroken, match="a-1 has a free permit"):
        look(judge, WAITS, 3.0)


def test_who_has_no_permit_takes_nothing() -> None:
    look(judge_of(joined(), BEGUN), WAITS, 1.0, 9.0)


@pytest.mark.parametrize("lines", [[APART], [APART, GIVEN]], ids=["waits", "runs"])
def test_a_suspect_holds_up_what_waits_and_no_longer(lines: list[Line]) -> None:
    judge = judge_of(joined(config=MANY), *lines)
    look(judge, places((ONE, SUSPECT), (TWO, UNDELIVERED)), 1.0, 9.0)
    judge.hear(at_server(What.ACKED, ONE))
    look(judge, WAITS, 9.5)
    with pytest.raises(InvariantBroken, match="2-0 could start since"):
        look(judge, WAITS, 10.5)


def test_a_suspect_of_who_is_dead_holds_up_nothing() -> None:
    judge = judge_of(joined(B), APART, attrs.evolve(GIVEN, consumer=B))
    judge.hear(say(What.DIED, consumer=""))
    judge.hear(attrs.evolve(joined(), actor="web.2"))
    look(judge, WAITS, 1.0)
    with pytest.raises(InvariantBroken, match="a-1 has a free permit"):
        look(judge, WAITS, 9.0)


def test_a_fault_may_keep_entries_away() -> None:
    look(judge_of(joined(), fault(What.REPLY_LOST)), WAITS, 1.0, 9.0)


def test_where_time_is_real_anybody_may_be_slow() -> None:
    look(judge_of(joined(), punctual=False), WAITS, 1.0, 9.0)


def test_who_is_not_open_yet_takes_nothing() -> None:
    look(judge_of(member()), WAITS, 1.0, 9.0)


def test_figures_do_not_say_how_long_each_waits() -> None:
    look(judge_of(joined()), figures(1, undelivered=1), 1.0, 9.0)
