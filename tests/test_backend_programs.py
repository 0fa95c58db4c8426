"""Each rule of the conformance suite for backends, in a program written by hand, and what it tells.

Random programs come to most of this by chance; and that they find nothing says little of what
they did.
"""

from __future__ import annotations

import re

import attrs

from tests.by_hand import Beginning, X, Y, program, story, text
from trio_bus.testing._backend_conformance._cast import Who
from trio_bus.testing._backend_conformance._picks import Pick


def test_appends() -> None:
    """What was remembered is stored once; a cancelled call has done nothing, a part or all."""
    with program() as it:
        it.append("a", ("k", "k", None), 2.0, None)
        it.append("a", ("k", "l"), 2.0, 0)
        it.append("a", ("k", "l"), 2.0, 3)
        it.append_nowait("a", "k", 2.0)
        it.append_nowait("b", None, 2.0)
        it.append_persisted("a", ("k", None), 2.0)
        assert story(it) == text("""
            append to a key 'k', key 'k', a record: [a#1, a#1, a#2]
            append to a key 'k', key 'l': was cancelled
            append to a key 'k', key 'l': [a#1, a#3]
            append_nowait to a key 'k': [a#1]
            append_nowait to b a record: [b#1]
            append_persisted to a key 'k', a record: [raised Unsupported(ERR memory: persists
                    nothing; PERSISTED needs a server with an append-only file), raised
                    Unsupported(ERR memory: persists nothing; PERSISTED needs a server with an
                    append-only file)]
        """)


def test_private_groups() -> None:
    """Kept or not, left or not, begun anew or not."""
    with program() as it:
        it.append("a", (None, None), 0.0, None)
        for start, cancel in ((1, 0), (1, None), (None, None)):
            it.create_private(start, cancel)
        it.have_a_group_alone(0, 4.0, "", "forget")
        it.create_private(None, None)
        it.have_a_group_alone(0, 11.0, "renew", "look")
        it.have_a_group_alone(0, 9.0, "look", "read")
        assert story(it) == text("""
            append to a a record, a record: [a#1, a#2]
            create_private a.~fan-p after a#2: was cancelled
            create_private a.~fan-p after a#2: a#2
            create_private a.~fan-p after the newest entry: None
            create_private a.~fan-p after 0-0: None
            append to a a record: [a#3]
            a.~fan-p.p reads at most 2: [a#3 (attempt 1)]
            0.2 s pass
            a.~fan-p.p looks: claimable: False, nothing due, refusal: None
            0.2 s pass
            a.~fan-p.p is forgotten: True
            a.~fan-p.p reads at most 2: raised GroupMissing(NOGROUP No such key 'a' or consumer
                    group '~fan-p' in XREADGROUP with GROUP option)
            create_private a.~fan-p after the newest entry: a#3
            create_private a.~fan-p after 0-0: None
            append to a a record: [a#4]
            a.~fan-p.p reads at most 2: [a#4 (attempt 1)]
            a.~fan-p.p renews a#4 (attempt 1): {}
            0.55 s pass
            a.g.x looks: claimable: False, nothing due, refusal: None
            a.~fan-p.p looks: raised GroupMissing(NOGROUP No such key 'a' or consumer group
                    '~fan-p')
            a.~fan-p.p renews a#4 (attempt 1): raised GroupMissing(NOGROUP No such key 'a' or
                    consumer group '~fan-p')
            0.55 s pass
            a.~fan-p.p reads at most 2: raised GroupMissing(NOGROUP No such key 'a' or consumer
                    group '~fan-p' in XREADGROUP with GROUP option)
            create_private a.~fan-p after 0-0: 0-0
            append to a a record: [a#5]
            a.~fan-p.p reads at most 2: [a#1 (attempt 1), a#2 (attempt 1)]
            a.~fan-p.p looks: claimable: False, nothing due, refusal: None
            0.45 s pass
            a.~fan-p.p looks: claimable: False, nothing due, refusal: None
            0.45 s pass
            a.~fan-p.p reads at most 2: [a#3 (attempt 1), a#4 (attempt 1)]
        """)


