"""Faults of the ancestor in its connections, and in its end."""

from __future__ import annotations

from .fault import Fault, put

_SUBSCRIPTION = "trio_bus/_subscription"
_REDIS = "trio_bus/_redis"
_MEMORY = "trio_bus/_memory"
_SCRIPTS = "trio_bus/_redis/scripts"

CONNECTING = (
    Fault(
        "reads hold up publishes",
        "Blocking reads share the connection for publishing.",
        (
            put(
                "a member reads on the connection that all share",
                f"{_REDIS}/backend.py",
                "membership, self._open_reader, timeout, alarm, hint=hint, hears",
                "membership, self._link.wait_connected, timeout, alarm, hint=hint, hears",
            ),
        ),
    ),
    Fault(
        "a connection does not come back",
        "There is no reconnect.",
        (
            put(
                "for commands",
                f"{_REDIS}/link.py",
                "failures += not await self._reconnect()",
                "await trio.sleep_forever()",
            ),
            put(
                "for reads",
                f"{_REDIS}/reader.py",
                "if connection is None or not connection.pipeline.is_open:",
                "if connection is None:",
            ),
        ),
    ),
    Fault(
        "NOGROUP does not heal",
        "NOGROUP never heals.",
        (
            put(
                "the group is not made again",
                f"{_SUBSCRIPTION}/consumer.py",
                "if isinstance(error, GroupMissing):",
                "if error is None:",
            ),
        ),
    ),
    Fault(
        "undecodable bytes are lost",
        "Undecodable messages lose their bytes.",
        (
            put(
                "they are acked",
                f"{_SUBSCRIPTION}/inspection.py",
                "Bury(holding.receipt, death(cause, error)), shown(error))",
                "Ack(holding.receipt))",
            ),
            put(
                "in memory, only the reason is buried",
                f"{_MEMORY}/custody.py",
                "record + context",
                "context",
            ),
            put(
                "on a server, only the reason is buried",
                f"{_SCRIPTS}/_lib.lua",
                "  local fields = found[2]\n",
                "  local fields = {}\n",
            ),
        ),
    ),
    Fault(
        "a limit that nobody sees",
        "A valid payload can exceed the hidden limit of the raw record.",
        (
            put(
                "the record may be as large as the payload",
                "trio_bus/_gate.py",
                "codec.max_record_bytes(max_payload_bytes)",
                "max_payload_bytes",
            ),
            put(
                "the envelope forgets that it writes base64",
                "trio_bus/_envelope.py",
                "(max_payload_bytes + 2) // 3 * 4 + ALLOWANCE",
                "max_payload_bytes + ALLOWANCE",
            ),
        ),
    ),
)

CLOSING = (
    Fault(
        "a failed ack is forgotten",
        "Failed acks are not retried.",
        (
            put(
                "the first failure is the last",
                f"{_SUBSCRIPTION}/flusher.py",
                "        self._refused.append(settling)\n",
                "        settling.abandon(error)\n        self._end(settling)\n",
            ),
        ),
    ),
    Fault(
        "close hands nothing back",
        "Close hands nothing back.",
        (
            put(
                "what is still held",
                f"{_SUBSCRIPTION}/life.py",
                "await self._release_rest()",
                "await trio.lowlevel.checkpoint()",
            ),
            put(
                "what a cancelled handler had",
                "trio_bus/_holding.py",
                "self._submit_if_open(Release(self.receipt))",
                "self._submit_if_open(Ack(self.receipt))",
            ),
        ),
    ),
    Fault(
        "close has no deadline",
        "Close has no deadline.",
        (
            put(
                "for handlers",
                f"{_SUBSCRIPTION}/life.py",
                "trio.move_on_after(self._core.config.drain_timeout)",
                "trio.CancelScope()",
            ),
            put(
                "for settlements",
                f"{_SUBSCRIPTION}/life.py",
                "with trio.move_on_after(self._core.config.shutdown_timeout):",
                "with trio.move_on_after(1e6):",
            ),
        ),
    ),
    Fault(
        "close is not cancel-safe",
        "Close is not cancel-safe.",
        (
            put(
                "its last steps are cancelled too",
                f"{_SUBSCRIPTION}/life.py",
                "with trio.CancelScope(shield=True):\n                await self._finish()",
                "with suppress(trio.Cancelled):\n                await self._finish()",
            ),
        ),
    ),
    Fault(
        "close waits for a kept delivery",
        "Close hangs if a delivery is kept.",
        (
            put(
                "until somebody settles it",
                f"{_SUBSCRIPTION}/life.py",
                "        await self._intake_ended.wait()\n        await self._settle()\n",
                "        with trio.move_on_after(600):\n"
                "            await self._wait_nothing_held()\n"
                "        await self._settle()\n",
            ),
        ),
    ),
    Fault(
        "abort leaves tasks",
        "Aborting leaves tasks behind.",
        (
            put(
                "handlers run outside the nursery",
                f"{_SUBSCRIPTION}/dispatcher.py",
                "nursery.start_soon(Cell()",
                "trio.lowlevel.spawn_system_task(Cell()",
            ),
        ),
    ),
)
