"""Faults of our own in leases, claims and wake-ups."""

from __future__ import annotations

from .fault import Change, Fault, Putting, put

_SUBSCRIPTION = "trio_bus/_subscription"

_LEASES = (
    Fault(
        "a lease is counted from the answer",
        "A lease is believed to run from when its answer came, not from when it was asked for.",
        (
            put(
                "that of a read",
                f"{_SUBSCRIPTION}/consumer.py",
                "self._core.receive(entries, sent)",
                "self._core.receive(entries, trio.current_time())",
            ),
            put(
                "that of a claim",
                f"{_SUBSCRIPTION}/reclaimer.py",
                "self._core.receive(result.entries, sent, Transition.TAKEN_OVER)",
                "self._core.receive(\n"
                "                result.entries, trio.current_time(), Transition.TAKEN_OVER\n"
                "            )",
            ),
            put(
                "that of a renewal",
                f"{_SUBSCRIPTION}/leases.py",
                "        for holding in holdings:\n            self._renewed(holding, sent,",
                "        for holding in holdings:\n"
                "            self._renewed(holding, trio.current_time(),",
            ),
        ),
    ),
    Fault(
        "a renewal comes late",
        "Leases are renewed when they are over.",
        (
            put(
                "once in a lease",
                f"{_SUBSCRIPTION}/leases.py",
                "RENEWALS_PER_LEASE = 3",
                "RENEWALS_PER_LEASE = 1",
            ),
        ),
    ),
    Fault(
        "the end of a lease is overlooked",
        "A handler goes on long after its lease has run out.",
        (
            put(
                "for another lease",
                f"{_SUBSCRIPTION}/leases.py",
                "holding.lease_until <= now:",
                "holding.lease_until + self._core.lease <= now:",
            ),
            Putting(
                "by what starts",
                (
                    Change(
                        "trio_bus/_holding.py",
                        "return time >= self.safe_until and",
                        "return time >= self.safe_until + self.context.lease and",
                    ),
                    Change(
                        f"{_SUBSCRIPTION}/dispatcher.py",
                        "self._margin = core.lease / 2",
                        "self._margin = -core.lease / 2",
                    ),
                ),
            ),
        ),
    ),
    Fault(
        "what waits to be settled is not renewed",
        "The lease of an entry ends while the server does not take its settlement.",
        (
            put(
                "it counts as done",
                f"{_SUBSCRIPTION}/core.py",
                "if not holding.is_over and not holding.done and not holding.vanished",
                "if holding.open and not holding.vanished",
            ),
        ),
    ),
    Fault(
        "a deleted entry ends its handler",
        "A handler is cancelled because its entry was deleted: nobody else can have that.",
        (
            put(
                "as if it were lost",
                f"{_SUBSCRIPTION}/leases.py",
                "        elif over is Settled.GONE:\n            self._core.vanish(holding)\n",
                "        elif over is Settled.GONE:\n            self._core.lose(holding)\n",
            ),
        ),
    ),
)

_CLAIMS = (
    Fault(
        "a failed claim is the last",
        "After a claim that failed, or a look that found something meanwhile, nothing is claimed.",
        (
            put(
                "it counts as under way",
                f"{_SUBSCRIPTION}/reclaimer.py",
                "                await self._core.pause(errors)\n            self._claiming",
                "                await self._core.pause(errors)\n"
                "                continue\n            self._claiming",
            ),
        ),
    ),
    Fault(
        "a claim forgets what it brought",
        "What a claim was told beside the entries is not passed on.",
        (
            put(
                "a booked suspect gets no turn",
                f"{_SUBSCRIPTION}/reclaimer.py",
                "            await self._turn.give(result.booked)\n",
                "",
            ),
            put(
                "nobody hears what was buried",
                f"{_SUBSCRIPTION}/history.py",
                "            self.buried(receipt)\n",
                "            del receipt\n",
            ),
        ),
    ),
    Fault(
        "a wake-up is put off",
        "A wake-up for later puts off what is due earlier.",
        (
            put(
                "by the reclaimer",
                f"{_SUBSCRIPTION}/reclaimer.py",
                "until = min(until, trio.current_time() + delay)",
                "until = trio.current_time() + delay",
            ),
        ),
    ),
    Fault(
        "a suspect has company",
        "A suspect runs beside other entries.",
        (
            put(
                "new ones are read meanwhile",
                f"{_SUBSCRIPTION}/turn.py",
                "            await self._consumer.pause()\n",
                "            self._consumer._waits.value += 1\n"
                "            await trio.lowlevel.checkpoint()\n",
            ),
            put(
                "old ones still run",
                f"{_SUBSCRIPTION}/turn.py",
                "if await self._nothing_is_held():",
                "if await self._nothing_is_held() or self._booked:",
            ),
        ),
    ),
)

LEASING = (*_LEASES, *_CLAIMS)