def test_schedules() -> None:
    with program() as it:
        it.schedule("a", "1-m", 1.5, 2.0, None)
        it.schedule("a", "1-m", "the past", None, None)
        it.schedule("a", "2-m", "the future", None, 2)
        for uid, cancel in (("1-m", None), ("1-m", None), ("2-m", 1)):
            it.cancel_scheduled("a", uid, cancel)
        it.schedule_some(X, ("3-n", "4-n"), (1.0, 0.5, 1.5))
        it.schedule_for_one_moment(X, ("1-m", "3-n"))
        assert re.sub(r"5\.\d+e\+09 s", "centuries", story(it)) == text("""
            schedule 1-m on a in 0.075 s, remembered for 0.1 s: 1-m
            schedule 1-m on a for the past: 1-m
            schedule 2-m on a for the future: 2-m
            cancel_scheduled 1-m on a: True
            cancel_scheduled 1-m on a: False
            cancel_scheduled 2-m on a: was cancelled
            schedule 3-n on a in 0.05 s: 3-n
            schedule 4-n on a in 0.025 s: 4-n
            0.1 s pass
            a.g.x looks: claimable: False, next due in centuries, refusal: None
            a.g.x reads at most 4: [a#1 (attempt 1), a#2 (attempt 1)]
            schedule 1-m on a for the past: 1-m
            schedule 3-n on a for the past: 3-n
            a.g.x looks: claimable: False, next due in centuries, refusal: None
            a.g.x reads at most 3: [a#3 (attempt 1), a#4 (attempt 1)]
        """)


def test_a_schedule_with_a_marker_is_made_once() -> None:
    """Unless the first one was taken out."""
    with program() as it:
        it.schedule_twice("a", 40.0, taken_out=False)
        it.schedule_twice("b", 40.0, taken_out=True)
        assert story(it) == text("""
            schedule 5-p on a in 0.3 s, remembered for 2 s: 5-p
            schedule 6-p on a in 0.3 s, remembered for 2 s: 5-p
            schedule 5-p on b in 0.3 s, remembered for 2 s: 5-p
            cancel_scheduled 5-p on b: True
            schedule 6-p on b in 0.3 s, remembered for 2 s: 6-p
        """)


def test_groups_that_are_created() -> None:
    with program() as it:
        it.append("a", (None, None), 2.0, None)
        story(it)
        it.create_group(("a", "g"), None, None)
        it.create_group(("dead", "g"), 1, None)
        it.create_group(("b", "h"), None, 0)
        it.create_group(("a", "i"), 2, None)
        it.create_group(("a", "i"), 0, None)
        assert story(it) == text("""
            create_group a.g after the newest entry: False
            create_group dead.g after 0-0: True
            create_group b.h after the newest entry: was cancelled
            create_group a.i after a#1: True
            create_group a.i after 0-0: False
        """)


def test_reads_that_wait() -> None:
    with program() as it:
        for then in ("an append", "a cancellation", "an append and a cancellation", "nothing"):
            it.wait_to_read(X, then)
        it.two_wait_to_read()
        assert story(it) == text("""
            a.g.x waits for entries; meanwhile: an append: [[a#1], [a#1 (attempt 1)]]
            a.g.x waits for entries; meanwhile: a cancellation: [[], was cancelled]
            a.g.x waits for entries; meanwhile: an append and a cancellation: [[a#2], [a#2
                    (attempt 1)]]
            a.g.x waits for entries; meanwhile: nothing: [[], []]
            a.g.x reads at most 100: []
            a.h.x reads at most 100: [a#1 (attempt 1), a#2 (attempt 1)]
            a.g.x and a.h.x wait for entries; meanwhile: an append: [[a#3], [a#3 (attempt
                    1)], [a#3 (attempt 1)]]
        """)


