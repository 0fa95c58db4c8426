"""Faults of our own in transactions."""

from __future__ import annotations

from .fault import Fault, put

_COMMIT = "trio_bus/_redis/scripts/commit.lua"
_MEMORY = "trio_bus/_memory/committing.py"

TRANSACTIONS = (
    Fault(
        "a commit does not ask whose it is",
        "Whoever lost an entry publishes what it made of it, beside the new owner.",
        (
            put("in memory", _MEMORY, "if why is None:", "if why in {None, Settled.LOST}:"),
            put(
                "on a server",
                _COMMIT,
                "if not is_owned(stream, group, me, id, attempt) then",
                "if #redis.call('XPENDING', stream, group, id, id, 1) == 0 then",
            ),
        ),
    ),
    Fault(
        "outputs come without the ack",
        "A commit publishes and leaves the entry pending: it is handled and published again.",
        (
            put(
                "in memory",
                _MEMORY,
                "        custody.place().group.acknowledge(word.receipt.id)\n",
                "",
            ),
            put("on a server", _COMMIT, "redis.call('XACK', stream, group, id)\n", ""),
        ),
    ),
    Fault(
        "a transaction that fails is committed",
        "What was published in a block that was left by an exception is seen.",
        (
            put(
                "all of it",
                "trio_bus/_transaction.py",
                "        commit = transaction.end()\n    await",
                "        commit = transaction.end()\n        await",
            ),
        ),
    ),
    Fault(
        "a refused commit leaves a part",
        "One output is refused, and those before it stay.",
        (
            put("on a server", _COMMIT, "    redis.pcall('XDEL', one[1], one[2])\n", ""),
            put(
                "in memory",
                _MEMORY,
                "            xdel(server.store, output.topic, [str(entry_id)])\n",
                "",
            ),
        ),
    ),
    Fault(
        "an unknown commit is judged wrongly",
        "A commit whose answer was lost is told to have happened, or not, without a reason.",
        (
            put(
                "what is finished counts as lost",
                "trio_bus/_subscription/flusher.py",
                "return outcome is not Settled.LOST and not settling.holding.vanished",
                "return False",
            ),
        ),
    ),
    Fault(
        "an unknown commit is believed in",
        "A commit whose answer was lost is told to have happened, and somebody else has it.",
        (
            put(
                "what is pending elsewhere counts as committed",
                "trio_bus/_subscription/flusher.py",
                "return outcome is not Settled.LOST and not",
                "return not",
            ),
        ),
    ),
)
