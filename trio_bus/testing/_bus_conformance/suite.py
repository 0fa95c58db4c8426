"""The state machine, the public suites, and the one line that certifies a backend for the bus."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import ClassVar

import trio
from hypothesis import settings as Settings  # noqa: N812 - a class, beside attributes of that name
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from trio.testing import MockClock

from trio_bus.testing._patient import patient_settings
from trio_bus.testing._public_suites import PUBLIC_SUITES, Stage, Test

from .cuts import Disconnect
from .machine import BusMachine, CutMachine
from .play import OpenBackend, Subject

LIMIT = 120.0
"""Seconds that one test of a public suite may take."""


class BusConformanceTest(unittest.TestCase):
    """Random programs, and the public suites; ``settings`` says how hard Hypothesis tries."""

    settings: ClassVar[Settings]
    machine: ClassVar[type[RuleBasedStateMachine]]

    def test_random_programs(self) -> None:
        """Run random programs; every invariant holds in all of them."""
        run_state_machine_as_test(type(self).machine, settings=type(self).settings)


def bus_conformance(
    open_backend: OpenBackend,
    *,
    virtual_time: bool = False,
    disconnect: Disconnect | None = None,
) -> type[BusConformanceTest]:
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
      disconnect: Ends all connections of such a backend, as a network does; plain or asynchronous.
        Random programs call it now and then when nothing is under way, and once before the end;
        they demand that commands are answered and new entries are read soon after. Without it
        connections stay.

    Returns:
      A test case; its ``settings`` are Hypothesis settings, as of any state machine.
    """

    class Machine(BusMachine):
        subject = Subject(open_backend, virtual_time=virtual_time)

    class Interrupted(CutMachine):
        subject = Machine.subject

    if disconnect is not None:
        Interrupted.disconnect = staticmethod(disconnect)

    class BusConformance(BusConformanceTest):
        """One backend."""

        settings = patient_settings()
        machine = Machine if disconnect is None else Interrupted

    for suite, tests in PUBLIC_SUITES.items():
        for test in tests:
            method = _method(test, open_backend, virtual_time=virtual_time)
            setattr(BusConformance, f"test_{suite}_{test.__name__}", method)
    return BusConformance


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
