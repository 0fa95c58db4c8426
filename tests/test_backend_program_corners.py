"""Programs of the conformance suite for backends that random ones come to by chance only."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections import Counter
from typing import cast

import attrs
import pytest

from tests.by_hand import Beginning, X, Y, open_memory, program, story, text
from tests.test_backend_verdicts import judged
from trio_bus._ordering import Start
from trio_bus.testing import backend_conformance
from trio_bus.testing._backend_conformance import _machine
from trio_bus.testing._backend_conformance._machine import BackendMachine
from trio_bus.testing._backend_conformance._picks import Pick
from trio_bus.testing._backend_conformance._tally import Tally


@pytest.mark.parametrize(
    ("whose", "told", "came"),
    [
        ("ours", ["a.g.x: [done]"], "[b#1 (attempt 1), b#2 (attempt 1)]"),
        ("earlier", ["a.g.x: [done]", "a.g.x: [finished]"], "[b#1 (attempt 1), b#2 (attempt 1)]"),
        ("any", ["a.g.y: [lost]"], "[]"),
    ],
)
def test_a_commit_by_whoever_comes(whose: str, told: list[str], came: str) -> None:
    """It has an effect once, and none if somebody else tries it."""
    commit = " settles: commit a#1 (attempt 1) with [b (key), b]"
    with program() as it:
        it.commit_again(X, (("b", "k"), ("b", None)), whose)
        lines = [line.replace(commit, "") for line in story(it).splitlines()]
    assert lines == [
        "append to a a record: [a#1]",
        "a.g.x reads at most 2: [a#1 (attempt 1)]",
        *told,
        "create_group b.g after 0-0: False",
        f"b.g.x reads at most 3: {came}",
    ]


def test_a_commit_that_is_refused() -> None:
    """As a whole; then it is done as a whole."""
    with program() as it:
        it.commit_in_vain(X, (("b", None),))
        assert story(it) == text("""
            the administrator uses up dead: None
            append to a a record: [a#1]
            a.g.x reads at most 2: [a#1 (attempt 1)]
            a.g.x settles: commit a#1 (attempt 1) with [b, dead]: [raised RemoteError(ERR The
                    stream has exhausted the last possible ID, unable to add more items)]
            the administrator deletes dead: None
            0.005 s pass
            a.g.x settles: commit a#1 (attempt 1) with [b, dead]: [done]
        """)


def test_without_an_administrator_nothing_is_in_vain() -> None:
    with program() as it:
        it.batches._removals = None
        it.bury_in_vain(X)
        it.commit_in_vain(X, (("b", None),))
        assert not story(it)


def test_the_dead_of_a_group_are_sent_back() -> None:
    """The first one once; what is deleted is dead no more."""
    with program() as it:
        it.bury_and_redrive(X, 2, deleted=False, cancel=None)
        it.bury_and_redrive(X, 2, deleted=True, cancel=None)
        it.redrive(("a", "h"), None)
        assert story(it) == text("""
            append to a a record, a record: [a#1, a#2]
            a.g.x reads at most 3: [a#1 (attempt 1), a#2 (attempt 1)]
            a.g.x settles: bury a#1 (attempt 1), bury a#2 (attempt 1): [done, done]
            list the dead of a.g: [a#1 (attempt 1), a#2 (attempt 1)]
            redrive 3 from a: [<Redriven.DONE: 'done'>, <Redriven.DONE: 'done'>, <Redriven.LOST:
                    'lost'>]
            a.g.x looks: claimable: True, nothing due, refusal: None
            a.g.x takes over at most 2: entries [a#1 (attempt 1), a#2 (attempt 1)]
            a.g.x reads at most 2: []
            list the dead of a.g: []
            append to a a record, a record: [a#3, a#4]
            a.g.x reads at most 3: [a#3 (attempt 1), a#4 (attempt 1)]
            a.g.x settles: bury a#3 (attempt 1), bury a#4 (attempt 1): [done, done]
            the administrator deletes a#3 of a: None
            list the dead of a.g: [a#4 (attempt 1)]
            redrive 2 from a: [<Redriven.DONE: 'done'>, <Redriven.LOST: 'lost'>]
            a.g.x looks: claimable: True, nothing due, refusal: None
            a.g.x takes over at most 2: entries [a#4 (attempt 1)]
            a.g.x reads at most 2: []
            list the dead of a.g: []
            list the dead of a.h: []
        """)


def test_the_dead_of_a_topic_are_sent_back() -> None:
    """What was deleted since is copied."""
    with program(Beginning(dead_letters=True)) as it:
        it.bury_and_redrive(X, 2, deleted=True, cancel=None)
        assert (
            story(it).splitlines()[3:]
            == text("""
            the administrator deletes a#1 of a: None
            list the dead of dead: [dead#1 (attempt 1), dead#2 (attempt 1)]
            redrive 3 from dead: [<Redriven.COPIED: 'copied'>, <Redriven.DONE: 'done'>,
                    <Redriven.LOST: 'lost'>]
            a.g.x looks: claimable: True, nothing due, refusal: None
            a.g.x takes over at most 2: entries [a#2 (attempt 1)]
            a.g.x reads at most 2: [a#3 (attempt 1)]
            list the dead of dead: []
        """).splitlines()
        )


def test_all_of_the_dead_are_listed() -> None:
    """However many answers that takes; a cancelled redrive of the first few is forgiven."""
    with program() as it:
        it.bury(X, 130)
        story(it)
        it.redrive(("a", "g"), 1)
        listed, sent = story(it).splitlines()
    assert listed.count("(attempt 1)") == 130
    assert sent == "redrive 5 from a: was cancelled"


def test_who_never_was_active_draws_and_starts_nothing() -> None:
    with program() as it:
        it.draw(X, 0, own=True, count=2, cancel=None)
        it.start(X, 0, own=True, entries=(0,), alone=False, cancel=None)
        assert not story(it)


def test_an_order_is_kept_for_a_while() -> None:
    with program() as it:
        it.keep_the_order(X, 2, [Pick("ack"), Pick("commit")], Y)
        assert story(it) == text("""
            append to a a record, a record: [a#1, a#2]
            a.g.x asks to be active: is active, with a new token
            a.g.x draws at most 2: [a#1, a#2] up to a#2
            a.g.x starts a#2, a#1: entries [a#2 (attempt 1), a#1 (attempt 1)]
            a.g.x settles: ack a#1 (attempt 1), commit a#2 (attempt 1) with []: [done, done]
            a.g.x starts a#1, a#2: nothing; over [a#1, a#2]
            a.g.y surveys 2 at a time: []
            a.g.x is active no more: None
            a.g.y asks to be active: is active, with a new token
        """)


@pytest.mark.parametrize("times", [1, 2])
def test_whoever_loses_the_lead_meanwhile_starts_nothing_more(
    times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with program() as it:
        really = it.world.sleep

        def sleep(seconds: float) -> None:
            really(seconds)
            it.lead(Y, None, own=True, cancel=None)

        monkeypatch.setattr(it.world, "sleep", sleep)
        it.lose_in_order(X, times)
        assert story(it).splitlines()[-2:] == [
            "a.g.y asks to be active: is active, with a new token",
            "a.g.x asks to be active: is not active",
        ]


def test_a_cancelled_start_by_whoever_is_active_no_more_is_forgiven() -> None:
    """It started nothing that was to be given back."""
    with program() as it:
        it.append("a", (None,), 2.0, None)
        it.lead(X, None, own=True, cancel=None)
        it.draw(X, 0, own=True, count=2, cancel=None)
        it.give_up_lead(X, Y, None)
        it.start(X, 1, own=True, entries=(0,), alone=False, cancel=1)
        assert story(it).splitlines()[-1] == "a.g.x starts a#1: was cancelled"


def test_a_wait_that_is_not_so() -> None:
    """How long something waits for its lease is a part of the contract."""

    def change(_: str, came: object) -> object:
        if not isinstance(came, Start):
            return came
        return attrs.evolve(came, held=dict.fromkeys(came.held, 99.0))

    def act(it: BackendMachine) -> None:
        it.append("a", (None,), 2.0, None)
        it.lead(X, None, own=True, cancel=None)
        it.draw(X, 0, own=True, count=1, cancel=None)
        for _ in range(2):
            it.start(X, 0, own=True, entries=(0,), alone=False, cancel=None)

    assert "Differs:   held is " in judged(change, act)


def test_a_program_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By how it ended; one that did not begin is none."""
    events = list[str]()
    monkeypatch.setattr(_machine, "event", events.append)
    case = backend_conformance(open_memory, virtual_time=True)
    for undecided in ("", "an operation took too long"):
        machine = cast("BackendMachine", case.machine())
        machine.begin(**attrs.asdict(Beginning()))
        machine.world.undecided = undecided
        machine.teardown()
    case.machine().teardown()
    assert case.tally.programs == 2
    assert case.tally.given_up == {"an operation took too long": 1}
    assert events == ["judged to the end", "an operation took too long"]


def test_a_tally_is_a_line() -> None:
    tally = Tally()
    assert str(tally) == "0 programs, none given up; 0 operations: "
    tally = Tally(3, Counter(read=2, append=1), Counter({"too slow": 1}))
    assert str(tally) == "3 programs, 1 (too slow) given up; 3 operations: append 1, read 2"