def test_a_read_that_is_cancelled() -> None:
    with program(Beginning(prelude="held")) as it:
        it.read(Y, 4, 1)
        it.read(Y, 4, None)
        assert story(it) == text("""
            a.g.y reads at most 4: was cancelled
            a.g.y reads at most 4: [a#4 (attempt 1)]
        """)


def test_whoever_is_together_is_in_one_group() -> None:
    with program(Beginning(together=True)) as it:
        it.read(it.who(attrs.evolve(X, topic="b", group="h")), 1, None)
        assert story(it) == text("""
            a.g.x reads at most 1: []
        """)


def test_settlements() -> None:
    with program(Beginning(prelude="held")) as it:
        it.read(Y, 4, None)
        words = (
            *(Pick("ack"), Pick("retry", delay=1.5), Pick("ack", which=1)),
            *(Pick("release", whose="any", delay=6.0), Pick("bury")),
        )
        it.settle(Y, words, None)
        it.renew(X, [Pick("ack"), Pick("ack", whose="any"), Pick("ack", whose="earlier")])
        it.settle(X, [Pick("release"), Pick("ack", which=1)], 1)
        it.settle_and_look(X, [Pick("release")], wait=False, count=2)
        it.settle_and_look(X, [Pick("retry", delay=1.5)], wait=True, count=0)
        it.settle(Y, [Pick("release"), Pick("ack", whose="earlier")], 3)
        it.look(Y, 0)
        assert story(it) == text("""
            a.g.y reads at most 4: [a#4 (attempt 1)]
            a.g.y settles: ack a#4 (attempt 1), retry a#4 (attempt 1) in 0.09 s, ack a#4
                    (attempt 1), release a#4 (attempt 1) in 0.345 s, bury a#4 (attempt 1): [done,
                    lost, lost, lost, lost]
            a.g.x renews a#3 (attempt 1), a#4 (attempt 1): {[a#4, lost]}
            a.g.x settles: release a#3 (attempt 1), ack a#2 (attempt 1): was cancelled
            a.g.x settles: release a#1 (attempt 1): [done]
            a.g.x looks: claimable: True, nothing due, refusal: None
            a.g.x takes over at most 2: entries [a#1 (attempt 1)]
            a.g.x settles: retry a#1 (attempt 1) in 0.075 s: [done]
            0.078 s pass
            a.g.x looks: claimable: True, nothing due, refusal: None
            a.g.x settles: ack a#1 (attempt 1): [lost]
            a.g.y looks: was cancelled
        """)


def test_nobody_settles_what_nobody_has() -> None:
    with program() as it:
        it.settle(X, [Pick("ack")], None)
        it.renew(X, [Pick("ack")])
        it.be_woken_by_a_word(X, Pick("release"))
        assert it.consuming.take_booked(X, 0, None) is None
        it.start_alone(X, 0, Pick("retry"), Y)
        it.keep_booking(X, 0, 2)
        it.give_up_booking(X, 0)
        it.delete_entry("a", 0)
        it.part(X, crash=True)
        it.wait_for_an_end(0, after=True)
        assert not story(it)


def test_several_fare_differently() -> None:
    """One was finished before, one was deleted, and one is there."""
    with program() as it:
        it.fare_differently(X, 2, Pick("retry", delay=1.5), (0, 1, 2))
        it.fare_differently(X, 1, None, (2, 0, 1))
        it.fare_differently(X, 0, Pick("release"), (2, 1, 0))
        assert story(it) == text("""
            append to a a record, a record, a record: [a#1, a#2, a#3]
            a.g.x reads at most 4: [a#1 (attempt 1), a#2 (attempt 1), a#3 (attempt 1)]
            a.g.x settles: ack a#3 (attempt 1): [done]
            the administrator deletes a#2 of a: None
            a.g.x settles: retry a#1 (attempt 1) in 0.075 s, retry a#2 (attempt 1) in 0.09 s,
                    retry a#3 (attempt 1) in 0.105 s: [done, gone, lost]
            append to a a record, a record, a record: [a#4, a#5, a#6]
            a.g.x reads at most 4: [a#4 (attempt 1), a#5 (attempt 1), a#6 (attempt 1)]
            a.g.x settles: ack a#5 (attempt 1): [done]
            a.g.x renews a#6 (attempt 1), a#4 (attempt 1), a#5 (attempt 1): {[a#5, lost]}
            append to a a record, a record, a record: [a#7, a#8, a#9]
            a.g.x reads at most 4: [a#7 (attempt 1), a#8 (attempt 1), a#9 (attempt 1)]
            a.g.x settles: release a#9 (attempt 1), release a#8 (attempt 1), release a#7
                    (attempt 1): [done, done, done]
        """)


