"""Faults of our own in fan-out: in private groups, and in who comes back to them."""

from __future__ import annotations

from .fault import Fault, put

FAN_OUT = (
    Fault(
        "a private group stays",
        "A subscription that is left does not take its group along.",
        (
            put(
                "in memory",
                "trio_bus/_memory/custody.py",
                "            private.remove(self._store, us.topic, us.group)\n",
                "",
            ),
            put(
                "on a server",
                "trio_bus/_redis/group.py",
                "            await remove(self._link, self._us.topic, self._us.group)\n",
                "",
            ),
        ),
    ),
    Fault(
        "nobody keeps a private group",
        "Its subscription lives, and the server does not hear of it.",
        (
            put(
                "a look does not",
                "trio_bus/_memory/looking.py",
                "    private.keep(store, custody.membership, now_ms)\n",
                "",
            ),
            put(
                "a look does not, on a server",
                "trio_bus/_redis/scripts/look.lua",
                "keep_private(KEYS[7], group, ARGV[10], now)\n",
                "",
            ),
            put(
                "a renewal does not, on a server",
                "trio_bus/_redis/scripts/renew.lua",
                "keep_private(KEYS[2], group, ARGV[3], now_ms())",
                "",
            ),
        ),
    ),
    Fault(
        "a private group is removed early",
        "Somebody else removes the group of a subscription that lives.",
        (
            put(
                "in memory",
                "trio_bus/_memory/private.py",
                ".up_to(now_ms, _MOST_REMOVED)",
                ".up_to(now_ms + 450, _MOST_REMOVED)",
            ),
            put(
                "on a server",
                "trio_bus/_redis/private.py",
                "math.ceil(expiry * 1000)",
                "math.ceil(expiry * 500)",
            ),
        ),
    ),
    Fault(
        "who comes back goes on elsewhere",
        "A group that was removed is made again, and begins at the wrong place.",
        (
            put(
                "with what is new",
                "trio_bus/_subscription/group.py",
                "            config.topic, name, position, config.fan_out_expiry\n",
                "            config.topic, name, first_id(config), config.fan_out_expiry\n",
            ),
            put(
                "behind what is not finished",
                "trio_bus/_subscription/progress.py",
                "        if self._newest is None or not self._unfinished:\n",
                "        if self._newest is not None or not self._unfinished:\n",
            ),
        ),
    ),
    Fault(
        "fan-out begins with the past",
        "A new subscription gets what was published before it.",
        (
            put(
                "with the oldest",
                "trio_bus/_subscription/group.py",
                "        start = StartPosition.NEWEST\n",
                "        start = StartPosition.OLDEST\n",
            ),
        ),
    ),
)
