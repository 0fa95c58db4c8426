"""Faults of our own in retention."""

from __future__ import annotations

from .fault import Fault, put

_SCRIPT = "trio_bus/_redis/scripts/_retain.lua"
_MEMORY = "trio_bus/_memory/retaining.py"

RETENTION = (
    Fault(
        "retention removes one too many",
        "The bound of a length is off by one: the oldest of those that are to be kept goes.",
        (
            put(
                "in memory",
                _MEMORY,
                "stream.entries.first_of_last(kept)",
                "stream.entries.first_of_last(max(1, kept - 1))",
            ),
            put(
                "on a server",
                _SCRIPT,
                "length - tonumber(max_length) or 0",
                "length - math.max(0, tonumber(max_length) - 1) or 0",
            ),
        ),
    ),
    Fault(
        "retention removes what is pending",
        "What was delivered counts as finished: whoever fails, or dies, has it no more.",
        (
            put(
                "in memory",
                _MEMORY,
                "return min(undelivered, next(kept, MAX_ID))",
                "return undelivered",
            ),
            put("on a server", _SCRIPT, ", pending})", "})"),
        ),
    ),
    Fault(
        "retention asks one group",
        "What one group has finished is gone for the others.",
        (
            put(
                "in memory",
                _MEMORY,
                "for it in stream.groups.values())])",
                "for it in [*stream.groups.values()][:1])])",
            ),
            put(
                "on a server",
                _SCRIPT,
                "  for _, group in ipairs(groups_of(stream)) do\n    local pending",
                "  for _, group in ipairs({groups_of(stream)[1]}) do\n    local pending",
            ),
        ),
    ),
)
