"""How one generation of servers answers differently from others: each difference a field."""

from __future__ import annotations

import attrs


@attrs.frozen
class Known:
    """What a difference is, and where it is known from. It is the metadata of its field."""

    what: str
    source: str


def _known(what: str, source: str) -> dict[str, Known]:
    return {"known": Known(what, source)}


@attrs.frozen(kw_only=True)
class Dialect:
    """The differences between servers that a client can see in what the pure stream models.

    ``dialects.py`` says which server has which value.
    """

    auto_sequence: bool = attrs.field(
        metadata=_known(
            "``XADD k 7-*`` lets the server choose the sequence number", "redis#9217, measured"
        )
    )
    no_sequence_left: tuple[str, ...] = attrs.field(
        metadata=_known(
            "What ``XADD k 7-*`` answers when 7 has no number left; where there are two texts, it "
            "depends on what the server did before, and the fake answers the first",
            "redis#11424, measured",
        )
    )
    too_few_fields: str = attrs.field(
        metadata=_known("What ``XADD`` with options and without fields answers", "measured")
    )
    drops_deleted: bool = attrs.field(
        metadata=_known(
            "``XCLAIM`` and ``XAUTOCLAIM`` remove an entry from the pending ones that was deleted "
            "from the stream; the latter names it in a third element",
            "redis#10227, measured",
        )
    )
    eager_consumers: bool = attrs.field(
        metadata=_known(
            "A read or claim creates its consumer even if it gets nothing; ``XINFO CONSUMERS`` "
            "has ``inactive``",
            "redis#11099, measured",
        )
    )
    meaningless: tuple[str, ...] = attrs.field(
        metadata=_known(
            "The ids that ``XREADGROUP`` refuses with an explanation, not as something that is "
            "no id",
            "redis#13117, measured",
        )
    )
    counts_read: bool = attrs.field(
        metadata=_known("``XINFO GROUPS`` has ``entries-read`` and ``lag``", "redis#9127, measured")
    )
    lag_minds_tombstones: bool = attrs.field(
        metadata=_known(
            "``lag`` and ``entries-read`` are estimated anew, or unknown, after an entry was "
            "deleted that the group had not read",
            "redis#13338, valkey#1952, measured",
        )
    )
    lag_minds_trimming: bool = attrs.field(
        metadata=_known(
            "``lag`` of a group that stands before the first entry is the length of the stream",
            "redis#13473, measured",
        )
    )
    recounts_trimmed: bool = attrs.field(
        metadata=_known(
            "``entries-read`` is estimated anew when a group reads on that stood before the "
            "first entry",
            "redis#13958, valkey#1952, measured",
        )
    )
    deletion_wakes_reads: bool = attrs.field(
        metadata=_known(
            "A blocked ``XREADGROUP`` is woken when its stream is deleted", "redis#10306, measured"
        )
    )
    reruns_reads: bool = attrs.field(
        metadata=_known(
            "What wakes a blocked read runs it anew, over all its streams, and it waits on if it "
            "gets nothing; before, it got what is new in one stream, be that ``[[key, []]]``",
            "redis#11012, measured",
        )
    )
    without_stream: str = attrs.field(
        metadata=_known(
            "What a blocked read gets that is woken and finds no stream", "redis#10306, measured"
        )
    )
    without_group: str = attrs.field(
        metadata=_known(
            "What a blocked read gets that is woken and finds no group", "redis#11012, measured"
        )
    )
