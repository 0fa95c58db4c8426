"""Scenarios that come with trio_bus."""

from __future__ import annotations

from collections.abc import Mapping

from trio_bus._envelope import EnvelopeCodec
from trio_bus._fields import FieldsCodec
from trio_bus._modes import AckMode

from .faults import Trouble
from .handling import Handling
from .scenario import Form, Scenario

_OF_OPERATIONS = (Trouble.SLOW, Trouble.LOST, Trouble.LOST, Trouble.HALF, Trouble.REFUSED)
_OF_PROCESSES = (Trouble.KILLED, Trouble.PAUSED, Trouble.DEAF, Trouble.SUSPENDED)
_OF_SERVERS = (Trouble.RESTARTED, Trouble.CLOCK)
_OF_ADMINISTRATORS = (Trouble.DELETED, Trouble.TRIMMED, Trouble.UNGROUPED, Trouble.UNSTREAMED)

_FORMS = tuple(Form)[:9]
_ANY = tuple(Handling)[:18]
_RESISTING = (
    *(Handling.LATE, Handling.STUBBORN, Handling.STUBBORN, Handling.STUBBORN),
    *(Handling.HANG, Handling.SWALLOW, Handling.MESSY),
)

_SENDING_BACK = (
    *(Handling.SUCCEED, Handling.FAIL, Handling.REJECT, Handling.RETRY),
    *(Handling.RETRY_LATER, Handling.RETRY_AT_ONCE, Handling.RELEASE, Handling.RELEASE),
    Handling.RELEASE_LATER,
)

