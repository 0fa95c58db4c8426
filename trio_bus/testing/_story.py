"""Tells a run to a human: who did what when, and which invariant broke."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ._invariants import InvariantBroken
from ._line import FAULTS, Line

CUT = 12
"""So many lines in a row that do not concern what broke are told; more are cut."""
KEPT = 4
"""Of those that are cut so many stay at either end."""
QUIET = 1.0
"""Seconds in which nothing happens that the story points out."""


def tell(lines: Sequence[Line], broken: InvariantBroken | None = None, replay: str = "") -> str:
    """Tell what happened, in columns: the time, a mark, who, and what.

    ``!`` marks what somebody made go wrong, ``>`` what concerns the entry that *broken* is about.
    Of long parts that concern neither only the ends are told. The text is the same for the same
    lines.

    Args:
      lines: The whole journal, or a part of it.
      broken: What was wrong, told at the end; None if nothing was.
      replay: The command that does it all again.
    """
    width = max((len(line.actor) for line in lines), default=0)
    told = [_row(line, width, _mark(line, broken)) for line in lines]
    kept = set(range(len(lines))) if broken is None else _kept(lines, broken)
    rows = list(_with_gaps(lines, told, kept))
    if broken is not None:
        rows += ["", f"broken: invariant {broken.number}, {broken.name}", f"  {broken.words}"]
        if broken.line is not None:
            rows.append(f"  at {broken.line.time:.3f} s: {broken.line.actor} {broken.line}")
    if replay:
        rows += ["", f"replay: {replay}"]
    return "\n".join(rows)


def _row(line: Line, width: int, mark: str) -> str:
    return f"{line.time:10.4f} {mark} {line.actor:<{width}}  {line}"


def _mark(line: Line, broken: InvariantBroken | None) -> str:
    if line.what in FAULTS:
        return "!"
    return ">" if broken is not None and _concerns(line, broken) else " "


def _concerns(line: Line, broken: InvariantBroken) -> bool:
    """Say whether a line is about the entry, the message or the place that broke."""
    about = broken.line
    if about is None:
        return line.entry_id is not None and str(line.entry_id) in broken.words
    if line is about:
        return True
    if about.entry_id is not None:
        return line.entry_id == about.entry_id and line.topic == about.topic
    return bool(about.label) and line.label == about.label


def _kept(lines: Sequence[Line], broken: InvariantBroken) -> set[int]:
    """Choose the lines that are told: those with a mark, and the ends of what is between."""
    kept: set[int] = set()
    start = 0
    for place in [*(at for at, it in enumerate(lines) if _mark(it, broken) != " "), len(lines)]:
        plain = range(start, place)
        cut = len(plain) > CUT
        kept.update(() if cut else plain)
        kept.update([*plain[:KEPT], *plain[-KEPT:]] if cut else ())
        kept.add(place)
        start = place + 1
    return kept


def _with_gaps(lines: Sequence[Line], told: Iterable[str], kept: set[int]) -> Iterator[str]:
    """Walk over the rows that are kept, and say what is missing between them."""
    missing, now = 0, lines[0].time if lines else 0.0
    for place, row in enumerate(told):
        if place not in kept:
            missing += 1
            continue
        if missing:
            yield f"{'...':>10}   {missing} lines"
        elif lines[place].time - now >= QUIET:
            yield f"{'...':>10}   {lines[place].time - now:.3f} s in which nothing happens"
        missing, now = 0, lines[place].time
        yield row
