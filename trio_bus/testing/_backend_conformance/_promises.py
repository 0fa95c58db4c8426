"""What the contract says of each operation, as a failure quotes it and the manual shows it."""

from __future__ import annotations

import re

import attrs


@attrs.frozen
class Promise:
    """One promise in words.

    ``where`` names the part of a result that shows whether it was kept, ``"info"`` if only `info`
    does, ``"cancelled"`` if there is none; without it, any part may.
    """

    words: str
    where: str = ""


_RECORD = Promise(
    "each entry has the record that was appended, or that was scheduled, in the order of the "
    "appends and of the times at which they were due, and at one time in that of the schedules; or "
    "that was buried, and behind it where that was, how often it was delivered, when, and why it "
    "was given up",
    "record",
)
_GONE = "what was deleted while it was pending is told as gone, once, and is not pending any more"

PROMISES: dict[str, tuple[Promise, ...]] = {
    "append": (
        Promise("an id for each record, growing, in the order of the list"),
        Promise("a record whose key is remembered is stored once, and answers the first id"),
    ),
    "append_nowait": (
        Promise("the record stands behind what was queued before"),
        Promise("on_result is called exactly once, with what append would have returned"),
    ),
    "append_persisted": (
        Promise("ids as append gives them, or Unsupported for each, and then nothing is stored"),
    ),
    "schedule": (
        Promise("the record is kept until it is due, and then appended once"),
        Promise("a uid that waits is not scheduled again"),
        Promise("one whose end is remembered answers the uid that was scheduled first"),
    ),
    "cancel_scheduled": (
        Promise("takes the record out of the schedule, and says whether it was there"),
    ),
    "buried": (
        Promise("tells what a group keeps as dead, or what in a topic has a context, in id order"),
        Promise("each has its record, and its context behind it, those of earlier deaths first"),
    ),
    "redrive": (
        Promise(
            "each is claimable in the group that gave it up, and in no other, uncounted, and is "
            "dead no more; what is not dead any more is not sent back again"
        ),
        Promise(
            "where a dead letter outlived its entry, a copy that names the group is appended once"
        ),
        Promise("what its group has not finished, and what has no group, stays where it is"),
    ),
    "join": (Promise("whoever leaves, or crashes, keeps what it owns: that is not forgetting"),),
    "create_group": (
        Promise("makes sure that the group exists, and says whether it is new"),
        Promise("a new group begins after the entry that was named; an old one is not changed"),
    ),
    "create_private": (
        Promise("makes a group of one consumer, unless it exists, and says after what it begins"),
        Promise("begins with the oldest entry instead of after all that the stream ever had"),
        Promise("the first look after its expiry removes it, whoever looks, and no sooner", "info"),
    ),
    "info": (
        Promise(
            "every entry is in exactly one place: not delivered, pending for one consumer, "
            "released, delayed, waiting for its key, a suspect, dead, or finished"
        ),
        Promise("an operation changes what it says, and nothing else"),
    ),
    "read": (
        Promise("new entries in the order of the stream, at most as many as were asked for"),
        Promise("each entry is delivered to one reader of the group, with attempt 1"),
        _RECORD,
        Promise("whoever waits gets what is appended meanwhile"),
        Promise("cancelled, it loses nothing: what came along is released, uncounted"),
    ),
    "look": (
        Promise("what is scheduled and due is appended, first what is due first"),
        Promise("keeps the private group of who looks, and removes those that nobody kept"),
        Promise("entries are laid where all can take them once their lease is over, no sooner"),
        Promise(
            "says whether there is something to take over: what is due, was released, was left by "
            "an owner whose lease is over (and no sooner), or a suspect that nobody has booked",
            "claimable",
        ),
        Promise("says in how many seconds the next is due", "due_in"),
        Promise(
            "removes what is beyond the bounds of the retention, if every group has finished it or "
            "that does not matter, and says how many entries that were; it does so again after a "
            "while at the earliest",
            "trimmed",
        ),
        Promise(_GONE, "gone"),
    ),
    "woken": (
        Promise(
            "whoever waits is woken by everything that hands back an entry of its group or "
            "schedules a message of its topic, and is told in how many seconds"
        ),
    ),
    "take_over": (
        Promise(
            "first what is due, then what was released, then what was abandoned; at most as many "
            "as were asked for",
            "entries",
        ),
        Promise("the attempt counts every delivery but those that were released", "attempt"),
        Promise("what was delivered as often as the limit says is buried instead", "buried"),
        Promise(_GONE, "gone"),
        Promise("what lost its owner again and again is set apart, with its count", "suspects"),
        _RECORD,
        Promise("what was set apart is a suspect until its settlement counts", "suspect"),
        Promise("books a suspect that nobody else has booked within a lease", "booked"),
        Promise("cancelled, it gives back what it took, uncounted", "cancelled"),
    ),
    "take_booked": (
        Promise("takes a suspect that is set apart, and nothing else"),
        Promise("the attempt counts this delivery, and the entry says that it is a suspect"),
        Promise("cancelled, it gives back what it took, uncounted", "cancelled"),
    ),
    "keep_booking": (
        Promise("books a suspect for another lease, and says whether it is still set apart"),
    ),
    "give_up_booking": (Promise("any member may book the suspect at once"),),
    "lead": (
        Promise("one member is active at a time, for as long as its lease, and with its token"),
        Promise("each new token is greater than all before; older ones have no effect"),
    ),
    "give_up_lead": (Promise("whoever asks next is active at once"),),
    "survey": (
        Promise("tells what is pending in id order, whoever has it, and nothing that is dead"),
        Promise("tells of each entry whether a consumer has it"),
    ),
    "draw": (
        Promise("new entries wait for their key, uncounted, in the order of the stream", "entries"),
        Promise("tells up to which id everything was delivered", "last"),
        Promise("it has no effect without the newest token, from whoever got it"),
    ),
    "start": (
        Promise("takes what nobody has and whose time has come, counted", "entries"),
        Promise("says in how many seconds the others are due", "due"),
        Promise("says in how many seconds somebody's lease is over", "held"),
        Promise("says what is a suspect that was set apart before", "apart"),
        Promise("says what is finished or dead", "over"),
        Promise("what was delivered as often as the limit says is buried instead", "buried"),
        Promise(_GONE, "gone"),
        Promise("what lost its owner again and again is set apart, with its count", "suspects"),
        _RECORD,
        Promise("alone, it takes suspects too, and says that they are", "suspect"),
        Promise("it has no effect without the newest token, from whoever got it"),
        Promise("cancelled, it gives back what it took, uncounted", "cancelled"),
    ),
    "grown": (Promise("whoever waits is told when the topic has more"),),
    "settle": (
        Promise("one result for each settlement, in their order"),
        Promise(
            "a receipt has an effect only while the entry is pending for this consumer with this "
            "count of deliveries; otherwise it is lost, or absent if nobody has it"
        ),
        Promise("what was deleted is gone"),
        Promise(
            "what is to be committed, and is pending for nobody while it is in the stream, is "
            "finished: an earlier try did it, or whoever took it over"
        ),
        Promise(
            "the outputs of a commit are appended, in their order, in the step in which the entry "
            "is acknowledged, or none of them is",
            "info",
        ),
        Promise(
            "an acknowledged entry is finished; a retried one is due after its delay; a released "
            "one can be taken, after its delay, with the count that it had before; a suspect that "
            "is released is a suspect again; a buried one is dead, or in the dead-letter topic, "
            "or, if that refuses it, where it was",
            "info",
        ),
    ),
    "renew": (
        Promise("the lease of what is ours begins anew"),
        Promise("what is not ours is lost or absent, and does not change"),
        Promise("what was deleted is gone, and not pending any more"),
    ),
    "forget": (
        Promise("removes this consumer, unless it owns entries; says whether it is gone"),
        Promise("a private group goes with it, whatever is pending there"),
    ),
}


def promises_of(operation: str, differs: str) -> tuple[str, ...]:
    """Return what was promised of an operation: of the parts that differ, if those are known.

    Args:
      operation: The method of the contract.
      differs: What differs, as `Matcher.difference` tells it: a path and words, with semicolons
        between; ``"cancelled"`` if there is no result, ``"info"`` if only `info` shows it.
    """
    told: dict[str, None] = {}
    for difference in differs.split("; "):
        path = re.split(r"[.\[\]:]+", difference.partition(" ")[0])
        named = [it.words for it in PROMISES[operation] if it.where and it.where in path]
        told.update(dict.fromkeys(named[-1:]))
    plain = [it.words for it in PROMISES[operation] if not it.where]
    return tuple(told or plain or [it.words for it in PROMISES[operation]])
