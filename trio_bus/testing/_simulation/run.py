"""One seed, one run, one verdict."""

from __future__ import annotations

import hashlib
from typing import final

import attrs
import trio
from trio.testing import MockClock

from trio_bus._chance import chance_of
from trio_bus._exception_groups import leaves
from trio_bus._wall import wall_shows
from trio_bus.testing._invariants import InvariantBroken
from trio_bus.testing._journal import Journal
from trio_bus.testing._line import Line
from trio_bus.testing._schedule import schedule_of
from trio_bus.testing._story import tell
from trio_bus.testing._wording import kind_of

from .limits import check_seed
from .plan import Plan, draw
from .scenario import Scenario
from .scenarios import SCENARIOS
from .watch import Watch
from .world import World, now


@attrs.frozen(kw_only=True)
class Run:
    """What happened in one run."""

    scenario: Scenario
    seed: int
    lines: tuple[Line, ...]
    """The journal: who did what when, in order."""
    seconds: float
    """Of virtual time."""
    turns: int
    """Of trio's loop."""

    @property
    def digest(self) -> str:
        """A hash of the journal: two runs in which the same happened have the same one."""
        text = "\n".join(f"{it.time!r} {it.actor} {it}" for it in self.lines)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    @property
    def replay(self) -> str:
        """What does it all again: the command, or of a scenario of your own the call."""
        if SCENARIOS.get(self.scenario.name) == self.scenario:
            return f"trio-bus simulate --replay {self.scenario.name}:{self.seed}"
        return f"simulate(scenario, {self.seed}) with the scenario {self.scenario.name!r}"

    def story(self, broken: InvariantBroken | None = None) -> str:
        """Tell what happened, line by line; of a failed run what concerns *broken*, and that."""
        return tell(self.lines, broken, self.replay)


@final
class SimulationFailed(AssertionError):
    """A run broke an invariant, never ended, or ended with an error that nobody expects.

    Its text is the story of the run, with what was wrong and how to replay it.
    """

    def __init__(self, run: Run, error: BaseException) -> None:
        invariant = next((it for it in leaves(error) if isinstance(it, InvariantBroken)), None)
        broken = _told(error)
        super().__init__("\n".join([*broken, "", run.story(invariant)]))
        self.run: Run = run
        self.invariant: InvariantBroken | None = invariant
        """The invariant that broke; None if the run never ended, or ended with another error."""
        self.broken: tuple[str, ...] = broken
        """What was wrong, in words."""


def simulate(scenario: Scenario, seed: int) -> Run:
    """Run a whole world once, in virtual time; the seed decides everything in it.

    The same scenario and seed give the same run, in every process and on every machine: see
    `Run.digest`. It needs no server and no network, and leaves no state behind. Not to be called
    inside a running trio.

    Args:
      scenario: What there is, and what can happen.
      seed: From 0 on.

    Raises:
      SimulationFailed: an invariant was broken.
      ValidationError: the seed is none.
    """
    check_seed(seed)
    return perform(draw(scenario, seed), schedule=seed)


def perform(plan: Plan, schedule: int) -> Run:
    """Let a plan happen; *schedule* decides the order of tasks that can run at once.

    Raises:
      SimulationFailed: an invariant was broken.
    """
    journal, watch, error = Journal(), Watch(trio.CancelScope()), None
    with chance_of(plan.seed), schedule_of(schedule), wall_shows(now):
        clock = MockClock(autojump_threshold=0)
        world = World(plan, journal, clock, watch)
        try:
            trio.run(world.run, clock=clock, instruments=[watch])
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as raised:  # noqa: BLE001 - whatever it is, it has a story
            error = raised
    run = Run(
        scenario=plan.scenario,
        seed=plan.seed,
        lines=tuple(journal.lines[: world.judging.length]),
        seconds=clock.current_time(),
        turns=watch.turns,
    )
    if error is not None:
        raise SimulationFailed(run, error) from error
    return run


def _told(error: BaseException) -> tuple[str, ...]:
    """Say in a line for each what a run ended with."""
    return tuple(
        dict.fromkeys(
            str(leaf) if isinstance(leaf, InvariantBroken) else kind_of(leaf)
            for leaf in leaves(error)
        )
    )
