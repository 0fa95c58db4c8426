"""The state machine, and the one line that certifies a backend."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Sequence
from typing import ClassVar

import attrs
from hypothesis import HealthCheck, event
from hypothesis import settings as Settings  # noqa: N812 - a class, beside attributes of that name
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from trio_bus._backend import StreamBackend
from trio_bus._uid import new_uid

from ._administrator import Administrator
from ._cast import GROUPS, PLAYERS, TOPICS, Shape, Who
from ._consuming import Consuming, Pick
from ._meetings import Meetings
from ._publishing import Publishing, When
from ._removals import Removals
from ._world import OpenBackend, World

FindAdministrator = Callable[[StreamBackend], Administrator]

_topics = st.sampled_from(("a", "a", "b", "dead"))
_players = st.sampled_from(PLAYERS)
_groups = st.sampled_from(GROUPS)
_keys = st.sampled_from((None, None, "k", "l"))
_key_lists = st.lists(_keys, min_size=1, max_size=4)
_counts = st.integers(1, 4)
_which = st.integers(0, 3)
_delays = st.sampled_from((0.0, 0.0, 1.5, 6.0))
_windows = st.sampled_from((2.0, 10.0))
_uids = st.sampled_from(("1-m", "2-m", "3-n", "4-n"))
_whens = st.sampled_from((0.0, 1.5, 1.5, 6.0, "the past", "the future"))
_cancels = st.sampled_from((None, None, None, None, None, 0, 1, 2, 3))
_picks = st.builds(
    Pick,
    word=st.sampled_from(("ack", "retry", "release", "bury")),
    which=_which,
    ours=st.sampled_from((True, True, True, False)),
    delay=_delays,
)
_pick_lists = st.lists(_picks, min_size=1, max_size=3)
_happenings = st.sampled_from(
    ("an append", "a cancellation", "an append and a cancellation", "nothing")
)


@attrs.frozen
class Subject:
    """What is tested, and how; see `backend_conformance`."""

    open_backend: OpenBackend
    administrator: FindAdministrator | None
    virtual_time: bool
    lease: float


class ConformanceTest(unittest.TestCase):
    """Runs a state machine; ``settings`` says how hard Hypothesis tries."""

    settings: ClassVar[Settings]
    machine: ClassVar[type[RuleBasedStateMachine]]

    def runTest(self) -> None:  # noqa: N802 - of unittest
        """Run many programs."""
        run_state_machine_as_test(type(self).machine, settings=type(self).settings)


def _has_given(machine: BackendMachine) -> bool:
    return bool(machine.world.given)


class BackendMachine(RuleBasedStateMachine):
    """Does to one backend whatever the contract allows, and compares all that it tells."""

    world: World
    removals: Removals | None = None

    subject: ClassVar[Subject]

    @initialize(
        max_attempt=st.sampled_from((4, 4, 3, 2, 1)),
        dead_letters=st.booleans(),
        tend_units=st.sampled_from((0.0, 0.5, 3.0)),
    )
    def begin(self, max_attempt: int, dead_letters: bool, tend_units: float) -> None:  # noqa: FBT001 - drawn
        subject = self.subject
        shape = Shape(
            f"conformance-{new_uid()}", subject.lease / 4, max_attempt, dead_letters, tend_units
        )
        self.world = World(subject.open_backend, shape, virtual_time=subject.virtual_time)
        self.publishing = Publishing(self.world)
        self.consuming = Consuming(self.world)
        self.meetings = Meetings(self.world, self.publishing, self.consuming)
        administrator = _administrator(self.world.subject, subject.administrator)
        if administrator is not None:
            self.removals = Removals(self.world, administrator)
        for topic, group in GROUPS[:3]:
            self.publishing.create_group(topic, group, 0, None)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            event(self.world.undecided or "judged to the end")
            self.world.close()

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

    @rule(topic=_topics, uid=_uids, cancel=_cancels)
    def cancel_scheduled(self, topic: str, uid: str, cancel: int | None) -> None:
        self.publishing.cancel_scheduled(topic, uid, cancel)

    @rule(group=_groups, start=st.sampled_from((0, None, 1, 2)), cancel=_cancels)
    def create_group(self, group: tuple[str, str], start: int | None, cancel: int | None) -> None:
        self.publishing.create_group(*group, start, cancel)

    @rule(who=_players, count=_counts, cancel=_cancels)
    def read(self, who: Who, count: int, cancel: int | None) -> None:
        self.consuming.read(who, count, cancel)

    @rule(who=_players, then=_happenings)
    def wait_to_read(self, who: Who, then: str) -> None:
        self.meetings.wait_to_read(who, then)

    @precondition(_has_given)
    @rule(who=_players, picks=_pick_lists, cancel=_cancels)
    def settle(self, who: Who, picks: Sequence[Pick], cancel: int | None) -> None:
        self.consuming.settle(who, picks, cancel)

    @precondition(_has_given)
    @rule(who=_players, picks=_pick_lists)
    def renew(self, who: Who, picks: Sequence[Pick]) -> None:
        self.consuming.renew(who, picks)

    @rule(who=_players, cancel=_cancels)
    def look(self, who: Who, cancel: int | None) -> None:
        self.consuming.look(who, cancel)

    @rule(who=_players, count=_counts, cancel=_cancels, book=st.booleans(), look=st.booleans())
    def take_over(self, who: Who, count: int, cancel: int | None, book: bool, look: bool) -> None:  # noqa: FBT001 - drawn
        if look:
            self.consuming.look(who)
        self.consuming.take_over(who, count, cancel, book=book)

    @precondition(_has_given)
    @rule(who=_players, which=_which, cancel=_cancels)
    def take_booked(self, who: Who, which: int, cancel: int | None) -> None:
        self.consuming.take_booked(who, which, cancel)

    @precondition(_has_given)
    @rule(who=_players, which=_which)
    def keep_booking(self, who: Who, which: int) -> None:
        self.consuming.keep_booking(who, which)

    @precondition(_has_given)
    @rule(who=_players, which=_which)
    def give_up_booking(self, who: Who, which: int) -> None:
        self.consuming.give_up_booking(who, which)

    @precondition(_has_given)
    @rule(who=_players, other=_players, pick=_picks)
    def be_woken_by_a_word(self, who: Who, other: Who, pick: Pick) -> None:
        other = Who(who.topic, who.group, other.consumer)
        self.meetings.wake_by_word(who, other, pick)

    @rule(who=_players, uid=_uids, delay=_delays)
    def be_woken_by_a_schedule(self, who: Who, uid: str, delay: float) -> None:
        self.meetings.wake_by_schedule(who, uid, delay)

    @rule(who=_players)
    def forget(self, who: Who) -> None:
        self.consuming.forget(who)

    @rule(who=_players, crash=st.booleans())
    def part(self, who: Who, crash: bool) -> None:  # noqa: FBT001 - drawn
        self.world.part(who, crash=crash)

    @rule(units=st.sampled_from((5.0, 0.25, 1.0, 2.5)))
    def let_time_pass(self, units: float) -> None:
        self.world.sleep(units * self.world.shape.unit)

    @precondition(lambda self: self.removals is not None)
    @rule(topic=_topics, which=_which)
    def delete_entry(self, topic: str, which: int) -> None:
        if self.removals is not None:
            self.removals.delete_entry(topic, which)

    @precondition(lambda self: self.removals is not None)
    @rule(topic=_topics, length=st.integers(0, 5))
    def trim(self, topic: str, length: int) -> None:
        if self.removals is not None:
            self.removals.trim(topic, length)

    @precondition(lambda self: self.removals is not None)
    @rule(group=_groups, topic=st.sampled_from((*TOPICS, None, None, None)))
    def destroy(self, group: tuple[str, str], topic: str | None) -> None:
        if self.removals is not None:
            if topic is None:
                self.removals.destroy_group(*group)
            else:
                self.removals.delete_topic(topic)


def _administrator(subject: StreamBackend, find: FindAdministrator | None) -> Administrator | None:
    if find is not None:
        return find(subject)
    return subject if isinstance(subject, Administrator) else None


def backend_conformance(
    open_backend: OpenBackend,
    *,
    administrator: FindAdministrator | None = None,
    virtual_time: bool = False,
    lease: float = 0.2,
) -> type[ConformanceTest]:
    """Make the test case that certifies a backend, in one line of a module of tests.

    Hypothesis runs random programs over every operation of `abc.StreamBackend` and
    `abc.GroupMember`: several topics, groups and consumers at once, with time that passes,
    consumers that leave, crash and come again, and operations that are cancelled somewhere in the
    middle. Every answer is compared with what the streams of `MemoryBackend` answer, and after
    each step so is `info` of every topic. A result that depends on which comes first, a lease or
    the operation, is never asked for: the suite lets such a moment pass.

    Args:
      open_backend: Opens the backend, once for each program. It need not be empty: programs use
        topics that nobody else does.
      administrator: Finds who removes entries, groups and streams of that backend; without it the
        backend itself, if it has the methods of `Administrator`. If there is none, nothing is
        removed.
      virtual_time: Whether the clock jumps whenever all tasks wait. Only for a backend that waits
        for nothing outside of trio: no socket, no file, no thread.
      lease: The lease of all consumers, in seconds, at least 0.05; what waits, waits for parts of
        it. Longer where an operation takes long: a program whose operations take a quarter of it
        is given up.

    Returns:
      A test case; its ``settings`` are Hypothesis settings, as of any state machine.

    Raises:
      ValueError: *lease* is too short.
    """
    if lease < 0.05:
        raise ValueError(f"lease: {lease!r} is below 0.05 s")

    class Machine(BackendMachine):
        subject = Subject(open_backend, administrator, virtual_time, lease)

    class BackendConformance(ConformanceTest):
        """One backend."""

        settings = Settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
        machine = Machine

    return BackendConformance
