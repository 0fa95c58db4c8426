"""The state machine, the public suites, and the one line that certifies a backend for the bus."""

from __future__ import annotations

import sys
import unittest
from collections.abc import Callable, Sequence
from typing import ClassVar

import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from trio.testing import MockClock

from trio_bus._config import AckMode
from trio_bus.testing._public_suites import PUBLIC_SUITES, Stage, Test

from .handling import Do
from .play import GROUPS, TOPICS, Form, OpenBackend, Play, Rules
from .program import Way

UNIT = 1.0
"""Seconds of virtual time."""
REAL_UNIT = 0.2
"""Seconds of real time: all that waits, waits for some of these."""
LIMIT = 120.0
"""Seconds that one test of a public suite may take."""

_topics = st.sampled_from(TOPICS)
_groups = st.sampled_from(GROUPS)
_which = st.integers(0, 7)
_forms = st.builds(
    Form,
    pulls=st.booleans(),
    ack_mode=st.just(None),
    max_in_flight=st.integers(1, 3),
    handler_units=st.sampled_from((None, None, 1.5, 6.0)),
    drain_units=st.sampled_from((0.0, 1.0, 3.0)),
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
_rules = st.builds(Rules, max_retry=st.integers(0, 3), buries=st.booleans())


class _Machine(RuleBasedStateMachine):
    """Programs that publish and subscribe, and whatever their handlers do and is done to them."""

    open_backend: ClassVar[OpenBackend]
    virtual_time: ClassVar[bool]

    play: Play

    @initialize(
        rules=st.tuples(_rules, _rules, _rules),
        where=_groups,
        form=_forms,
        seed=st.integers(0, 2**32 - 1),
    )
    def begin(
        self, rules: Sequence[Rules], where: tuple[str, str], form: Form, seed: int
    ) -> None:
        virtual = type(self).virtual_time
        unit = UNIT if virtual else REAL_UNIT
        self.play = Play(
            type(self).open_backend, unit, virtual_time=virtual, rules=rules, seed=seed
        )
        self.play.subscribe(where, form)

    def teardown(self) -> None:
        if not hasattr(self, "play"):
            return
        try:
            if sys.exc_info()[0] is None:  # nothing was broken before
                self.play.finish()
        finally:
            self.play.close()

    @rule(where=_groups, form=_forms | _forms | _manual | _at_most_once)
    def subscribe(self, where: tuple[str, str], form: Form) -> None:
        if len(self.play.programs) < 4:
            self.play.subscribe(where, form)

    @rule(topic=_topics, number=st.integers(1, 4))
    def publish(self, topic: str, number: int) -> None:
        self.play.publish(topic, number)

    @rule(topic=_topics)
    def publish_nowait(self, topic: str) -> None:
        self.play.publish_nowait(topic)

    @rule(topic=_topics)
    def publish_twice(self, topic: str) -> None:
        self.play.publish_twice(topic)

    @rule(topic=_topics, units=st.sampled_from((0.0, 2.0)))
    def publish_expiring(self, topic: str, units: float) -> None:
        self.play.publish(topic, 1, expires_units=units)

    @rule(topic=_topics)
    def publish_oversized(self, topic: str) -> None:
        self.play.publish_oversized(topic)

    @rule(topic=_topics)
    def publish_foreign(self, topic: str) -> None:
        self.play.publish_foreign(topic)

    @rule(topic=_topics, units=st.sampled_from((0.0, 1.5, 5.0)))
    def schedule(self, topic: str, units: float) -> None:
        self.play.schedule(topic, units)

    @rule(which=_which)
    def cancel_scheduled(self, which: int) -> None:
        self.play.cancel_scheduled(which)

    @precondition(lambda self: self.play.running)
    @rule(which=_which, order=st.sampled_from(Do))
    def tell(self, which: int, order: Do) -> None:
        self.play.tell(which, order)

    @precondition(lambda self: self.play.running)
    @rule(which=_which, order=st.sampled_from((Do.RETURN, Do.FAIL, Do.RETRY, Do.RELEASE)))
    def end_one(self, which: int, order: Do) -> None:
        self.play.tell(which, order)
        self.play.tell(which, Do.RETURN)

    @precondition(lambda self: self.play.programs)
    @rule(which=_which, way=st.sampled_from(Way))
    def leave(self, which: int, way: Way) -> None:
        self.play.leave(which, way)

    @precondition(lambda self: self.play.programs)
    @rule(which=_which)
    def kill(self, which: int) -> None:
        self.play.kill(which)

    @rule(units=st.sampled_from((5.0, 0.25, 1.0, 2.5)))
    def let_time_pass(self, units: float) -> None:
        self.play.wait(units)

    @invariant()
    def all_promises_are_kept(self) -> None:
        if hasattr(self, "play"):
            self.play.settle()


class _Case(unittest.TestCase):
    """What `bus_conformance` returns is one of these."""

    settings: ClassVar[settings] = settings(
        deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    machine: ClassVar[type[RuleBasedStateMachine]]

    def test_random_programs(self) -> None:
        """Run random programs; every invariant holds in all of them."""
        run_state_machine_as_test(self.machine, settings=self.settings)


def _method(
    test: Test, open_backend: OpenBackend, *, virtual_time: bool
) -> Callable[[unittest.TestCase], None]:
    """Make a method of a test case of one test of a public suite."""

    async def play() -> None:
        async with open_backend() as backend:
            with trio.fail_after(LIMIT):
                await test(Stage(backend))

    def method(_: unittest.TestCase) -> None:
        trio.run(play, clock=MockClock(autojump_threshold=0) if virtual_time else None)

    method.__doc__ = test.__doc__
    return method


def bus_conformance(
    open_backend: OpenBackend, *, virtual_time: bool = False
) -> type[unittest.TestCase]:
    """Make the test case that certifies a backend for whole subscriptions.

    ::

        TestMyBus = bus_conformance(open_my_backend)

    It has one test of random programs, ``test_random_programs``: a state machine of Hypothesis that
    publishes, subscribes in every form, lets handlers do whatever they can do, and leaves or kills
    subscriptions. After each step every invariant that can be seen is checked; in the end all of
    them are. Each test of the public suites that applies is a test of its own, such as
    ``test_watermill_publish_subscribe``.

    Args:
      open_backend: Opens the backend that is judged, as an asynchronous context manager. It is
        opened once for each program and each test; they use topics that nobody else uses.
      virtual_time: Whether the backend waits for nothing but trio's clock, so that no time passes.
        With a backend that speaks to a server it must not be set.

    Set ``settings`` of what this returns to run more or fewer programs.
    """
    machine = type(
        "BusMachine",
        (_Machine,),
        {"open_backend": staticmethod(open_backend), "virtual_time": virtual_time},
    )
    tests = {
        f"test_{suite}_{test.__name__}": _method(test, open_backend, virtual_time=virtual_time)
        for suite, tests in PUBLIC_SUITES.items()
        for test in tests
    }
    return type("BusConformance", (_Case,), {"machine": machine, **tests})
