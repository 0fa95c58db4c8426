"""The state machine: programs that publish and subscribe, and whatever happens to them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from trio_bus._modes import AckMode
from trio_bus._retention import Retention

from .cuts import Cuts, Disconnect
from .handling import ENDINGS, MEANWHILE, Do
from .play import FANS, GROUPS, LEASE, TOPICS, Form, Play, Rules, Subject
from .program import Way
from .publishing import Odd

_topics = st.sampled_from(TOPICS)
_groups = st.sampled_from(GROUPS)
_fans = st.sampled_from(FANS)
_which = st.integers(0, 7)
_forms = st.builds(
    Form,
    pulls=st.booleans(),
    ack_mode=st.just(None),
    max_in_flight=st.integers(1, 3),
    max_in_flight_bytes=st.sampled_from((None, None, 1, 200)),
    handler_units=st.sampled_from((None, None, 1.5, 6.0)),
    drain_units=st.sampled_from((0.0, 1.0, 3.0)),
)
_batches = st.builds(
    Form,
    pulls=st.booleans(),
    batch_units=st.sampled_from((0.0, 0.5, 2.0)),
    max_in_flight=st.integers(2, 5),
    handler_units=st.sampled_from((None, 6.0)),
    drain_units=st.sampled_from((0.0, 1.0)),
)
_manual = st.builds(
    Form,
    ack_mode=st.just(AckMode.MANUAL),
    max_in_flight=st.integers(1, 3),
    handler_units=st.sampled_from((1.5, 6.0)),
    drain_units=st.sampled_from((0.0, 1.0)),
)
_at_most_once = st.builds(
    Form,
    ack_mode=st.just(AckMode.AUTO_ON_RECEIVE),
    max_in_flight=st.integers(1, 3),
    drain_units=st.sampled_from((0.0, 1.0)),
)
_kept = (None, None, None, Retention(max_length=0), Retention(max_length=2), Retention(max_age=2.0))
_rules = st.builds(
    Rules,
    max_retry=st.integers(0, 3),
    buries=st.booleans(),
    retention=st.sampled_from(_kept),
    max_parked=st.sampled_from((None, None, None, 10_000, 1)),
)


class BusMachine(RuleBasedStateMachine):
    """Programs that publish and subscribe, and whatever their handlers do and is done to them."""

    subject: ClassVar[Subject]

    play: Play

    @initialize(
        rules=st.tuples(_rules, _rules, _rules),
        where=_groups,
        form=_forms,
        seed=st.integers(0, 2**32 - 1),
    )
    def begin(self, rules: Sequence[Rules], where: tuple[str, str], form: Form, seed: int) -> None:
        self.play = Play(self.subject, rules, seed)
        self.play.subscribe(where, form)

    def teardown(self) -> None:
        if not hasattr(self, "play"):
            return
        try:
            if sys.exc_info()[0] is None:  # nothing was broken before
                self.finish()
        finally:
            note(self.play.story())
            self.play.close()

    def finish(self) -> None:
        self.play.finish()

    @rule(where=_groups, form=_forms | _manual | _at_most_once | _batches)
    def subscribe(self, where: tuple[str, str], form: Form) -> None:
        if len(self.play.programs) < 4:
            self.play.subscribe(where, form)

    @rule(where=_fans, form=_forms | _manual | _at_most_once)
    def fan_out(self, where: tuple[str, str], form: Form) -> None:
        self.subscribe(where, form)

    @rule(topic=_topics, number=st.integers(1, 4))
    def publish(self, topic: str, number: int) -> None:
        self.play.publishing.publish(topic, number)

    @rule(topic=_topics, odd=st.sampled_from(Odd))
    def publish_odd(self, topic: str, odd: Odd) -> None:
        self.play.publishing.publish_odd(topic, odd)

    @rule(topic=_topics, units=st.sampled_from((0.0, 1.5, 5.0)))
    def schedule(self, topic: str, units: float) -> None:
        self.play.publishing.schedule(topic, units)

    @rule(which=_which)
    def cancel_scheduled(self, which: int) -> None:
        self.play.publishing.cancel_scheduled(which)

    @precondition(lambda self: self.play.running)
    @rule(which=_which, order=st.sampled_from(MEANWHILE))
    def tell(self, which: int, order: Do) -> None:
        self.play.tell(which, order)

    @precondition(lambda self: self.play.running)
    @rule(which=_which, order=st.sampled_from(ENDINGS))
    def end_one(self, which: int, order: Do) -> None:
        self.play.tell(which, order)
        self.play.tell(which, Do.RETURN)

    @precondition(lambda self: self.play.running)
    @rule(order=st.sampled_from(ENDINGS))
    def end_all(self, order: Do) -> None:
        for which in range(len(self.play.running)):
            self.play.tell(which, order)
            self.play.tell(which, Do.RETURN)

    @precondition(lambda self: self.play.running)
    @rule()
    def let_handlers_outlive_a_lease(self) -> None:
        self.play.wait(LEASE + 1)

    @precondition(lambda self: self.play.programs)
    @rule(which=_which, way=st.sampled_from(Way))
    def leave(self, which: int, way: Way) -> None:
        self.play.leave(which, way)

    @precondition(lambda self: self.play.programs and self.play.running)
    @rule(which=_which, way=st.sampled_from(Way))
    def leave_resisting(self, which: int, way: Way) -> None:
        for handler in range(len(self.play.running)):
            self.play.tell(handler, Do.RESIST)
        self.play.leave(which, way)

    @precondition(lambda self: self.play.programs)
    @rule(which=_which)
    def pause_or_resume(self, which: int) -> None:
        self.play.halt(which)

    @precondition(lambda self: self.play.programs)
    @rule(which=_which)
    def kill(self, which: int) -> None:
        self.play.kill(which)

    @precondition(lambda self: self.play.running)
    @rule(which=_which)
    def kill_at_work(self, which: int) -> None:
        self.play.kill_at_work(which)
        self.play.wait(LEASE + 1)

    @precondition(lambda self: self.play.operating.dead)
    @rule(which=_which, one=st.booleans())
    def redrive(self, which: int, one: bool) -> None:  # noqa: FBT001 - drawn
        self.play.operating.redrive(which, one=one)

    @rule(units=st.sampled_from((0.25, 1.0, 2.5)))
    def let_time_pass(self, units: float) -> None:
        self.play.wait(units)

    @invariant()
    def all_promises_are_kept(self) -> None:
        self.play.settle()


class CutMachine(BusMachine):
    """Programs whose connections end now and then, and once before the end."""

    disconnect: ClassVar[Disconnect]

    @precondition(lambda self: self.play.programs)
    @rule()
    def lose_all_connections(self) -> None:
        Cuts(self.play, type(self).disconnect).happen()

    def finish(self) -> None:
        self.lose_all_connections()
        super().finish()
