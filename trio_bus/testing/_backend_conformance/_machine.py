"""The state machine: one rule for each thing that can be done to a backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import attrs
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from trio_bus._backend import StreamBackend
from trio_bus._uid import new_uid

from ._administrator import Administrator
from ._batches import Batches, Outputs
from ._cast import ALONE, GROUPS, PLAYERS, TOPICS, Shape, Who
from ._consuming import Consuming
from ._graves import Graves
from ._meetings import Meetings
from ._order_rules import OrderRules
from ._ordering import Ordering
from ._picks import Pick
from ._prelude import PRELUDES, play
from ._publishing import Publishing, When
from ._removals import Removals
from ._retaining import KINDS, Retaining, retention_of
from ._settling import Settling
from ._subject import FindAdministrator, Subject
from ._world import World

_topics = st.sampled_from(("a", "a", "b", "dead"))
_players = st.sampled_from(PLAYERS)
_groups = st.sampled_from(GROUPS)
_keys = st.sampled_from((None, "k", "k", "l"))
_key_lists = st.lists(_keys, min_size=1, max_size=4)
_counts = st.integers(1, 4)
_which = st.integers(0, 3)
_delays = st.sampled_from((0.0, 0.0, 1.5, 6.0))
_windows = st.sampled_from((2.0, 10.0, 40.0))
_uids = st.sampled_from(("1-m", "2-m", "3-n", "4-n"))
_whens = st.sampled_from((0.0, 1.5, 1.5, 6.0, "the past", "the future"))
_SOON = (0.5, 1.0, 1.5)
_cancels = st.sampled_from((None, None, None, None, None, 0, 1, 2, 3))
_moments = st.sampled_from((None, None, None, 1, 2, 3))
_outputs = st.lists(st.tuples(_topics, _keys), max_size=3).map(tuple)
_picks = st.builds(
    Pick,
    word=st.sampled_from(("release", "release", "retry", "retry", "ack", "bury", "commit")),
    which=_which,
    whose=st.sampled_from(("ours", "ours", "ours", "earlier", "earlier", "any")),
    delay=_delays,
    outputs=_outputs,
)
_pick_lists = st.lists(_picks, min_size=1, max_size=3)
_happenings = st.sampled_from(
    ("an append", "a cancellation", "an append and a cancellation", "nothing")
)


class BackendMachine(OrderRules):
    """Does to one backend whatever the contract allows, and compares all that it tells."""

    world: World
    removals: Removals | None = None

    subject: ClassVar[Subject]

    @initialize(
        max_attempt=st.sampled_from((4, 4, 4, 3, 2, 1)),
        dead_letters=st.booleans(),
        tend_units=st.sampled_from((0.0, 0.0, 0.5, 3.0)),
        prelude=st.sampled_from((*PRELUDES, PRELUDES[-1])),
        together=st.booleans(),
        kept=st.sampled_from((KINDS[0], *KINDS)),
        retain_units=st.sampled_from((0.0, 0.0, 3.0)),
    )
    def begin(
        self,
        max_attempt: int,
        dead_letters: bool,  # noqa: FBT001 - drawn
        tend_units: float,
        prelude: str,
        together: bool,  # noqa: FBT001 - drawn
        *,
        kept: str,
        retain_units: float,
    ) -> None:
        subject = self.subject
        shape = Shape(
            f"conformance-{new_uid()}",
            subject.lease / 4,
            max_attempt,
            dead_letters,
            tend_units,
            retention_of(kept, subject.lease / 4),
            retain_units,
        )
        self.world = World(
            subject.open_backend, shape, subject.tally, virtual_time=subject.virtual_time
        )
        self.publishing = Publishing(self.world)
        self.consuming = Consuming(self.world)
        self.settling = Settling(self.world, self.consuming)
        self.meetings = Meetings(self.world, self.publishing, self.consuming, self.settling)
        self.ordering = Ordering(self.world, self.publishing, self.consuming, self.settling)
        self.together = together
        administrator = _administrator(self.world.subject, subject.administrator)
        if administrator is not None:
            self.removals = Removals(self.world, administrator)
        self.batches = Batches(
            self.world, self.publishing, self.consuming, self.settling, self.removals
        )
        self.retaining = Retaining(self.publishing, self.consuming, self.settling, self.batches)
        self.graves = Graves(self.world, self.consuming, self.settling, self.batches, self.removals)
        for topic, group in GROUPS[:3]:
            self.publishing.create_group(topic, group, 0, None)
        play(prelude, self.world, self.publishing, self.consuming)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            why = self.world.undecided
            event(why or "judged to the end")
            self.subject.tally.programs += 1
            self.subject.tally.given_up.update([why] if why else [])
            self.world.close()

    def who(self, drawn: Who) -> Who:
        """Return who does it: in some programs all are in one group."""
        return Who("a", "g", drawn.consumer) if self.together else drawn

    @rule(topic=_topics, keys=_key_lists, window=_windows, cancel=_cancels)
    def append(
        self, topic: str, keys: Sequence[str | None], window: float, cancel: int | None
    ) -> None:
        self.publishing.append(topic, keys, window, cancel)

    @rule(topic=_topics, key=_keys, window=_windows)
    def append_nowait(self, topic: str, key: str | None, window: float) -> None:
        self.publishing.append_nowait(topic, key, window)

    @rule(topic=_topics, keys=_key_lists, window=_windows)
    def append_persisted(self, topic: str, keys: Sequence[str | None], window: float) -> None:
        self.publishing.append_persisted(topic, keys, window)

    @rule(topic=_topics, uid=_uids, when=_whens, window=st.none() | _windows, cancel=_cancels)
    def schedule(
        self, topic: str, uid: str, when: When, window: float | None, cancel: int | None
    ) -> None:
        self.publishing.schedule(topic, uid, when, window, cancel)

    @rule(who=_players, uids=st.lists(_uids, min_size=2, max_size=3), whens=st.permutations(_SOON))
    def schedule_some(self, who: Who, uids: Sequence[str], whens: Sequence[float]) -> None:
        """Schedule some, let them be due, and read them."""
        who = self.who(who)
        for uid, when in zip(uids, whens, strict=False):
            self.publishing.schedule(who.topic, uid, when, None, None)
        self.world.sleep(2.0 * self.world.shape.unit)
        self.consuming.look(who)
        self.consuming.read(who, 4, None)

    @rule(who=_players, uids=st.lists(_uids, min_size=2, max_size=3, unique=True))
    def schedule_for_one_moment(self, who: Who, uids: Sequence[str]) -> None:
        self.batches.schedule_for_one_moment(self.who(who), uids)

    @rule(topic=_topics, window=_windows, taken_out=st.booleans())
    def schedule_twice(self, topic: str, window: float, taken_out: bool) -> None:  # noqa: FBT001 - drawn
        """Schedule two with one marker; perhaps take the first one out in between."""
        self.publishing.schedule(topic, "5-p", 6.0, window, None)
        if taken_out:
            self.publishing.cancel_scheduled(topic, "5-p", None)
        self.publishing.schedule(topic, "6-p", 6.0, window, None)

    @rule(topic=_topics, uid=_uids, cancel=_cancels)
    def cancel_scheduled(self, topic: str, uid: str, cancel: int | None) -> None:
        self.publishing.cancel_scheduled(topic, uid, cancel)

    @rule(group=_groups, start=st.sampled_from((0, None, 1, 2)), cancel=_cancels)
    def create_group(self, group: tuple[str, str], start: int | None, cancel: int | None) -> None:
        self.publishing.create_group(*group, start, cancel)

    @rule(start=st.sampled_from((0, None, 1, 2)), cancel=_cancels)
    def create_private(self, start: int | None, cancel: int | None) -> None:
        self.publishing.create_private(start, cancel)

    @rule(
        start=st.sampled_from((0, None, 1)),
        units=st.sampled_from((0.0, 4.0, 9.0, 11.0)),
        kept=st.sampled_from(("", "look", "renew")),
        end=st.sampled_from(("look", "forget", "read")),
    )
    def have_a_group_alone(self, start: int | None, units: float, kept: str, end: str) -> None:
        """Read in a private group, say something, let time pass, and see whether it is there."""
        self.publishing.create_private(start, None)
        self.publishing.append(ALONE.topic, (None,), 0.0, None)
        self.consuming.read(ALONE, 2, None)
        for again in range(2):
            if again or kept == "look":
                self.consuming.look(ALONE)
            if kept == "renew":
                self.settling.renew(ALONE, [Pick("ack")])
            self.world.sleep(units * self.world.shape.unit)
            if not again and end == "look":
                self.consuming.look(Who("a", "g", "x"))
        if end == "forget":
            self.consuming.forget(ALONE)
        self.consuming.read(ALONE, 2, None)

    @rule(who=_players, count=_counts, cancel=_cancels)
    def read(self, who: Who, count: int, cancel: int | None) -> None:
        self.consuming.read(self.who(who), count, cancel)

    @rule(who=_players, then=_happenings)
    def wait_to_read(self, who: Who, then: str) -> None:
        self.meetings.wait_to_read(self.who(who), then)

    @rule()
    def two_wait_to_read(self) -> None:
        self.meetings.two_wait_to_read(Who("a", "g", "x"), Who("a", "h", "x"))

    @rule(who=_players, picks=_pick_lists, cancel=_cancels)
    def settle(self, who: Who, picks: Sequence[Pick], cancel: int | None) -> None:
        self.settling.settle(self.who(who), picks, cancel)

    @rule(who=_players, picks=_pick_lists)
    def renew(self, who: Who, picks: Sequence[Pick]) -> None:
        self.settling.renew(self.who(who), picks)

    @rule(who=_players, picks=_pick_lists, wait=st.booleans(), count=st.integers(0, 4))
    def settle_and_look(self, who: Who, picks: Sequence[Pick], wait: bool, count: int) -> None:  # noqa: FBT001 - drawn
        """Settle, and see what there is to take, then or when the next is due."""
        actor = self.settling.settle(self.who(who), picks, None)
        if wait:
            self.world.sleep_to_a_deadline(0, after=True)
        self._recover(Who(*actor.place, who.consumer), count, None, book=False)

    @rule(
        who=_players,
        number=st.integers(0, 2),
        pick=st.none() | _picks,
        order=st.permutations((0, 1, 2)),
    )
    def fare_differently(
        self, who: Who, number: int, pick: Pick | None, order: Sequence[int]
    ) -> None:
        """Hold three; let one be finished and one be deleted; settle or renew all of them."""
        self.batches.fare_differently(self.who(who), number, pick, order)

    @rule(who=_players, uid=_uids, units=st.permutations((3.0, 8.0)))
    def wait_in_two_ways(self, who: Who, uid: str, units: Sequence[float]) -> None:
        self.batches.wait_in_two_ways(self.who(who), uid, units)

    @rule(who=_players, number=st.integers(1, 2))
    def bury(self, who: Who, number: int) -> None:
        self.batches.bury(self.who(who), number)

    @rule(who=_players)
    def bury_in_vain(self, who: Who) -> None:
        self.batches.bury_in_vain(self.who(who))

    @rule(who=_players, outputs=_outputs, whose=st.sampled_from(("ours", "earlier", "any")))
    def commit_again(self, who: Who, outputs: Outputs, whose: str) -> None:
        self.batches.commit_again(self.who(who), outputs, whose)

    @rule(who=_players, outputs=_outputs)
    def commit_in_vain(self, who: Who, outputs: Outputs) -> None:
        self.batches.commit_in_vain(self.who(who), outputs)

    @rule(who=_players, cancel=_cancels)
    def look(self, who: Who, cancel: int | None) -> None:
        self.consuming.look(self.who(who), cancel)

    @rule(who=_players, count=_counts, cancel=_moments, book=st.booleans(), look=st.booleans())
    def take_over(self, who: Who, count: int, cancel: int | None, book: bool, look: bool) -> None:  # noqa: FBT001 - drawn
        if look:
            self.consuming.look(self.who(who))
        self.consuming.take_over(self.who(who), count, cancel, book=book)

    @rule(who=_players, count=_counts, cancel=_moments, book=st.booleans())
    def outlive(self, who: Who, count: int, cancel: int | None, book: bool) -> None:  # noqa: FBT001 - drawn
        """Recover what others left whose leases are over."""
        self.world.sleep(5.0 * self.world.shape.unit)
        self._recover(self.who(who), count, cancel, book=book)

    @rule(who=_players)
    def watch(self, who: Who) -> None:
        """Look while another one holds entries, and when its leases have just run out."""
        watched, unit = self.who(who), self.world.shape.unit
        self.publishing.append(watched.topic, (None,), 0.0, None)
        self.consuming.read(watched, 4, None)
        for units in (1.5, 3.0):
            self.world.sleep(units * unit)
            self.consuming.look(_rival(watched))

    def _recover(self, who: Who, count: int, cancel: int | None, *, book: bool) -> None:
        self.consuming.look(who)
        if count:
            self.consuming.take_over(who, count, cancel, book=book)

    @rule(who=_players, which=_which, pick=_picks, other=_players)
    def start_alone(self, who: Who, which: int, pick: Pick, other: Who) -> None:
        """Take a suspect, say something about it, and let another one try to book it."""
        actor = self.consuming.take_booked(self.who(who), which, None)
        if actor is not None:
            self.settling.settle(actor, [attrs.evolve(pick, which=0, whose="ours")], None)
            self._recover(Who(*actor.place, other.consumer), 2, None, book=True)

    @rule(who=_players, which=_which, cancel=_cancels)
    def take_booked(self, who: Who, which: int, cancel: int | None) -> None:
        self.consuming.take_booked(self.who(who), which, cancel)

    @rule(who=_players, which=_which, count=_counts)
    def keep_booking(self, who: Who, which: int, count: int) -> None:
        """Keep a booking, and let another one try to book."""
        actor = self.consuming.keep_booking(self.who(who), which)
        if actor is not None:
            self.consuming.take_over(_rival(actor), count, None, book=True)

    @rule(who=_players, which=_which)
    def give_up_booking(self, who: Who, which: int) -> None:
        """Give a booking up, and let another one book."""
        actor = self.consuming.give_up_booking(self.who(who), which)
        if actor is not None:
            self.consuming.take_over(_rival(actor), 1, None, book=True)

    @rule(who=_players, pick=_picks)
    def be_woken_by_a_word(self, who: Who, pick: Pick) -> None:
        self.meetings.wake_by_word(self.who(who), pick)

    @rule(who=_players, uid=_uids, delay=_delays)
    def be_woken_by_a_schedule(self, who: Who, uid: str, delay: float) -> None:
        self.meetings.wake_by_schedule(self.who(who), uid, delay)

    @rule(who=_players)
    def forget(self, who: Who) -> None:
        self.batches.forget(self.who(who))

    @rule(who=_players, crash=st.booleans())
    def part(self, who: Who, crash: bool) -> None:  # noqa: FBT001 - drawn
        self.world.part(self.who(who), crash=crash)

    @rule(units=st.sampled_from((5.0, 0.25, 1.0, 2.5)))
    def let_time_pass(self, units: float) -> None:
        self.world.sleep(units * self.world.shape.unit)

    @rule(which=st.integers(0, 2), after=st.booleans())
    def wait_for_an_end(self, which: int, after: bool) -> None:  # noqa: FBT001 - drawn
        self.world.sleep_to_a_deadline(which, after=after)

    @rule(who=_players, number=st.integers(1, 2), deleted=st.booleans(), cancel=_moments)
    def bury_and_redrive(self, who: Who, number: int, deleted: bool, cancel: int | None) -> None:  # noqa: FBT001 - drawn
        self.graves.bury_and_redrive(self.who(who), number, deleted=deleted, cancel=cancel)

    @rule(place=st.sampled_from((*GROUPS, ("dead", None))), cancel=_moments)
    def redrive(self, place: tuple[str, str | None], cancel: int | None) -> None:
        self.graves.redrive(*place, cancel)

    @rule(who=_players, number=st.integers(1, 3), left=st.integers(-1, 3), away=st.booleans())
    def finish(self, who: Who, number: int, left: int, away: bool) -> None:  # noqa: FBT001 - drawn
        self.retaining.finish(self.who(who), number, left, away=away)

    @precondition(lambda self: self.removals is not None)
    @rule(topic=_topics, which=_which)
    def delete_entry(self, topic: str, which: int) -> None:
        self._remover().delete_entry(topic, which)

    @precondition(lambda self: self.removals is not None)
    @rule(topic=_topics, length=st.integers(0, 5))
    def trim(self, topic: str, length: int) -> None:
        self._remover().trim(topic, length)

    @precondition(lambda self: self.removals is not None)
    @rule(group=_groups, topic=st.sampled_from((*TOPICS, None, None, None)))
    def destroy(self, group: tuple[str, str], topic: str | None) -> None:
        if topic is None:
            self._remover().destroy_group(*group)
        else:
            self._remover().delete_topic(topic)

    def _remover(self) -> Removals:
        assert self.removals is not None, "the precondition of each rule that asks for it"
        return self.removals


def _rival(who: Who) -> Who:
    """Return another one of the same group."""
    return Who(*who.place, "y" if who.consumer == "x" else "x")


def _administrator(subject: StreamBackend, find: FindAdministrator | None) -> Administrator | None:
    if find is not None:
        return find(subject)
    return subject if isinstance(subject, Administrator) else None
