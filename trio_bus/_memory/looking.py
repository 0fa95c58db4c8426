"""Looking around: what is due is appended, the group is tended, what can be taken is told."""

from __future__ import annotations

from collections.abc import Callable

from trio_bus._errors import RemoteError
from trio_bus._look import Look
from trio_bus._names import SUSPECT
from trio_bus._patience import longest_quiet

from . import private, retaining
from .custody import Custody, Place
from .errors import StreamError
from .schedule import Schedule
from .store import Store
from .stream_commands import xadd
from .takeover import claimable, first_end, tend

_MOST_DUE = 100
"""How many scheduled messages one look appends."""


def look(
    store: Store, custody: Custody, schedule: Schedule, now_ms: int, wake: Callable[[], None]
) -> Look:
    """Look around for one membership; see `GroupMember.look`. *wake* wakes the group.

    Raises:
      StreamError: NOGROUP, WRONGTYPE.
    """
    place = custody.place()
    private.keep(store, custody.membership, now_ms)
    refusal = _append_due(store, custody.membership.topic, schedule, now_ms)
    trimmed = retaining.retain(store, custody.membership, now_ms)
    tended = tend(custody, now_ms)
    if tended.moved:
        wake()
    can_take, is_stuck = claimable(custody, now_ms), refusal is not None
    found = Look(
        claimable=can_take,
        due_in=_due_in(place, schedule, now_ms, stuck=is_stuck),
        quiet_for=0.0 if can_take or is_stuck else _quiet_for(store, custody, now_ms),
        refusal=None if refusal is None else RemoteError(str(refusal)),
        gone=tuple(tended.gone),
        trimmed=trimmed,
    )
    # As servers do it: what these groups have not finished goes with the next look.
    private.remove_expired(store, custody.membership.topic, now_ms)
    return found


def _append_due(store: Store, topic: str, schedule: Schedule, now_ms: int) -> StreamError | None:
    """Append what is due; return why the stream does not take it: it stays then."""
    for waiting in schedule.due(now_ms, _MOST_DUE):
        try:
            xadd(store, topic, "*", waiting.record, now_ms)
        except StreamError as refusal:
            return refusal
        schedule.remove(waiting.uid)
    return None


def _due_in(place: Place, schedule: Schedule, now_ms: int, *, stuck: bool) -> float | None:
    """Return the seconds until the next is due; what is refused is no reason to look at once."""
    message = schedule.next_due(now_ms) if stuck else schedule.next_due()
    times = [at for at in (place.due.first_after(now_ms), message) if at is not None]
    return max(0.0, min(times) - now_ms) / 1000 if times else None


def _quiet_for(store: Store, custody: Custody, now_ms: int) -> float:
    """Return the seconds until there can be something that no wake-up tells of."""
    us, group = custody.membership, custody.place().group
    if group.holds(SUSPECT):
        return 0.0
    ends = [
        first_end(custody, now_ms),
        *private.ends(store, us.topic),
        *retaining.next_time(store, us),
    ]
    if group.lead is not None and now_ms < group.lead.forgotten_ms:
        ends.append(group.lead.ends_ms)
    return min(max(0.0, min(ends) - now_ms) / 1000, longest_quiet(us))
