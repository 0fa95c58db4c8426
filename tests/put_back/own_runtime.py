"""Faults of our own in what a subscription holds, settles and starts."""

from __future__ import annotations

from .fault import Change, Fault, Putting, put

_SUBSCRIPTION = "trio_bus/_subscription"

_PERMITS = (
    Fault(
        "one permit too many",
        "A subscription holds one entry more than it may.",
        (
            put(
                "from the start",
                f"{_SUBSCRIPTION}/permits.py",
                "self._free = self._most = max_in_flight",
                "self._free = self._most = max_in_flight + 1",
            ),
        ),
    ),
    Fault(
        "a permit leaks",
        "A permit is taken for something that does not come, and never given back.",
        (
            put(
                "that of a settlement over the limit",
                f"{_SUBSCRIPTION}/permits.py",
                "        self._release(deferred)\n",
                "",
            ),
            put(
                "by a read that lets a claim go first",
                f"{_SUBSCRIPTION}/consumer.py",
                "            permits.give_back(taken)\n            return\n",
                "            return\n",
            ),
            put(
                "by a claim that waits after a gap",
                f"{_SUBSCRIPTION}/reclaimer.py",
                "            self._core.permits.give_back(taken)\n            self._alarm",
                "            self._alarm",
            ),
            put(
                "by the turn of a suspect",
                f"{_SUBSCRIPTION}/turn.py",
                "permits.give_back(taken - used)",
                "permits.give_back(max(0, taken - used - 1))",
            ),
            put(
                "by what was acked on arrival and is not handled",
                f"{_SUBSCRIPTION}/dispatcher.py",
                "        except BaseException as error:\n            self._core.ended(holding)\n",
                "        except BaseException as error:\n",
            ),
        ),
    ),
)

_SETTLING = (
    Fault(
        "a settlement is forgotten",
        "What the server refused, or did not answer, is not tried again.",
        (
            put(
                "with those whose next try is due",
                f"{_SUBSCRIPTION}/flusher.py",
                "[settling for settling in self._refused if settling not in due]",
                "[]",
            ),
            put(
                "all but the first of a batch",
                f"{_SUBSCRIPTION}/flusher.py",
                "            for settling in batch:\n",
                "            for settling in batch[:1]:\n",
            ),
        ),
    ),
    Fault(
        "the second answer is believed",
        "A settlement whose answer was lost is sent again, and what that answers is believed.",
        (
            put(
                "always",
                f"{_SUBSCRIPTION}/flusher.py",
                "if settling.uncertain and",
                "if settling.uncertain and settling.over and",
            ),
            put(
                "after an error that came later",
                f"{_SUBSCRIPTION}/flusher.py",
                "settling.uncertain or isinstance(error, OutcomeUnknown)",
                "isinstance(error, OutcomeUnknown)",
            ),
        ),
    ),
    Fault(
        "a failure is tried once more",
        "There is one attempt more than the limit allows.",
        (
            put(
                "by the policy",
                "trio_bus/_policy.py",
                "if receipt.attempt >= self.max_attempt:",
                "if receipt.attempt > self.max_attempt:",
            ),
            put(
                "one less",
                "trio_bus/_policy.py",
                "if receipt.attempt >= self.max_attempt:",
                "if receipt.attempt + 1 >= self.max_attempt:",
            ),
        ),
    ),
    Fault(
        "cancelling counts as failing",
        "What a cancelled handler had counts as an attempt.",
        (
            put(
                "it is retried",
                "trio_bus/_holding.py",
                "self._submit_if_open(Release(self.receipt))",
                'self.context.keeper.failed(self, HandlerTimeout("it was cancelled"))',
            ),
        ),
    ),
    Fault(
        "what is rejected is acked",
        "What nobody can handle is done, and no dead letter.",
        (
            put(
                "by the policy",
                "trio_bus/_policy.py",
                "        return Bury(receipt, death(DeathCause.REJECTED, reason))\n",
                "        from trio_bus._backend import Ack\n\n        return Ack(receipt)\n",
            ),
        ),
    ),
    Fault(
        "a release is not held up",
        "What is released again and again comes back at once each time.",
        (
            put(
                "the second time",
                f"{_SUBSCRIPTION}/core.py",
                "            return self.config.reclaim_interval\n",
                "            return 0.0\n",
            ),
        ),
    ),
)

