"""The one line that certifies a backend."""

from __future__ import annotations

import unittest
from typing import ClassVar

from hypothesis import settings as Settings  # noqa: N812 - a class, beside attributes of that name
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from trio_bus.testing._patient import patient_settings

from ._machine import BackendMachine
from ._subject import FindAdministrator, Subject
from ._tally import Tally
from ._world import OpenBackend


class BackendConformanceTest(unittest.TestCase):
    """Runs a state machine.

    ``settings`` says how hard Hypothesis tries; ``tally``, as text, what was done so far.
    """

    settings: ClassVar[Settings]
    machine: ClassVar[type[RuleBasedStateMachine]]
    tally: ClassVar[Tally]

    def runTest(self) -> None:  # noqa: N802 - of unittest
        """Run many programs."""
        run_state_machine_as_test(type(self).machine, settings=type(self).settings)


def backend_conformance(
    open_backend: OpenBackend,
    *,
    administrator: FindAdministrator | None = None,
    virtual_time: bool = False,
    lease: float = 0.2,
) -> type[BackendConformanceTest]:
    """Make the test case that certifies a backend, in one line of a module of tests.

    Hypothesis runs random programs over every operation of `abc.StreamBackend` and
    `abc.GroupMember`: several topics, groups and consumers at once, with time that passes,
    consumers that leave, crash and come again, and operations that are cancelled somewhere in the
    middle. Every answer is compared with what the streams of `MemoryBackend` answer, and after
    each step so is ``info`` of every topic. A result that depends on which comes first, a lease or
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

    counted = Tally()

    class Machine(BackendMachine):
        subject = Subject(open_backend, administrator, virtual_time, lease, counted)

    class BackendConformance(BackendConformanceTest):
        """One backend."""

        settings = patient_settings()
        machine = Machine
        tally = counted

    return BackendConformance
