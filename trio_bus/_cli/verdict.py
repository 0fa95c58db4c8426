"""Compares what the demo came to with what the file says. Pure."""

from __future__ import annotations

import attrs

from .tally import Tally
from .weather import Expected
from .work import ALERTS, CLIMATE, WORKER


@attrs.frozen
class DeadReading:
    """A record in the dead-letter topic."""

    group: str
    """The group that gave it up."""
    attempts: int
    unchanged: bool
    """Whether it has the bytes that were published."""


@attrs.frozen(kw_only=True)
class Outcome:
    """What the demo came to."""

    published: int
    tally: Tally
    held: int
    """Entries of the worker when it was killed."""
    dead: tuple[DeadReading, ...]
    left: int
    """Entries that a group has not finished."""


@attrs.frozen
class Check:
    """One line of the proof."""

    what: str
    found: int
    expected: str
    ok: bool


def checks(outcome: Outcome, expected: Expected) -> list[Check]:
    """Return the proof, line by line; it holds if every line is ok."""
    tally = outcome.tally
    total = len(expected.dates)
    missing = sum(len(expected.dates - handled) for handled in tally.handled.values())
    means = sum(tally.means.get(month) == mean for month, mean in expected.means.items())
    storms = len(tally.storms)
    storms_agree = not tally.storms ^ expected.storms
    return [
        _equal("readings published", outcome.published, total),
        _equal(f"handled by group {CLIMATE}", len(tally.handled[CLIMATE]), total),
        _least("... in the process that was killed", tally.by_worker.get(WORKER, 0), 1),
        _equal(f"handled by group {ALERTS}", len(tally.handled[ALERTS]), total),
        _least("held by the process when it was killed", outcome.held, 1),
        _least("redelivered", _redelivered(outcome), max(outcome.held, 1)),
        _least("handled twice, counted once", tally.repeated, 0),
        _equal("missing", missing, 0),
        _dead(outcome.dead),
        _equal("left in the groups", outcome.left, 0),
        Check("storm warnings", storms, f"{len(expected.storms)}", storms_agree),
        Check(
            "monthly means equal to the file's",
            means,
            f"{len(expected.means)}",
            tally.means == expected.means,
        ),
    ]


def _equal(what: str, found: int, expected: int) -> Check:
    return Check(what, found, f"{expected:,}", found == expected)


def _least(what: str, found: int, least: int) -> Check:
    return Check(what, found, f"at least {least}" if least else "any", found >= least)


def _dead(dead: tuple[DeadReading, ...]) -> Check:
    """Each group has to give up the corrupt record once, with its bytes."""
    groups = sorted(record.group for record in dead)
    ok = groups == sorted([ALERTS, CLIMATE]) and all(record.unchanged for record in dead)
    return Check("dead-lettered: the corrupt record, by each group", len(dead), "2", ok)


def _redelivered(outcome: Outcome) -> int:
    """Count readings and the corrupt record, which the worker may have held too."""
    readings = sum(len(uids) for uids in outcome.tally.redelivered.values())
    return readings + sum(record.attempts > 1 for record in outcome.dead)