_LOOKING = (
    Fault(
        "a look comes too late",
        "Who has nothing to do does not look when a lease of somebody else ends.",
        (
            put(
                "whatever the last look said",
                f"{_SUBSCRIPTION}/reclaimer.py",
                "min(quiet_for, LONGEST)",
                "LONGEST",
            ),
            put(
                "by what a server says",
                "trio_bus/_redis/scripts/_tend.lua",
                "ends = math.min(ends, watched[name] and watched[name][1] or now)",
                "ends = math.min(ends, now + lease)",
            ),
        ),
    ),
)

_STARTING = (
    Fault(
        "a handler starts cancelled",
        "What cancelled one handler cancels the next one that runs in its place.",
        (
            put(
                "when a lease was lost",
                f"{_SUBSCRIPTION}/dispatcher.py",
                "is None or holding.lost or self._has_timeout",
                "is None or self._has_timeout",
            ),
        ),
    ),
    Fault(
        "an ack takes what is another's",
        "An ack finishes an entry without a look at whose it is, though its lease is over.",
        (
            put(
                "in memory",
                "trio_bus/_memory/member.py",
                "settlement.held_until > trio.current_time()",
                "settlement.held_until",
            ),
            put(
                "on a server",
                "trio_bus/_redis/group.py",
                "type(it) is Ack and it.held_until > now for it",
                "isinstance(it, Ack) for it",
            ),
        ),
    ),
    Fault(
        "two deliveries overlap",
        "A second delivery of an entry does not wait for the end of the first.",
        (
            put(
                "it starts at once",
                f"{_SUBSCRIPTION}/succession.py",
                "        self._lose(earlier)\n        return False\n",
                "        self._lose(earlier)\n        return True\n",
            ),
        ),
    ),
    Fault(
        "a successor is forgotten",
        "What waits for the end of an earlier delivery never starts.",
        (
            put(
                "when that ends",
                f"{_SUBSCRIPTION}/succession.py",
                "        else:\n            self._start([successor])\n",
                "        elif successor.lost:\n            self._start([successor])\n",
            ),
        ),
    ),
    Fault(
        "what was lost is kept",
        "What was lost by the clock, and may still be ours, is not given back.",
        (
            put(
                "when its handler ends",
                f"{_SUBSCRIPTION}/core.py",
                "        if holding.give_back:\n            self._give_back(holding)\n"
                "        holding.permit",
                "        holding.permit",
            ),
        ),
    ),
    Fault(
        "a handler may take for ever",
        "``handler_timeout`` ends nothing.",
        (
            Putting(
                "no handler that runs",
                (
                    Change(
                        "trio_bus/_holding.py",
                        "trio.CancelScope(deadline=now + self.context.handler_timeout)",
                        "trio.CancelScope()",
                    ),
                    Change(
                        f"{_SUBSCRIPTION}/dispatcher.py",
                        "holding.deadline = cell.scope.deadline = now",
                        "holding.deadline = now",
                    ),
                ),
            ),
            put(
                "no delivery that was left open",
                f"{_SUBSCRIPTION}/leases.py",
                "if holding.deadline <= now:",
                "if holding.deadline <= now and holding.busy:",
            ),
        ),
    ),
    Fault(
        "a shield lacks",
        "A shield lacks where there must be one.",
        (
            put(
                "the service tasks are cancelled with the block",
                f"{_SUBSCRIPTION}/life.py",
                "self._services = trio.CancelScope(shield=True)",
                "self._services = trio.CancelScope()",
            ),
            put(
                "a booking is given up only by who is not cancelled",
                f"{_SUBSCRIPTION}/turn.py",
                "trio.move_on_after(LONGEST_GOODBYE, shield=True)",
                "trio.move_on_after(LONGEST_GOODBYE)",
            ),
        ),
    ),
)

RUNTIME = (*_PERMITS, *_SETTLING, *_LOOKING, *_STARTING)