def test_two_things_are_due_at_two_times() -> None:
    with program() as it:
        it.wait_in_two_ways(X, "1-m", (3.0, 8.0))
        assert story(it) == text("""
            append to a a record: [a#1]
            a.g.x reads at most 2: [a#1 (attempt 1)]
            schedule 1-m on a in 0.15 s: 1-m
            a.g.x settles: retry a#1 (attempt 1) in 0.4 s: [done]
            a.g.x looks: claimable: False, next due in 0.151 s, refusal: None
        """)


def test_whoever_owns_something_is_not_forgotten() -> None:
    with program() as it:
        it.append("a", (None,), 2.0, None)
        it.read(X, 1, None)
        story(it)
        it.forget(X)
        assert story(it) == text("""
            append to a a record: [a#2]
            a.g.x reads at most 2: [a#2 (attempt 1)]
            a.g.x is forgotten: False
            a.g.x settles: ack a#1 (attempt 1): [done]
            a.g.x is forgotten: False
            a.g.x settles: ack a#2 (attempt 1): [done]
            a.g.x is forgotten: True
        """)


def test_the_dead() -> None:
    """The topic of the dead may take none, and all when it is made anew."""
    with program(Beginning(dead_letters=True)) as it:
        it.bury(X, 2)
        it.bury_in_vain(X)
        assert story(it) == text("""
            append to a a record, a record: [a#1, a#2]
            a.g.x reads at most 3: [a#1 (attempt 1), a#2 (attempt 1)]
            create_group dead.g after 0-0: True
            a.g.x settles: bury a#1 (attempt 1), bury a#2 (attempt 1): [done, done]
            dead.g.x reads at most 3: [dead#1 (attempt 1), dead#2 (attempt 1)]
            the administrator uses up dead: None
            append to a a record: [a#3]
            a.g.x reads at most 2: [a#3 (attempt 1)]
            a.g.x settles: bury a#3 (attempt 1): [raised RemoteError(ERR The stream has
                    exhausted the last possible ID, unable to add more items)]
            a.g.x looks: claimable: False, nothing due, refusal: None
            the administrator deletes dead: None
            0.005 s pass
            a.g.x settles: bury a#3 (attempt 1): [done]
        """)


def test_what_was_abandoned_is_taken_over() -> None:
    with program(Beginning(prelude="abandoned")) as it:
        story(it)
        it.take_over(Y, 2, None, book=True, look=True)
        it.take_over(Y, 2, 2, book=True, look=False)
        it.outlive(X, 4, None, book=True)
        it.outlive(Y, 0, None, book=True)
        it.watch(X)
        assert story(it) == text("""
            a.g.y looks: claimable: True, nothing due, refusal: None
            a.g.y takes over at most 2, and books a suspect: entries [a#1 (attempt 2), a#2
                    (attempt 2)]
            a.g.y takes over at most 2, and books a suspect: entries [a#3 (attempt 2)]
            0.25 s pass
            a.g.x looks: claimable: True, nothing due, refusal: None
            a.g.x takes over at most 4, and books a suspect: suspects [a#1 (attempt 2), a#2
                    (attempt 2), a#3 (attempt 2)]; booked a#1
            0.25 s pass
            a.g.y looks: claimable: True, nothing due, refusal: None
            append to a a record: [a#5]
            a.g.x reads at most 4: [a#4 (attempt 1), a#5 (attempt 1)]
            0.075 s pass
            a.g.y looks: claimable: True, nothing due, refusal: None
            0.15 s pass
            a.g.y looks: claimable: True, nothing due, refusal: None
        """)


