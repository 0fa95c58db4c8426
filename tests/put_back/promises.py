"""Faults of the ancestor in what it published, told and tested."""

from __future__ import annotations

from .fault import Fault, put

_SUBSCRIPTION = "trio_bus/_subscription"
_REDIS = "trio_bus/_redis"
_MEMORY = "trio_bus/_memory"

TELLING = (
    Fault(
        "a batch loses its order",
        "Batches are reordered.",
        (
            put(
                "by what the messages hold",
                "trio_bus/_bus.py",
                "self.gate.encode_all(messages)",
                "self.gate.encode_all(sorted(messages, key=lambda it: it.payload))",
            ),
            put(
                "within a chunk",
                f"{_REDIS}/appending.py",
                "zip(records, once or repeat(None), strict=False)",
                "zip(reversed(records), once or repeat(None), strict=False)",
            ),
        ),
    ),
    Fault(
        "a batch shares one key",
        "The messages of a batch share one idempotency key.",
        (
            put(
                "that of the first",
                "trio_bus/_bus.py",
                "                appends.append(self.prepare(message, options))\n",
                """                prepared = self.prepare(message, options)
                first = self.prepare(messages[0], options)
                appends.append(attrs.evolve(prepared, once=first.once))
""",
            ),
        ),
    ),
    Fault(
        "handler errors vanish",
        "Errors of handlers vanish.",
        (
            put(
                "nobody hears of them",
                f"{_SUBSCRIPTION}/core.py",
                "        self._tell_of(holding, Scope.HANDLER, failure)\n",
                "",
            ),
        ),
    ),
    Fault(
        "zeros become defaults",
        "Zeros are replaced by defaults.",
        (
            put(
                "no retries",
                "trio_bus/_config.py",
                "return self.max_retry + 1",
                "return (self.max_retry or 3) + 1",
            ),
            put(
                "no time for handlers",
                f"{_SUBSCRIPTION}/core.py",
                "math.inf if config.handler_timeout is None else config.handler_timeout",
                "config.handler_timeout or math.inf",
            ),
            put(
                "no time to drain",
                f"{_SUBSCRIPTION}/life.py",
                "trio.move_on_after(self._core.config.drain_timeout)",
                "trio.move_on_after(self._core.config.drain_timeout or 30.0)",
            ),
            put(
                "a retry at once",
                "trio_bus/_delivery.py",
                "delay = checked_delay(delay)",
                "delay = checked_delay(delay or None)",
            ),
            put(
                "when it is set",
                "trio_bus/_config.py",
                "max_retry: Count = attrs.field(",
                "max_retry: Count = attrs.field(converter=lambda given: given or 3, ",
            ),
        ),
    ),
    Fault(
        "an option does nothing",
        "Declared options do nothing.",
        (
            put(
                "block_timeout",
                f"{_SUBSCRIPTION}/consumer.py",
                "core.config.block_timeout, core.lease",
                "2.0, core.lease",
            ),
            put(
                "ack_batch_size",
                f"{_SUBSCRIPTION}/core.py",
                "config.ack_batch_size",
                "256",
            ),
            put(
                "max_pending_acks",
                f"{_SUBSCRIPTION}/core.py",
                "config.pending_ack_limit",
                "1000",
            ),
            put(
                "reclaim_interval",
                f"{_SUBSCRIPTION}/reclaimer.py",
                "interval, spread = self._core.config.reclaim_interval,",
                "interval, spread = 0.5,",
            ),
            put(
                "jitter",
                "trio_bus/_backoff.py",
                "(1.0 - self.jitter * random())",
                "random()",
            ),
            put(
                "metadata",
                "trio_bus/_bus.py",
                "        if options.metadata is not NO_HEADERS:\n",
                "        if not options:\n",
            ),
            put(
                "a new one",
                "trio_bus/_config.py",
                "    def __attrs_post_init__(self) -> None:\n        if self.dead_letter_topic",
                "    failure_threshold: Count = attrs.field(default=3, kw_only=True)\n\n"
                "    def __attrs_post_init__(self) -> None:\n        if self.dead_letter_topic",
            ),
        ),
    ),
)

TESTING = (
    Fault(
        "the fake is unlike the real stream",
        "The fake stream behaves unlike the real one.",
        (
            put(
                "its claims always count",
                f"{_MEMORY}/delivery_commands.py",
                "return before if claim.just_id else before + 1",
                "return before + 1",
            ),
            put(
                "its history does not count",
                f"{_MEMORY}/delivery_commands.py",
                "            held.count += 1\n",
                "",
            ),
            put(
                "it takes what was released last",
                f"{_MEMORY}/takeover.py",
                "chain(_held_by(place.group, FREE), _held_by(place.group, ABANDONED))",
                "chain(_held_by(place.group, ABANDONED), _held_by(place.group, FREE))",
            ),
        ),
    ),
    Fault(
        "no test meets a real server",
        "No test met a real server.",
        (
            put(
                "there is none",
                "tests/server_kinds.py",
                'ORDINARY = ("valkey-9.1", "redis-server")',
                "ORDINARY: tuple[str, ...] = ()",
            ),
            put(
                "the runtime meets memory alone",
                "tests/server_kinds.py",
                'asked or ("memory", *ordinary)',
                'asked or ("memory",)',
            ),
        ),
    ),
    Fault(
        "the flusher waits when idle",
        "The flusher waits 2 ms even when idle.",
        (
            put(
                "for company",
                f"{_SUBSCRIPTION}/flusher.py",
                "await self._settle(batch)",
                "await trio.sleep(0.002)\n                await self._settle(batch)",
            ),
        ),
    ),
)
