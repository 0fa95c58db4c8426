"""Faults of our own in sending back what is dead."""

from __future__ import annotations

from .fault import Fault, put

_MEMORY = "trio_bus/_memory/graves.py"
_SCRIPT = "trio_bus/_redis/scripts/redrive.lua"
_GIVEN_BACK = (
    "    group.notes[grave.entry_id] = record[len(original) :]\n"
    "    move(group, grave.entry_id, FREE, 0, now_ms)\n"
)

REDRIVING = (
    Fault(
        "a redrive counts what was before",
        "What is sent back begins with the attempts that it had, and may be dead at once.",
        (
            put("in memory", _MEMORY, _GIVEN_BACK, _GIVEN_BACK.replace(" 0,", " 1,")),
            put("on a server", _SCRIPT, "'RETRYCOUNT', 0", "'RETRYCOUNT', 1"),
        ),
    ),
    Fault(
        "a redrive reaches all groups",
        "Those that have handled it get it again, too.",
        (
            put(
                "in memory",
                _MEMORY,
                _GIVEN_BACK,
                f"{_GIVEN_BACK}"
                "    for other in stream.groups.values():\n"
                "        if other.pending.get(grave.entry_id) is None:\n"
                "            move(other, grave.entry_id, FREE, 0, now_ms)\n",
            ),
        ),
    ),
    Fault(
        "a dead letter stays when it is sent back",
        "It can be sent back again, when the group has handled it.",
        (
            put("in memory", _MEMORY, "        letters.delete(grave.id)\n", "        pass\n"),
            put(
                "on a server",
                _SCRIPT,
                "'FORCE', 'JUSTID')\n  redis.call('XDEL', dead_letters, letter)\n",
                "'FORCE', 'JUSTID')\n",
            ),
        ),
    ),
    Fault(
        "a redrive forgets the history",
        "Given up again, a message does not tell that it had been given up before.",
        (put("in memory", _MEMORY, "= record[len(original) :]", "= ()"),),
    ),
)