def test_suspects() -> None:
    with program(Beginning(prelude="set apart", max_attempt=3)) as it:
        story(it)
        it.start_alone(X, 0, Pick("retry"), Y)
        it.take_booked(Y, 0, None)
        it.take_booked(Y, 1, 2)
        it.keep_booking(X, 0, 2)
        it.give_up_booking(X, 0)
        assert story(it) == text("""
            a.g.x takes the suspect a#1: entries [a#1 (attempt 3, a suspect)]
            a.g.x settles: retry a#1 (attempt 3): [done]
            a.g.y looks: claimable: True, nothing due, refusal: None
            a.g.y takes over at most 2, and books a suspect: buried [a#1 (attempt 3)]; booked
                    a#2
            a.g.y takes the suspect a#2: entries [a#2 (attempt 3, a suspect)]
            a.g.y takes the suspect a#1: nothing
            a.g.x keeps the booking of a#2: False
            a.g.y takes over at most 2, and books a suspect: booked a#3
            a.g.x gives up the booking of a#3: None
            a.g.y takes over at most 1, and books a suspect: booked a#3
        """)


def test_a_claim_that_is_cancelled_gives_back_what_it_took() -> None:
    """And what it booked."""
    with program(Beginning(prelude="set apart")) as it:
        story(it)
        for cancel in (1, 2, 3):
            it.give_up_booking(X, 0)
            it.take_over(Y, 4, cancel, book=True, look=False)
        assert story(it) == text("""
            a.g.x gives up the booking of a#1: None
            a.g.y takes over at most 1, and books a suspect: booked a#1
            a.g.y takes over at most 4, and books a suspect: was cancelled
            a.g.x gives up the booking of a#1: None
            a.g.y takes over at most 1, and books a suspect: booked a#1
            a.g.y takes over at most 4, and books a suspect: booked a#2
            a.g.x gives up the booking of a#2: None
            a.g.y takes over at most 1, and books a suspect: booked a#2
            a.g.y takes over at most 4, and books a suspect: booked a#3
        """)


def test_a_claim_that_is_cancelled_may_have_found_nothing() -> None:
    with program(Beginning(prelude="abandoned")) as it:
        story(it)
        it.take_over(Y, 4, 1, book=False, look=False)
        it.take_over(Who("b", "g", "x"), 4, 1, book=False, look=False)
        it.take_over(Y, 4, None, book=False, look=False)
        assert story(it) == text("""
            a.g.y takes over at most 4: was cancelled
            b.g.x takes over at most 4: was cancelled
            a.g.y takes over at most 4: entries [a#1 (attempt 2), a#2 (attempt 2), a#3
                    (attempt 2)]
        """)


def test_whoever_waits_is_woken() -> None:
    with program(Beginning(prelude="held")) as it:
        it.be_woken_by_a_word(Y, Pick("release", delay=1.5))
        it.be_woken_by_a_word(X, Pick("ack"))
        it.be_woken_by_a_word(Y, Pick("retry"))
        it.be_woken_by_a_schedule(Y, "1-m", 1.5)
        it.be_woken_by_a_schedule(Y, "1-m", 1.5)
        assert story(it) == text("""
            a.g.y waits to be woken within 0.075 s; meanwhile: a.g.x settles: release a#3
                    (attempt 1) in 0.075 s: [[done], True]
            a.g.x waits to be woken within 0 s; meanwhile: a.g.x settles: ack a#2 (attempt
                    1): [[done], True]
            a.g.y waits to be woken within 0 s; meanwhile: a.g.x settles: retry a#1 (attempt
                    1): [[done], True]
            a.g.y waits to be woken within 0.075 s; meanwhile: schedule 1-m on a in 0.075 s:
                    [1-m, True]
            a.g.y waits to be woken within 0.075 s; meanwhile: schedule 1-m on a in 0.075 s:
                    [1-m, True]
        """)


