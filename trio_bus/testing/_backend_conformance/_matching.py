"""Comparing what came with what the model expected: alike but for the ids, which are paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import cast

import attrs

from trio_bus._backend import Entry, Receipt, Record, TakeOver
from trio_bus._dead_letter import ENTRY_ID, FIRST, LAST, TOPIC
from trio_bus._entry_id import EntryId
from trio_bus._errors import BusError
from trio_bus._info import GroupInfo, TopicInfo
from trio_bus._look import Look
from trio_bus._ordering import Parked, Queue, Start
from trio_bus._settled import Settled

from ._pairs import Pairs
from ._step import Ended, rows_of

_FAR = 1e8
"""Seconds."""
_PLAIN = (int, str, bytes, float)
"""What is alike if it is equal."""


_Compound = Entry | TakeOver | Receipt | Parked | Queue
_OWN = {"delivery", "size", "words"}
"""What a backend gives as these is its own."""
_FIELDS: dict[type[_Compound], list[str]] = {
    **{
        kind: [name for name in kind.__struct_fields__ if name not in _OWN]
        for kind in (Entry, Receipt)
    },
    **{kind: [field.name for field in attrs.fields(kind)] for kind in (TakeOver, Parked, Queue)},
}
"""What is compared."""


@attrs.frozen
class Facts:
    """Some of what a `TopicInfo` tells; see `facts`."""

    told: dict[str, object]


@attrs.frozen
class Matcher:
    """Compares two results on one topic. A difference is told as the path to it, and in words.

    ``slack`` is how far two times may differ, in seconds.
    """

    pairs: Pairs
    topic: str
    slack: float

    def difference(  # noqa: PLR0911 - one way out for each kind of result
        self, mine: object, theirs: object, path: str = ""
    ) -> str | None:
        """Return where and how they differ; None if they are alike."""
        if mine is None or isinstance(mine, _PLAIN):  # most are
            return None if mine == theirs else _unlike(path, mine, theirs)
        if isinstance(mine, EntryId) and isinstance(theirs, EntryId):
            alike = self.pairs.agree(self.topic, mine, theirs)
            shown = self.pairs.label(self.topic, mine)
            return None if alike else f"{path or 'the entry'}: {theirs} is not {shown}"
        if isinstance(mine, BusError) and isinstance(theirs, BusError):
            return None if type(mine) is type(theirs) else _unlike(path, mine, theirs)
        if isinstance(mine, Look) and isinstance(theirs, Look):
            return self._of_looks(mine, theirs)
        if isinstance(mine, TopicInfo) and isinstance(theirs, TopicInfo):
            return self._of_infos(mine, theirs)
        if isinstance(mine, Start) and isinstance(theirs, Start):
            return self._of_starts(mine, theirs)
        if isinstance(mine, _Compound) and type(mine) is type(theirs):
            return self._of_fields(mine, theirs, path)
        ours, other = _items(mine), _items(theirs)
        if ours is not None and other is not None:
            return self._of_rows(ours, other, path)
        return None if mine == theirs else _unlike(path, mine, theirs)

    def _of_fields(self, mine: _Compound, theirs: object, path: str) -> str | None:
        differences: list[str] = []
        for name in _FIELDS[type(mine)]:
            ours, other = getattr(mine, name), getattr(theirs, name)
            if name == "record" and ours is not None and other is not None:
                ours, other = self._record(ours, mine=True), self._record(other, mine=False)
            found = self.difference(ours, other, f"{path}.{name}".lstrip("."))
            if found is not None:
                differences.append(found)
        return "; ".join(differences) or None

    def _of_rows(self, mine: Sequence[object], theirs: Sequence[object], path: str) -> str | None:
        if len(mine) != len(theirs):
            return f"{path or 'it'} has {len(theirs)} items, not {len(mine)}"
        for number, (ours, other) in enumerate(zip(mine, theirs, strict=True)):
            found = self.difference(ours, other, f"{path}[{number}]")
            if found is not None:
                return found
        return None

    def _of_looks(self, mine: Look, theirs: Look) -> str | None:
        if not self._of_times(mine.due_in, theirs.due_in):
            return _unlike("due_in", mine.due_in, theirs.due_in)
        if theirs.quiet_for > mine.quiet_for + self.slack:  # ours knows all there is
            return _unlike("quiet_for", mine.quiet_for, theirs.quiet_for)
        for name in ("claimable", "refusal", "gone", "trimmed"):
            found = self.difference(getattr(mine, name), getattr(theirs, name), name)
            if found is not None:
                return found
        return None

    def _of_starts(self, mine: Start, theirs: Start) -> str | None:
        differences = [
            self.difference(mine.taken, theirs.taken),
            self.difference(mine.apart, theirs.apart, "apart"),
            self.difference(mine.over, theirs.over, "over"),
            self._of_waits(mine.due, theirs.due, "due"),
            self._of_waits(mine.held, theirs.held, "held"),
        ]
        return "; ".join(it for it in differences if it) or None

    def _of_waits(
        self, mine: Mapping[EntryId, float], theirs: Mapping[EntryId, float], name: str
    ) -> str | None:
        ours, other = sorted(mine.items()), sorted(theirs.items())
        found = self.difference([key for key, _ in ours], [key for key, _ in other], name)
        if found is None and not all(
            map(self._of_times, dict(ours).values(), dict(other).values())
        ):
            return _unlike(name, dict(ours), dict(other))
        return found

    def _of_times(self, mine: float | None, theirs: float | None) -> bool:
        if mine is None or theirs is None:
            return mine is theirs
        far = min(mine, theirs) > _FAR  # an instant by the clock of the server, which we cannot see
        return far or abs(mine - theirs) <= self.slack

    def unlike_facts(self, mine: TopicInfo, theirs: TopicInfo) -> tuple[Facts, Facts]:
        """Return only what is not alike."""
        ours, other = facts(mine), facts(theirs)
        names = [name for name in sorted({*ours, *other}) if self._of_facts(ours, other, name)]
        return Facts({it: ours.get(it) for it in names}), Facts({it: other.get(it) for it in names})

    def _of_infos(self, mine: TopicInfo, theirs: TopicInfo) -> str | None:
        ours, other = facts(mine), facts(theirs)
        for name in sorted({*ours, *other}):
            found = self._of_facts(ours, other, name)
            if found is not None:
                return found
        return None

    def _of_facts(self, ours: dict[str, object], other: dict[str, object], name: str) -> str | None:
        if name.endswith(".lag") and name in other and other[name] is None:
            return None  # the contract allows that it cannot be told
        return self.difference(ours.get(name), other.get(name), name)

    def _record(self, record: Record, *, mine: bool) -> Record:
        """Replace what must differ in the context of a dead letter."""
        topic, born, rows = "", b"", list[tuple[bytes, bytes]]()
        for name, value in record:
            shown = value
            if name == TOPIC:
                topic = value.decode()
            elif name == ENTRY_ID:
                entry_id = EntryId.parse(value)
                born = str(entry_id.ms).encode()
                shown = value if mine else str(self.pairs.mine(topic, entry_id)).encode()
            elif name == FIRST:
                shown = b"the time of its id" if value == born else value
            elif name == LAST:
                shown = b"a time" if value.isdigit() else value
            rows.append((name, shown))
        return tuple(rows)


def _items(value: object) -> list[object] | None:
    """Return what there is to compare one by one; a dictionary is in the order of its ids."""
    if isinstance(value, dict):
        return [*sorted(cast("dict[EntryId, object]", value).items(), key=itemgetter(0))]
    return None if isinstance(value, EntryId) else rows_of(value)


def facts(info: TopicInfo) -> dict[str, object]:
    """Say what a `TopicInfo` tells that the contract decides, by name.

    Whether a consumer that owns nothing is listed, and for how long it has been idle, differs
    between servers.
    """
    found: dict[str, object] = {
        "length": info.length,
        "scheduled": info.scheduled,
        "oldest": info.oldest,
    }
    for group in info.groups:
        for name, value in _facts_of_group(group).items():
            found[f"{group.name}.{name}"] = value
    return found


def _facts_of_group(group: GroupInfo) -> dict[str, object]:
    owned = {it.name: it.pending for it in group.consumers if it.pending}
    names = (
        "last_delivered",
        "lag",
        "pending",
        "released",
        "delayed",
        "dead",
        "suspects",
        "parked",
    )
    told: dict[str, object] = {name: getattr(group, name) for name in (*names, "oldest")}
    return {**told, **{f"pending of {name}": count for name, count in owned.items()}}


def _unlike(path: str, mine: object, theirs: object) -> str:
    return f"{path or 'it'} is {shown(theirs)}, not {shown(mine)}"


def shown(  # noqa: C901, PLR0911 - one case for each kind of result
    value: object, pairs: Pairs | None = None, topic: str = ""
) -> str:
    """Write a result in words; with *pairs*, one of the model with the names of its entries."""

    def name(entry_id: EntryId) -> str:
        return str(entry_id) if pairs is None else pairs.label(topic, entry_id)

    def each(values: Sequence[object]) -> str:
        return f"[{', '.join(shown(it, pairs, topic) for it in values)}]"

    match value:
        case EntryId():
            return name(value)
        case Entry() | Receipt():
            suspect = ", a suspect" if value.suspect else ""
            return f"{name(value.id)} (attempt {value.attempt}{suspect})"
        case TakeOver():
            parts = [
                f"{field} {each(getattr(value, field))}"
                for field in ("entries", "buried", "gone", "suspects")
                if getattr(value, field)
            ]
            parts += [f"booked {name(value.booked)}"] if value.booked is not None else []
            return "; ".join(parts) or "nothing"
        case Parked() | Queue() | Start():
            return _shown_in_order(value, pairs, topic)
        case Look():
            due = "nothing due" if value.due_in is None else f"next due in {value.due_in:g} s"
            gone = f", gone {each(value.gone)}" if value.gone else ""
            gone += f", {value.trimmed} trimmed" if value.trimmed else ""
            return f"claimable: {value.claimable}, {due}{gone}, refusal: {value.refusal}"
        case Facts():
            return ", ".join(f"{key} {shown(it, pairs, topic)}" for key, it in value.told.items())
        case Settled() | Ended():
            return str(value.value)
        case BaseException():
            return f"raised {type(value).__name__}({value})"
        case str():
            return value
        case dict():
            items = _items(cast("object", value)) or []
            return f"{{{', '.join(shown(it, pairs, topic) for it in items)}}}"
        case _:
            rows = rows_of(value)
            return repr(value) if rows is None else each(rows)


def _shown_in_order(value: Parked | Queue | Start, pairs: Pairs | None, topic: str) -> str:
    """Write what is told where an order is kept."""
    match value:
        case Parked():
            marks = (" (deleted)" if value.record is None else "") + (
                " (held)" if value.held else ""
            )
            return shown(value.id, pairs, topic) + marks
        case Queue():
            last = "the end" if value.last is None else shown(value.last, pairs, topic)
            return f"{shown(value.entries, pairs, topic)} up to {last}"
        case _:
            parts = [shown(value.taken, pairs, topic)]
            for what, waiting in (("due", value.due), ("held", value.held)):
                parts += [
                    f"{what} {shown(entry_id, pairs, topic)} in {left:g} s"
                    for entry_id, left in waiting.items()
                ]
            for what, found in (("set apart", value.apart), ("over", value.over)):
                parts += [f"{what} {shown(found, pairs, topic)}"] if found else []
            return "; ".join(parts)
