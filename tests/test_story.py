"""The story of a run: an exact text for a handwritten journal."""

from __future__ import annotations

from trio_bus import EntryId, SubscriptionConfig
from trio_bus.testing._invariants import InvariantBroken, Judge
from trio_bus.testing._journal import Journal
from trio_bus.testing._line import SERVER, What
from trio_bus.testing._story import tell

ONE = EntryId(1)
CONFIG = SubscriptionConfig("orders", "billing")


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _told(*, idle: int) -> tuple[Journal, InvariantBroken]:
    """Write how an entry is given to somebody although it was settled."""
    clock = _Clock()
    journal, judge = Journal(clock), Judge()
    journal.listen(judge.hear)
    journal.say("web.1", What.PUBLISHING, topic="orders", label="m1")
    journal.say("web.1", What.PUBLISHED, topic="orders", label="m1", entry_id=ONE)
    journal.opening("work.1", CONFIG)
    journal.joined("work.1", "work-a", CONFIG)
    journal.say(SERVER, What.ACKED, topic="orders", group="billing", consumer="a", entry_id=ONE)
    for number in range(idle):
        clock.now = 1.0 + number / 10
        journal.command("work.1", "work-a", "read")
    clock.now = 5.0
    journal.died("web.1", "by a fault")
    try:
        journal.say(SERVER, What.GIVEN, topic="orders", group="billing", consumer="b", entry_id=ONE)
    except InvariantBroken as error:
        return journal, error
    raise AssertionError("it was settled, and nobody noticed")


def test_a_broken_run_is_told_with_marks_and_cuts() -> None:
    journal, broken = _told(idle=20)
    told = tell(journal.lines, broken, "trio-bus simulate --replay calm:7")
    assert told.splitlines() == [
        "    0.0000   web.1   publishes 'm1' orders",
        "    0.0000 > web.1   has published 'm1' 1-0 orders",
        "    0.0000   work.1  opens a subscription orders/billing",
        "    0.0000   work.1  has its subscription orders/billing/work-a",
        "    0.0000 > server  marks as done 1-0 orders/billing/a",
        "       ...   1.000 s in which nothing happens",
        "    1.0000   work.1  asks the server work-a read",
        "    1.1000   work.1  asks the server work-a read",
        "    1.2000   work.1  asks the server work-a read",
        "    1.3000   work.1  asks the server work-a read",
        "       ...   12 lines",
        "    2.6000   work.1  asks the server work-a read",
        "    2.7000   work.1  asks the server work-a read",
        "    2.8000   work.1  asks the server work-a read",
        "    2.9000   work.1  asks the server work-a read",
        "       ...   2.100 s in which nothing happens",
        "    5.0000 ! web.1   dies by a fault",
        "    5.0000 > server  gives 1-0 orders/billing/b",
        "",
        "broken: invariant 2, settled once",
        "  1-0 is given again: a settled it at 0.000 s (marks as done)",
        "  at 5.000 s: server gives 1-0 orders/billing/b",
        "",
        "replay: trio-bus simulate --replay calm:7",
    ]


def test_a_run_in_which_nothing_broke_is_told_whole() -> None:
    journal, _ = _told(idle=20)
    told = tell(journal.lines)
    assert len(told.splitlines()) == len(journal.lines) + 2  # and two parts without anything
    assert ">" not in told


def test_an_empty_run_has_an_empty_story() -> None:
    assert tell([]) == ""
    assert tell([], None, "again") == "\nreplay: again"


def test_what_broke_without_a_line_marks_the_entry_that_it_names() -> None:
    journal, _ = _told(idle=1)
    broken = InvariantBroken(1, "one place", "1-0 ('m1') was confirmed, and is not there")
    told = tell(journal.lines, broken).splitlines()
    assert told[1] == "    0.0000 > web.1   has published 'm1' 1-0 orders"
    assert told[-2:] == [
        "broken: invariant 1, one place",
        "  1-0 ('m1') was confirmed, and is not there",
    ]