def test_time_passes_up_to_an_end() -> None:
    """Just after it, or just before it; whoever leaves meanwhile, or crashes, changes nothing."""
    with program(Beginning(prelude="held", tend_units=0.5)) as it:
        story(it)
        it.part(X, crash=True)
        it.look(Y, None)
        it.part(Y, crash=False)
        it.let_time_pass(0.25)
        it.wait_for_an_end(0, after=True)
        it.wait_for_an_end(1, after=False)
        it.look(Y, None)
        assert story(it) == text("""
            a.g.x crashes: None
            a.g.y looks: claimable: False, nothing due, refusal: None
            a.g.y leaves: None
            0.0125 s pass
            0.0155 s pass
            0.166 s pass
            a.g.y looks: claimable: False, nothing due, refusal: None
        """)


def test_an_administrator_removes_what_others_use() -> None:
    with program(Beginning(prelude="held")) as it:
        story(it)
        it.delete_entry("a", 1)
        it.trim("a", 1)
        it.look(X, None)
        it.destroy(("a", "h"), None)
        it.destroy(("a", "h"), None)
        it.destroy(("a", "g"), "a")
        it.look(X, None)
        it.take_over(X, 2, None, book=False, look=False)
        it.read(X, 2, None)
        assert story(it) == text("""
            the administrator deletes a#2 of a: None
            the administrator trims a to 1: None
            a.g.x looks: claimable: False, nothing due, refusal: None
            the administrator destroys the group a.h: None
            the administrator destroys the group a.h: None
            the administrator deletes a: None
            0.005 s pass
            a.g.x looks: raised GroupMissing(NOGROUP No such key 'a' or consumer group 'g')
            a.g.x takes over at most 2: raised GroupMissing(NOGROUP No such key 'a' or
                    consumer group 'g')
            a.g.x reads at most 2: raised GroupMissing(NOGROUP No such key 'a' or consumer
                    group 'g' in XREADGROUP with GROUP option)
        """)


def test_groups_finish_what_is_removed_then() -> None:
    with program(Beginning(kept="length", retain_units=3.0)) as it:
        it.finish(X, 3, 2, away=False)
        it.let_time_pass(5.0)
        it.finish(X, 1, -1, away=True)
        assert story(it) == text("""
            append to a a record, a record, a record: [a#1, a#2, a#3]
            a.g.x reads at most 9: [a#1 (attempt 1), a#2 (attempt 1), a#3 (attempt 1)]
            a.g.x settles: ack a#1 (attempt 1), ack a#2 (attempt 1): [done, done]
            a.h.x reads at most 9: [a#1 (attempt 1), a#2 (attempt 1), a#3 (attempt 1)]
            a.h.x settles: ack a#1 (attempt 1), ack a#2 (attempt 1), ack a#3 (attempt 1): [done,
                    done, done]
            a.g.x looks: claimable: False, nothing due, 1 trimmed, refusal: None
            0.25 s pass
            append to a a record: [a#4]
            a.g.x reads at most 9: [a#4 (attempt 1)]
            a.g.x settles: ack a#3 (attempt 1), ack a#4 (attempt 1): [done, done]
            a.g.x looks: claimable: False, nothing due, 1 trimmed, refusal: None
        """)


def test_it_waits_until_something_is_too_old() -> None:
    with program(Beginning(kept="age")) as it:
        it.finish(X, 1, -1, away=False)
        story(it)
        for after in (False, True):
            it.wait_for_an_end(0, after)
            it.look(X, None)
        assert story(it) == text("""
            0.144 s pass
            a.g.x looks: claimable: False, nothing due, refusal: None
            0.009 s pass
            a.g.x looks: claimable: False, nothing due, 1 trimmed, refusal: None
        """)


