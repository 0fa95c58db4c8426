"""Faults of the ancestor in what it read, claimed and tried again."""

from __future__ import annotations

from .fault import Change, Fault, Putting, put

_SUBSCRIPTION = "trio_bus/_subscription"
_REDIS = "trio_bus/_redis"
_MEMORY = "trio_bus/_memory"
_SCRIPTS = "trio_bus/_redis/scripts"

CLAIMING = (
    Fault(
        "a read is dropped by a select",
        "A read dropped by a select strands entries.",
        (
            put(
                "a cancelled read is not received",
                f"{_REDIS}/reader.py",
                "            await self._end(connection, owed, block)\n",
                "",
            ),
            put(
                "what a cancelled read brings is thrown away",
                f"{_REDIS}/reader.py",
                "await self._release(entries)",
                "await trio.lowlevel.checkpoint()",
            ),
            put(
                "what a cancelled claim brings is thrown away",
                f"{_REDIS}/member.py",
                "await self._give_back(taken.entries)",
                "await trio.lowlevel.checkpoint()",
            ),
        ),
    ),
    Fault(
        "more is claimed than can start",
        "A consumer claims more than it can start, and resets the idle time of what it cannot.",
        (
            Putting(
                "a claim does not ask for its permits",
                (
                    Change(
                        f"{_SUBSCRIPTION}/reclaimer.py",
                        "member.take_over(taken, book",
                        "member.take_over(1000, book",
                    ),
                    Change(
                        f"{_SUBSCRIPTION}/permits.py",
                        "        assert self._free <= self._most,",
                        "        assert self._most,",
                    ),
                ),
            ),
            put(
                "the script does not count",
                f"{_SCRIPTS}/take_over.lua",
                "return #entries < count and looks > 0",
                "return looks > 0",
            ),
        ),
    ),
    Fault(
        "consumers are never removed",
        "Consumers are never removed.",
        (
            put(
                "the dead stay, in memory",
                f"{_MEMORY}/takeover.py",
                "group.remove_consumer(consumer.name)",
                "pass",
            ),
            put(
                "the dead stay, on a server",
                f"{_SCRIPTS}/_tend.lua",
                "      redis.call('XGROUP', 'DELCONSUMER', stream, group, name)\n",
                "",
            ),
            put(
                "those who leave stay",
                f"{_SUBSCRIPTION}/life.py",
                "await self._insist(self._core.member.forget)",
                "await trio.lowlevel.checkpoint()",
            ),
        ),
    ),
    Fault(
        "a long handler runs twice",
        "A handler longer than the lease runs twice at once.",
        (
            put(
                "leases are not renewed",
                f"{_SUBSCRIPTION}/leases.py",
                "member.renew([holding.receipt for holding in holdings])",
                "member.renew([])",
            ),
        ),
    ),
)

RETRYING = (
    Fault(
        "a retry publishes again",
        "A retry publishes again, to every group.",
        (
            put(
                "in memory",
                f"{_MEMORY}/custody.py",
                "        counted = isinstance(settlement, Retry)\n",
                """        if isinstance(settlement, Retry):
            body = place.stream.entries[receipt.id]
            xadd(self._store, self.membership.topic, "*", body, now_ms)
            drop(place, receipt.id)
            return
        counted = isinstance(settlement, Retry)
""",
            ),
            put(
                "on a server",
                f"{_SCRIPTS}/hand_back.lua",
                "  if not put_back(id, count, delay",
                """  if delay >= 0 then
    redis.call('XADD', stream, '*', unpack(redis.call('XRANGE', stream, id, id)[1][2]))
    redis.call('XACK', stream, group, id)
    return DONE
  end
  if not put_back(id, count, delay""",
            ),
        ),
    ),
    Fault(
        "a retry is not one step",
        "A retry, or the way to the dead-letter topic, is not atomic.",
        (
            Putting(
                "the delay of a retry is set by a second command",
                (
                    Change(
                        f"{_SCRIPTS}/hand_back.lua",
                        "    redis.call('ZADD', due, as_text(at), id)",
                        "    local later = id",
                    ),
                    Change(
                        f"{_REDIS}/group.py",
                        "        return results\n",
                        """        for it, result in zip(settlements, results, strict=True):
            if isinstance(it, Retry | Release) and it.delay and result is Settled.DONE:
                seconds = as_int(int(as_list(await self._link.call("TIME"))[0])) + it.delay
                due_ms = int(seconds * 1000)
                await self._link.call("ZADD", self._keys[1], due_ms, str(it.receipt.id))
        return results
""",
                    ),
                ),
            ),
            Putting(
                "a dead letter is acked by a second command",
                (
                    Change(
                        f"{_SCRIPTS}/_lib.lua",
                        "    return added\n  end\n  drop(stream, due, group, id)\n",
                        "    return added\n  end\n",
                    ),
                    Change(
                        f"{_REDIS}/group.py",
                        "        return results\n",
                        """        for it, result in zip(settlements, results, strict=True):
            if isinstance(it, Bury) and result is Settled.DONE:
                us = self._us
                await self._link.call("XACK", us.topic, us.group, str(it.receipt.id))
        return results
""",
                    ),
                ),
            ),
        ),
        select="settle",
    ),
    Fault(
        "attempts can be forged",
        "Attempts live in a header that a publisher can forge.",
        (
            put(
                "what a handler is told",
                "trio_bus/_delivery.py",
                "            attempt=self._holding.entry.attempt,",
                """            attempt=int(
                self.message.headers.get("attempt", str(self._holding.entry.attempt))
            ),""",
            ),
            put(
                "what the limit is compared with",
                "trio_bus/_subscription/inspection.py",
                "                message = holding.message = decode(words, holding.size)\n",
                """                message = holding.message = decode(words, holding.size)
                from msgspec.structs import replace

                forged = int(message.headers.get("attempt", str(holding.entry.attempt)))
                holding.entry = replace(holding.entry, attempt=forged)
""",
            ),
        ),
    ),
    Fault(
        "a crash does not count",
        "Attempts ignore crashes.",
        (
            put(
                "on a server",
                f"{_SCRIPTS}/_tend.lua",
                "move(stream, group, ABANDONED, id, attempt)",
                "move(stream, group, ABANDONED, id, attempt - 1)",
            ),
            put(
                "in memory",
                f"{_MEMORY}/takeover.py",
                "entry_id, ABANDONED, place.group.pending[entry_id].count,",
                "entry_id, ABANDONED, 0,",
            ),
        ),
    ),
    Fault(
        "a delay is a sleep",
        "The delay of a publish is a sleep of the publisher.",
        (
            put(
                "schedule sleeps, then publishes",
                "trio_bus/_bus.py",
                "        when = check_when(delay, at)\n",
                """        when = check_when(delay, at)
        if isinstance(when, float):
            await trio.sleep(when)
            when = 0.0
""",
            ),
        ),
    ),
    Fault(
        "order is lost on retry",
        "Order is lost on retry.",
        unreached="messages with a key are not kept in order yet (``OrderingMode.KEY``).",
    ),
    Fault(
        "a backoff never delays",
        "``retry_backoff`` never delays a retry.",
        (
            put(
                "a retry is due at once",
                "trio_bus/_policy.py",
                "self._config.retry_backoff.delay_after(receipt.attempt, self._random)",
                "0.0",
            ),
        ),
    ),
)
