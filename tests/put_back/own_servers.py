"""Faults of our own in what is done on a server."""

from __future__ import annotations

from .fault import Fault, put

_REDIS = "trio_bus/_redis"
_SCRIPTS = "trio_bus/_redis/scripts"

_TAKING = (
    Fault(
        "a stale receipt counts on a server",
        "What was said of an earlier delivery settles the one of now.",
        (
            put(
                "the count is not compared",
                f"{_SCRIPTS}/_lib.lua",
                "return row ~= nil and row[4] == tonumber(attempt)",
                "return row ~= nil and row[4] >= tonumber(attempt)",
            ),
        ),
    ),
    Fault(
        "a count is off by one on a server",
        "An attempt, or the limit of them, is one beside what it should be.",
        (
            put(
                "the limit",
                f"{_SCRIPTS}/take_over.lua",
                "if attempt >= max_attempt then",
                "if attempt > max_attempt then",
            ),
            put(
                "what who takes it is told",
                f"{_SCRIPTS}/take_over.lua",
                "{id, claimed[2], attempt + 1}",
                "{id, claimed[2], attempt}",
            ),
            put(
                "what a dead letter says",
                f"{_SCRIPTS}/_lib.lua",
                "stream, group, id, as_text(attempt),",
                "stream, group, id, as_text(attempt - 1),",
            ),
        ),
    ),
    Fault(
        "what was abandoned is not seen",
        "Nobody is told of entries whose owner lost its lease.",
        (
            put(
                "by a look",
                f"{_SCRIPTS}/look.lua",
                "return holds_something(FREE) or holds_something(ABANDONED) or has_suspects",
                "return holds_something(FREE) or has_suspects",
            ),
            put(
                "until the last lease has run out",
                f"{_SCRIPTS}/_tend.lua",
                "first = math.min(first, now + lease - row[3])",
                "first = now + lease",
            ),
        ),
    ),
    Fault(
        "a lease ends early on a server",
        "An entry is taken from its owner before the lease has run out.",
        (
            put(
                "after half of it",
                f"{_SCRIPTS}/_tend.lua",
                "if row[3] >= lease and",
                "if row[3] >= lease / 2 and",
            ),
        ),
    ),
    Fault(
        "giving up a booking books",
        "A suspect that was given up stays booked for a lease.",
        (
            put(
                "on a server",
                f"{_SCRIPTS}/booking.lua",
                "  set_apart(stream, group, SUSPECT, id, row[4])\n",
                "  move(stream, group, SUSPECT, id, row[4])\n",
            ),
        ),
    ),
    Fault(
        "forgetting destroys on a server",
        "Who is forgotten takes its entries along.",
        (
            put(
                "the last of them",
                f"{_SCRIPTS}/forget.lua",
                "'-', '+', 1, me) > 0 then",
                "'-', '+', 2, me) > 1 then",
            ),
        ),
    ),
)

_SCHEDULING = (
    Fault(
        "the next look comes too late on a server",
        "A look tells when the last is due, not the first.",
        (
            put(
                "of two kinds",
                f"{_SCRIPTS}/look.lua",
                "return math.min(waiting, message)",
                "return math.max(waiting, message)",
            ),
        ),
    ),
    Fault(
        "a marker says nothing",
        "What may be scheduled once is scheduled twice, or never again.",
        (
            put(
                "it is not looked at",
                f"{_SCRIPTS}/schedule.lua",
                "if earlier then",
                "if earlier == uid then",
            ),
            put(
                "it stays when the message is cancelled",
                f"{_SCRIPTS}/cancel.lua",
                "redis.call('GET', marker) == uid then",
                "redis.call('GET', marker) == '' then",
            ),
        ),
    ),
    Fault(
        "a schedule loses its order on a server",
        "What is due together is appended in another order than it was scheduled.",
        (
            put(
                "that of the uids",
                f"{_SCRIPTS}/_lib.lua",
                "redis.call('HINCRBY', scheduled, '', 1)",
                "redis.call('HINCRBY', scheduled, '', 0)",
            ),
        ),
    ),
    Fault(
        "a key is kept too short",
        "A record is stored twice although its window is not over.",
        (
            put(
                "a thousandth of the window",
                f"{_REDIS}/once.py",
                "window_ms = math.ceil(once.window * 1000)",
                "window_ms = math.ceil(once.window)",
            ),
        ),
    ),
)

_ANSWERS = (
    Fault(
        "results of a batch are swapped on a server",
        "What became of one is told of another.",
        (
            put(
                "what is published",
                f"{_REDIS}/appending.py",
                "    for answer in owed.answers():\n",
                "    for answer in list(owed.answers())[::-1]:\n",
            ),
            put(
                "what is renewed",
                f"{_SCRIPTS}/renew.lua",
                "over[#over + 1] = {id, GONE}",
                "over[#over + 1] = {ARGV[3], GONE}",
            ),
        ),
    ),
    Fault(
        "a suspect is forgotten when it comes back",
        "A suspect that is released runs beside others.",
        (
            put(
                "on the way to a server",
                f"{_REDIS}/group.py",
                "receipt.attempt - 1, delay_ms, int(receipt.suspect)",
                "receipt.attempt - 1, delay_ms, 0",
            ),
        ),
    ),
)

SERVERS = (*_TAKING, *_SCHEDULING, *_ANSWERS)