_ALL = (
    Scenario(
        name="calm",
        about="No faults: only the order in which tasks run is left to chance.",
        handlings=tuple(Handling)[:12],
        handler_timeouts=(None, 0.3),
        ack_modes=tuple(AckMode),
        pulling=(False, False, True),
    ),
    Scenario(
        name="lossy",
        about="Connections are lost, and answers with them.",
        handlings=(*tuple(Handling)[:8], Handling.SUCCEED),
        max_in_flight=(1, 2, 4),
        messages=(1, 4),
        troubles=_OF_OPERATIONS,
        faults=(1, 6),
    ),
    Scenario(
        name="deadly",
        about="Processes die and stand still.",
        handlings=(*(Handling.SUCCEED,) * 3, Handling.FAIL, Handling.KILL, Handling.LATE),
        max_retry=(0, 1, 3),
        troubles=_OF_PROCESSES,
        faults=(1, 3),
    ),
    Scenario(
        name="restless",
        about="Consumers come and go, with handlers that do not like it.",
        consumers=(2, 2),
        handlings=(*_ANY, *_RESISTING),
        handler_timeouts=(None, 0.3),
        ack_modes=tuple(AckMode),
        pulling=(False, True),
        stays=(0.2, 0.5, 1.5),
        troubles=(Trouble.LOST, Trouble.SLOW),
        faults=(0, 2),
    ),
    Scenario(
        name="scheduled",
        about="Messages of every form.",
        forms=_FORMS,
        messages=(1, 4),
        burying=(True, False),
        troubles=(*_OF_OPERATIONS, *_OF_SERVERS, Trouble.KILLED),
    ),
    Scenario(
        name="spoiled",
        about="An administrator deletes entries, groups and streams.",
        troubles=(*_OF_ADMINISTRATORS, Trouble.LOST),
        faults=(1, 3),
        messages=(2, 4),
    ),
    Scenario(
        name="restarted",
        about="The server is restarted, and its clock is set.",
        troubles=_OF_SERVERS,
        faults=(1, 3),
        latencies=(0.0, 0.02),
    ),
    Scenario(
        name="crowded",
        about="Many settlements are on their way together when a connection is lost.",
        messages=(2, 4),
        forms=(Form.BATCH,),
        max_in_flight=(16,),
        handlings=(Handling.SUCCEED, Handling.REJECT, Handling.FAIL),
        burying=(True, False),
        longest=0.05,
        latencies=(0.05,),
        troubles=(Trouble.LOST, Trouble.REFUSED, Trouble.HALF, Trouble.SLOW),
        faults=(8, 16),
        seconds=0.3,
    ),
    Scenario(
        name="drowsy",
        about="Everything stands still again and again, while retries are due.",
        messages=(5, 8),
        consumers=(1, 1),
        max_in_flight=(1,),
        max_retry=(3,),
        leases=(0.5,),
        handlings=(Handling.FAIL, Handling.SUCCEED),
        steps=(2, 3),
        latencies=(0.0, 0.02),
        troubles=(Trouble.SUSPENDED, Trouble.PAUSED),
        faults=(8, 14),
    ),
    Scenario(
        name="busy",
        about="Two groups, many messages, and everything that can go wrong.",
        messages=(10, 20),
        publishers=2,
        groups=("billing", "shipping"),
        consumers=(1, 3),
        forms=_FORMS,
        max_in_flight=(1, 3, 16),
        max_pending_acks=(None, 1),
        handlings=_ANY,
        handler_timeouts=(None, None, 0.4),
        ack_modes=(*(AckMode.AUTO_ON_HANDLER_SUCCESS,) * 2, AckMode.MANUAL),
        pulling=(False, False, True),
        burying=(True, True, False),
        steps=(1, 3),
        stays=(60.0, 60.0, 0.5),
        latencies=(0.0, 0.01),
        troubles=(*_OF_OPERATIONS, *_OF_PROCESSES, *_OF_SERVERS),
        faults=(2, 8),
    ),
    Scenario(
        name="large",
        about="Payloads that are as large as they may be, or larger, however they are written.",
        messages=(1, 3),
        forms=(Form.LARGEST, Form.LARGEST, Form.OVERSIZED, Form.PUBLISH),
        largest=(10, 200, 300_000),
        codecs=(FieldsCodec(), EnvelopeCodec()),
        handlings=(Handling.SUCCEED, Handling.SUCCEED, Handling.FAIL),
        troubles=(Trouble.LOST,),
        faults=(0, 1),
        seconds=1.0,
    ),
    Scenario(
        name="poisoned",
        about="Messages kill their process, which comes again and goes; the rest is innocent.",
        messages=(10, 14),
        consumers=(1, 1),
        max_in_flight=(2, 4),
        max_retry=(1,),
        leases=(1.0,),
        handlings=(*(Handling.SUCCEED,) * 7, *(Handling.KILL,) * 2, Handling.FORGET),
        handler_timeouts=(2.0,),
        ack_modes=(AckMode.AUTO_ON_HANDLER_SUCCESS, AckMode.MANUAL),
        pulling=(False, False, True),
        longest=0.6,
        stays=(60.0, 0.9),
        latencies=(0.0, 0.02),
        troubles=(Trouble.KILLED,),
        faults=(0, 1),
        seconds=6.0,
    ),
    Scenario(
        name="breathless",
        about="Leases are hard to keep: what renews them is slow, refused or lost.",
        messages=(3, 6),
        max_in_flight=(2, 4),
        handlings=(*(Handling.HANG,) * 6, Handling.SUCCEED, Handling.RENEW),
        pulling=(False, False, True),
        latencies=(0.0, 0.1, 0.1),
        troubles=(
            *(Trouble.SLOW, Trouble.SLOW, Trouble.REFUSED, Trouble.LOST),
            *(Trouble.RESTARTED, Trouble.RESTARTED),
        ),
        operations=("renew", "renew", "renew", "read", "take_over", "settle"),
        faults=(3, 7),
    ),
    Scenario(
        name="hurried",
        about="Time is short, for handlers and for whoever leaves.",
        messages=(3, 6),
        forms=(Form.PUBLISH, Form.BATCH),
        max_in_flight=(2, 4),
        handlings=(
            Handling.HANG,
            Handling.HANG,
            Handling.SUCCEED,
            Handling.SWALLOW,
            Handling.DRAIN,
        ),
        handler_timeouts=(None, None, 0.0, 0.3),
        drain_timeouts=(0.0, 0.3),
        pulling=(False, False, True),
        stays=(0.2, 0.5),
    ),
    Scenario(
        name="thinned",
        about="Entries are deleted and trimmed while handlers work on them.",
        messages=(2, 4),
        handlings=(Handling.HANG, Handling.HANG, Handling.SUCCEED, Handling.FAIL),
        troubles=(Trouble.DELETED, Trouble.TRIMMED),
        faults=(2, 4),
    ),
    Scenario(
        name="prompt",
        about="No faults, and much that is due at once: whatever is late shows.",
        messages=(3, 6),
        forms=(Form.PUBLISH, Form.BATCH, Form.BATCH, Form.SCHEDULED, Form.CANCELLED),
        max_in_flight=(1, 4, 8),
        max_retry=(0, 1, 3),
        handlings=_SENDING_BACK,
        ack_modes=(AckMode.AUTO_ON_HANDLER_SUCCESS, AckMode.MANUAL),
        pulling=(False, False, True),
        steps=(3, 5),
        longest=0.0,
        latencies=(0.0, 0.0, 0.0, 0.002),
        reclaim_intervals=(0.5, 2.0),
        block_timeouts=(2.0, 0.1, 0.05),
    ),
    Scenario(
        name="transacted",
        about="Handlers publish in transactions, and everything that can go wrong does.",
        messages=(2, 5),
        consumers=(2, 2),
        max_in_flight=(2, 4),
        max_retry=(1, 3),
        leases=(0.5,),
        handlings=(
            *(*(Handling.COMMIT,) * 4, Handling.COMMIT_LATE, Handling.COMMIT_LATE),
            *(Handling.COMMIT_NOT, Handling.SUCCEED, Handling.FAIL),
        ),
        ack_modes=(AckMode.AUTO_ON_HANDLER_SUCCESS, AckMode.MANUAL),
        pulling=(False, False, True),
        latencies=(0.0, 0.0, 0.02),
        troubles=(*_OF_OPERATIONS, *_OF_PROCESSES, Trouble.RESTARTED, Trouble.DELETED),
        operations=("settle", "settle", "settle", "renew", "take_over", "read"),
        faults=(2, 6),
    ),
)

SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
