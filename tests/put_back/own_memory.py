"""Faults of our own in the streams of this process."""

from __future__ import annotations

from .fault import Fault, put

_MEMORY = "trio_bus/_memory"

_KEEPING = (
    Fault(
        "a stale receipt counts",
        "What was said of an earlier delivery settles the one of now.",
        (
            put(
                "in memory",
                f"{_MEMORY}/custody.py",
                "and held.count == receipt.attempt",
                "and held.count >= receipt.attempt",
            ),
        ),
    ),
    Fault(
        "forgetting destroys",
        "Who is forgotten takes its entries along.",
        (
            put(
                "in memory",
                f"{_MEMORY}/custody.py",
                "        if len(found[1].consumers[us.consumer].pending):\n",
                "        if len(found[1].consumers[us.consumer].pending) > 1:\n",
            ),
        ),
    ),
    Fault(
        "two own one entry",
        "Who had an entry before still counts as its owner.",
        (
            put(
                "in memory",
                f"{_MEMORY}/group.py",
                "            pending.consumer.pending.pop(entry_id)\n            pending.consumer",
                "            pending.consumer",
            ),
        ),
    ),
    Fault(
        "a delivery gets lost to a cancel",
        "There is a checkpoint between the delivery and the return of a read.",
        (
            put(
                "in memory",
                f"{_MEMORY}/member.py",
                "                return await self._server.waiting.wait(\n"
                "                    self._membership.topic, lambda: self._look(count)\n"
                "                )\n",
                "                entries = await self._server.waiting.wait(\n"
                "                    self._membership.topic, lambda: self._look(count)\n"
                "                )\n"
                "                await trio.lowlevel.checkpoint()\n"
                "                return entries\n",
            ),
        ),
    ),
    Fault(
        "only the first reader is woken",
        "Of those who wait for a topic one alone sees what comes.",
        (
            put(
                "in memory",
                f"{_MEMORY}/waiting.py",
                "                trio.lowlevel.reschedule(waiter.task)\n",
                "                trio.lowlevel.reschedule(waiter.task)\n                return\n",
            ),
        ),
    ),
)

_TAKING = (
    Fault(
        "one is taken too many",
        "A claim brings one entry more than it was asked for.",
        (
            put(
                "in memory",
                f"{_MEMORY}/takeover.py",
                "if len(haul.entries) >= count:",
                "if len(haul.entries) > count:",
            ),
        ),
    ),
    Fault(
        "the limit is off by one",
        "What was delivered as often as the limit is delivered once more.",
        (
            put(
                "in memory",
                f"{_MEMORY}/takeover.py",
                "elif receipt.attempt >= us.max_attempt:",
                "elif receipt.attempt > us.max_attempt:",
            ),
        ),
    ),
    Fault(
        "a lease ends early",
        "An entry is taken from its owner before the lease has run out.",
        (
            put(
                "in memory",
                f"{_MEMORY}/takeover.py",
                " consumer.pending[entry_id].delivered_ms >= lease_ms",
                " consumer.pending[entry_id].delivered_ms >= lease_ms * 3 // 4",
            ),
        ),
    ),
    Fault(
        "a suspect is booked twice",
        "A suspect that somebody has booked is booked by another one.",
        (
            put(
                "in memory",
                f"{_MEMORY}/takeover.py",
                "place.group.pending[entry_id].delivered_ms >= lease_ms:",
                "place.group.pending[entry_id].delivered_ms >= 0:",
            ),
        ),
    ),
    Fault(
        "a suspect is set apart late",
        "An entry has to lose its owner once more before it is a suspect.",
        (
            put(
                "in memory",
                f"{_MEMORY}/takeover.py",
                "pending.count >= suspicious_from(max_attempt)",
                "pending.count > suspicious_from(max_attempt)",
            ),
        ),
    ),
    Fault(
        "a dead letter is lost",
        "An entry is dropped although the dead-letter topic does not take it.",
        (
            put(
                "in memory",
                f"{_MEMORY}/custody.py",
                '        xadd(self._store, us.dead_letter_topic, "*", record + context, now_ms)\n'
                "        drop(place, receipt.id)\n",
                "        drop(place, receipt.id)\n"
                '        xadd(self._store, us.dead_letter_topic, "*", record + context, now_ms)\n',
            ),
        ),
    ),
)

_SCHEDULING = (
    Fault(
        "the next look comes too late",
        "A look tells when the last is due, not the first.",
        (
            put(
                "in memory",
                f"{_MEMORY}/looking.py",
                "max(0.0, min(times) - now_ms)",
                "max(0.0, max(times) - now_ms)",
            ),
        ),
    ),
    Fault(
        "a schedule loses its order",
        "What is due together is appended in another order than it was scheduled.",
        (
            put(
                "in memory",
                f"{_MEMORY}/schedule.py",
                "for member in self._order.up_to(now_ms, count)]",
                "for member in self._order.up_to(now_ms, count)[::-1]]",
            ),
        ),
    ),
    Fault(
        "what is cancelled stays marked",
        "What was taken out of the schedule cannot be scheduled again.",
        (
            put(
                "in memory",
                f"{_MEMORY}/backend.py",
                "            schedule.unmark(uid)\n",
                "            return removed\n",
            ),
        ),
    ),
    Fault(
        "a key is forgotten",
        "A record is stored twice although its key is remembered.",
        (
            put(
                "as soon as another topic has it",
                f"{_MEMORY}/marks.py",
                "        self._ids[topic, key] = entry_id\n",
                "        self._ids = {at: it for at, it in self._ids.items() if at[1] != key}\n"
                "        self._ids[topic, key] = entry_id\n",
            ),
            put(
                "by what is queued",
                f"{_MEMORY}/backend.py",
                "            result = self._append(topic, record, once, now_ms)\n",
                "            del once\n"
                "            result = self._append(topic, record, None, now_ms)\n",
            ),
        ),
    ),
)

_STREAMS = (
    Fault(
        "a bound is off by one",
        "A range, or what is not delivered yet, begins or ends one entry beside its bound.",
        (
            put(
                "what is due this very moment waits",
                f"{_MEMORY}/sorted_set.py",
                "if its_score <= score]",
                "if its_score < score]",
            ),
            put(
                "a search for pending entries ends early",
                f"{_MEMORY}/delivery_commands.py",
                "if looked_at == 10 * count or len(rows)",
                "if looked_at == 10 * count - 1 or len(rows)",
            ),
            put(
                "trimming spares one too many",
                f"{_MEMORY}/stream.py",
                "return length <= self.max_length",
                "return length <= self.max_length + 1",
            ),
        ),
    ),
    Fault(
        "a cursor is stale in memory",
        "A search ends with the cursor of where it was, not of where it goes on.",
        (
            put(
                "of a claim",
                f"{_MEMORY}/delivery_commands.py",
                "return AutoClaimed(entry_id, rows, deleted)",
                "return AutoClaimed(entry_ids[looked_at - 1], rows, deleted)",
            ),
            put(
                "of a group",
                f"{_MEMORY}/delivery_commands.py",
                "group.last_delivered = entry_ids[-1]",
                "group.last_delivered = entry_ids[0]",
            ),
        ),
    ),
)

MEMORY = (*_KEEPING, *_TAKING, *_SCHEDULING, *_STREAMS)