def test_an_order() -> None:
    """One is active; what is new waits for its key; what is started is settled as ever."""
    with program() as it:
        it.lead(X, None, own=True, cancel=None)
        it.lead(X, 0, own=True, cancel=None)
        it.lead(Y, 0, own=False, cancel=None)
        it.append("a", (None, None, None), 2.0, None)
        it.draw(X, 0, own=True, count=4, cancel=None)
        it.start(X, 0, own=True, entries=(2, 1), alone=False, cancel=None)
        it.settle(X, [Pick("retry", delay=6.0)], None)
        it.start(X, 0, own=True, entries=(2, 1, 0), alone=True, cancel=None)
        it.survey(Y, 2)
        it.give_up_lead(X, Y, None)
        it.start(X, 1, own=True, entries=(0,), alone=False, cancel=None)
        assert re.sub(r"(due|held) (a#\d) in 0\.\d+ s", r"\1 \2 soon", story(it)) == text("""
            a.g.x asks to be active: is active, with a new token
            a.g.x asks to stay active: stays active
            a.g.y asks to stay active: is not active
            append to a a record, a record, a record: [a#1, a#2, a#3]
            a.g.x draws at most 4: [a#1, a#2, a#3] up to a#3
            a.g.x starts a#1, a#2: entries [a#1 (attempt 1), a#2 (attempt 1)]
            a.g.x settles: retry a#2 (attempt 1) in 0.3 s: [done]
            a.g.x starts a#3, a#1, a#2, alone: entries [a#3 (attempt 1)]; due a#2 soon;
                    held a#1 soon
            a.g.y surveys 2 at a time: [a#1 (held), a#2, a#3 (held)]
            a.g.x is active no more: None
            a.g.y asks to be active: is active, with a new token
            a.g.x starts a#3: None
        """)


def test_an_order_that_is_cancelled() -> None:
    with program() as it:
        it.append("a", (None, None), 2.0, None)
        it.lead(X, None, own=True, cancel=0)
        it.lead(X, None, own=True, cancel=None)
        it.draw(X, 0, own=True, count=2, cancel=1)
        it.draw(X, 0, own=True, count=2, cancel=None)
        it.start(X, 0, own=True, entries=(1, 0), alone=False, cancel=1)
        it.start(X, 0, own=True, entries=(1, 0), alone=False, cancel=None)
        it.give_up_lead(X, Y, 0)
        for then in ("an append", "a cancellation", "nothing"):
            it.wait_to_grow(X, then)
        it.keep_the_order(Y, 2, [Pick("ack")], X)
        it.lose_in_order(X, 2)
        assert story(it) == text("""
            append to a a record, a record: [a#1, a#2]
            a.g.x asks to be active: was cancelled
            a.g.x asks to be active: is active, with a new token
            a.g.x draws at most 2: was cancelled
            a.g.x draws at most 2: [a#1, a#2] up to a#2
            a.g.x starts a#1, a#2: was cancelled
            a.g.x starts a#1, a#2: entries [a#1 (attempt 1), a#2 (attempt 1)]
            a.g.x is active no more: was cancelled
            a.g.y asks to be active: is not active
            a.g.x waits for growth; meanwhile: an append: [[a#3], True]
            a.g.x waits for growth; meanwhile: a cancellation: [[], True]
            a.g.x waits for growth; meanwhile: nothing: [[], True]
            append to a a record, a record: [a#4, a#5]
            a.g.y asks to be active: is not active
            append to a a record: [a#6]
            a.g.x asks to be active: is active, with a new token
            a.g.x draws at most 4: [a#3, a#4, a#5, a#6] up to a#6
            a.g.x starts a#6: entries [a#6 (attempt 1)]
            0.25 s pass
            a.g.x asks to be active: is active, with a new token
            a.g.x draws at most 4: [] up to a#6
            a.g.x starts a#6: entries [a#6 (attempt 2)]
            0.25 s pass
            a.g.x asks to be active: is active, with a new token
            a.g.x starts a#6: suspects [a#6 (attempt 2)]
            a.g.x starts a#6, a#5, alone: entries [a#6 (attempt 3, a suspect), a#5 (attempt 1)]
        """)
