"""Settings: what they refuse, and how a table becomes one."""

import math
import tomllib
from enum import StrEnum

import attrs
import cattrs
import pytest

from tests.loose import loose
from trio_bus._backoff import Backoff
from trio_bus._config import SubscriptionConfig
from trio_bus._entry_id import EntryId
from trio_bus._envelope import EnvelopeCodec
from trio_bus._errors import ValidationError
from trio_bus._fields import FieldsCodec
from trio_bus._modes import (
    AckMode,
    BalanceMode,
    Confirmation,
    Guarantee,
    OrderingMode,
    StartPosition,
)
from trio_bus._names import shown
from trio_bus._observer import LoggingObserver
from trio_bus._options import BusOptions, PublishOptions

backoff = loose(Backoff)
subscription = loose(SubscriptionConfig)
publish = loose(PublishOptions)
bus = loose(BusOptions)


def leaves(group: BaseExceptionGroup[Exception]) -> list[BaseException]:
    """Return the errors inside what cattrs raises."""
    found: list[BaseException] = []
    for part in group.exceptions:
        if isinstance(part, cattrs.BaseValidationError):
            found += leaves(part)
        else:
            found.append(part)
    return found


def refused(table: str, kind: type[object]) -> str:
    """Structure a table that must be refused, and return why."""
    with pytest.raises(cattrs.BaseValidationError) as caught:
        cattrs.structure(tomllib.loads(table), kind)
    [leaf] = leaves(caught.value)
    assert isinstance(leaf, ValidationError)
    return str(leaf)


def test_defaults_are_those_of_the_manual() -> None:
    """A subscription with nothing but its names."""
    config = SubscriptionConfig("orders", "billing")
    assert attrs.asdict(config, recurse=False) == {
        "topic": "orders",
        "group": "billing",
        "consumer": "consumer",
        "start": None,
        "ack_mode": None,
        "balance_mode": BalanceMode.COMPETING,
        "fan_out_expiry": 300.0,
        "max_in_flight": 16,
        "max_in_flight_bytes": None,
        "max_pending_acks": None,
        "max_retry": 3,
        "retry_backoff": Backoff(first=0.1, factor=2.0, cap=300.0, jitter=1.0),
        "retry_on": (Exception,),
        "reject_on": (),
        "on_failure": None,
        "failure_threshold": None,
        "dead_letter_topic": None,
        "handler_timeout": None,
        "claim_idle_timeout": 60.0,
        "reclaim_interval": 0.5,
        "block_timeout": 2.0,
        "ack_batch_size": 256,
        "drain_timeout": 30.0,
        "shutdown_timeout": 5.0,
        "retention": None,
        "output_topics": (),
        "ordering_mode": OrderingMode.NONE,
        "max_parked": 10_000,
    }
    options = BusOptions()
    assert options.max_payload_bytes == 4 * 1024 * 1024
    assert isinstance(options.codec, FieldsCodec)
    assert isinstance(options.observer, LoggingObserver)
    assert (options.connect_timeout, options.command_timeout) == (10.0, 10.0)
    assert (options.publish_timeout, options.dedup_window) == (30.0, 120.0)
    assert options.insecure_tls is False
    assert PublishOptions().metadata == {}


def test_settings_are_keyword_only_past_topic_and_group() -> None:
    """So that more can be added anywhere."""
    with pytest.raises(TypeError):
        subscription("orders", "billing", "consumer")
    with pytest.raises(TypeError):
        bus(1024)


WRONG_NUMBERS: list[object] = ["1", None, True, math.nan, -math.inf, b"1", [1], 10**400, 10**5000]
TIMES: list[tuple[str, list[object]]] = [
    ("claim_idle_timeout", [0, 0.09, -1, math.inf, 1e10]),
    ("reclaim_interval", [0, 0.0, -1, math.inf]),
    ("block_timeout", [0, -1]),
    ("drain_timeout", [-0.001]),
    ("shutdown_timeout", [-1, math.inf]),
    ("handler_timeout", [-1]),
]
COUNTS: list[tuple[str, list[object]]] = [
    ("max_in_flight", [0, -1, 2**31]),
    ("max_in_flight_bytes", [0, -1, 1.5, True, 2**31]),
    ("max_pending_acks", [0, -1]),
    ("max_retry", [-1, 2**31]),
    ("failure_threshold", [1, 0, -1, 2.5, 2**31]),
    ("ack_batch_size", [0]),
]
NAMES: list[tuple[str, list[object]]] = [
    ("topic", ["", "trio_bus:x", 7, None]),
    ("group", ["", "~free", 7, None]),
    ("consumer", ["", "~free", "x" * 217, 7, None]),
    ("dead_letter_topic", ["", "a}", 7, "orders"]),
]
OTHERS: list[tuple[str, list[object]]] = [
    ("start", ["oldest", 7, "1-0", (1, 0), EntryId(-1), EntryId(0, 2**64), True]),
    ("ack_mode", ["manual", 1, StartPosition.OLDEST]),
    ("retry_backoff", [None, 1.0, {"first": 1}]),
    ("retry_on", [None, [ValueError], (BaseException,), (7,), KeyboardInterrupt, "ValueError"]),
    ("reject_on", [None, [], (ValueError, ValueError())]),
]
OPTIONAL = {"handler_timeout", "max_in_flight_bytes", "max_pending_acks", "failure_threshold"}
EVERY_WRONG: list[tuple[str, object]] = [
    *((field, value) for field, values in TIMES for value in [*values, *WRONG_NUMBERS]),
    *((field, value) for field, values in COUNTS for value in [*values, 1.0, *WRONG_NUMBERS]),
    *((field, value) for field, values in NAMES for value in values),
    *((field, value) for field, values in OTHERS for value in values),
]


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, value in EVERY_WRONG if value is not None or field not in OPTIONAL],
    ids=lambda value: shown(value)[:30],
)
def test_what_cannot_work_is_refused_by_name(field: str, value: object) -> None:
    """The error begins with the name of the setting."""
    with pytest.raises(ValidationError, match=f"^{field}: "):
        subscription(**{"topic": "orders", "group": "billing", field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("claim_idle_timeout", 0.1),
        ("claim_idle_timeout", 60),
        ("reclaim_interval", 1e-9),
        ("block_timeout", math.inf),
        ("drain_timeout", 0),
        ("drain_timeout", math.inf),
        ("shutdown_timeout", 0.0),
        ("handler_timeout", None),
        ("handler_timeout", 0),
        ("handler_timeout", math.inf),
        ("max_in_flight", 1),
        ("max_in_flight_bytes", 1),
        ("max_pending_acks", 1),
        ("max_retry", 0),
        ("ack_batch_size", 1),
        ("start", StartPosition.NEWEST),
        ("start", EntryId(0)),
        ("start", EntryId(2**64 - 1, 2**64 - 1)),
        ("ack_mode", AckMode.AUTO_ON_RECEIVE),
        ("dead_letter_topic", "{orders}.dead"),
        ("retry_on", ()),
        ("reject_on", (ValueError, KeyError)),
    ],
)
@pytest.mark.guards("zeros become defaults")
def test_the_edges_are_taken_as_they_are(field: str, value: object) -> None:
    """Zero means zero: nothing is replaced."""
    config = subscription(**{"topic": "orders", "group": "billing", field: value})
    assert getattr(config, field) == value


def test_one_exception_type_becomes_a_tuple() -> None:
    """A common slip, and clear."""
    config = subscription("orders", "billing", retry_on=OSError, reject_on=ValueError)
    assert config.retry_on == (OSError,)
    assert config.reject_on == (ValueError,)


def test_members_of_a_str_enum_become_plain_text() -> None:
    """So that nothing later depends on how an enum prints."""

    class Topic(StrEnum):
        ORDERS = "orders"
        DEAD = "dead"

    config = SubscriptionConfig(Topic.ORDERS, Topic.ORDERS, dead_letter_topic=Topic.DEAD)
    assert type(config.topic) is type(config.group) is type(config.dead_letter_topic) is str


def test_limits_that_follow_from_others() -> None:
    """Twice the permits, and one attempt more than retries."""
    config = SubscriptionConfig("orders", "billing", max_in_flight=10, max_retry=0)
    assert config.pending_ack_limit == 20
    assert config.max_attempt == 1
    assert attrs.evolve(config, max_pending_acks=3).pending_ack_limit == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_retry", 0),
        ("retry_backoff", Backoff(first=1.0)),
        ("retry_on", (OSError,)),
        ("reject_on", (OSError,)),
    ],
)
def test_at_most_once_has_no_retries(field: str, value: object) -> None:
    """What would have no effect is refused; in the other modes it has one."""
    with pytest.raises(ValidationError, match=f"^{field}: .*AUTO_ON_RECEIVE"):
        subscription(
            **{"topic": "a", "group": "b", "ack_mode": AckMode.AUTO_ON_RECEIVE, field: value}
        )
    for mode in None, AckMode.MANUAL, AckMode.AUTO_ON_HANDLER_SUCCESS:
        subscription(**{"topic": "a", "group": "b", "ack_mode": mode, field: value})


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("first", [-1, math.inf, "1"]),
        ("factor", [0.99, 0, math.inf, math.nan]),
        ("cap", [-1, math.inf]),
        ("jitter", [-0.1, 1.1, True]),
    ],
)
def test_backoff_has_ranges(field: str, values: list[object]) -> None:
    """Each named in its error."""
    for value in values:
        with pytest.raises(ValidationError, match=f"^{field}: "):
            backoff(**{field: value})


def test_backoff_grows_to_its_cap() -> None:
    """Without jitter exactly, and without overflow."""
    steady = Backoff(first=0.5, factor=3.0, cap=10.0, jitter=0.0)
    assert [steady.delay_after(n, lambda: 0.7) for n in (1, 2, 3, 4, 5000)] == [
        0.5,
        1.5,
        4.5,
        10.0,
        10.0,
    ]
    assert Backoff(first=0.0).delay_after(5000, lambda: 0.0) == 0.0
    assert Backoff(first=2, factor=1, jitter=0).delay_after(5000, lambda: 0.5) == 2.0
    assert Backoff(first=3.0, cap=1.0, jitter=0.0).delay_after(1, lambda: 0.0) == 1.0


def test_jitter_takes_a_part_away() -> None:
    """All of it reaches down to zero, half of it down to half."""
    for jitter, least in (1.0, 0.0), (0.5, 4.0):
        spread = Backoff(first=8.0, jitter=jitter)
        assert spread.delay_after(1, lambda: 0.0) == 8.0
        assert spread.delay_after(1, lambda: 1.0) == least
        assert spread.delay_after(1, lambda: 0.5) == (8.0 + least) / 2


def test_metadata_is_headers() -> None:
    """With the rules of headers."""
    metadata = {"tenant": "acme"}
    options = PublishOptions(metadata)
    metadata.clear()
    assert options.metadata == {"tenant": "acme"}
    wrongs: list[object] = [None, "a", {"a": 1}, {"retry-attempt": "1"}, {"Trio-Bus-x": "1"}]
    # All messages but the first would be duplicates.
    wrongs += [{"Idempotency-Key": "a"}, {"idempotency-key": ""}]
    for wrong in wrongs:
        with pytest.raises(ValidationError, match=r"^metadata: "):
            publish(wrong)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("confirmation", "persisted"),
        ("confirmation", None),
        ("guarantee", Confirmation.PERSISTED),
        ("guarantee", Guarantee.EXACTLY_ONCE),  # needs PERSISTED
        ("replicas", 1),  # has no effect without it
        ("replicas", -1),
        ("replicas", True),
    ],
    ids=ascii,
)
def test_publish_options_are_checked(field: str, value: object) -> None:
    """Each named in its error."""
    with pytest.raises(ValidationError, match=f"^{field}: "):
        publish(**{field: value})


def test_a_table_becomes_publish_options() -> None:
    """The enums by their values."""
    table = {"confirmation": "persisted", "guarantee": "exactly_once", "replicas": 2}
    assert cattrs.structure(table, PublishOptions) == PublishOptions(
        confirmation=Confirmation.PERSISTED, guarantee=Guarantee.EXACTLY_ONCE, replicas=2
    )
    assert cattrs.structure({}, PublishOptions) == PublishOptions()
    assert refused('confirmation = "PERSISTED"', PublishOptions).startswith("confirmation: ")
    assert refused('guarantee = "exactly_once"', PublishOptions).startswith("guarantee: ")
    assert refused("replicas = 1", PublishOptions).startswith("replicas: ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_payload_bytes", -1),
        ("max_payload_bytes", 1.0),
        ("codec", "fields"),
        ("codec", FieldsCodec),
        ("codec", None),
        ("observer", None),
        ("observer", LoggingObserver),
        ("connect_timeout", -1),
        ("command_timeout", math.nan),
        ("publish_timeout", -1),
        ("publish_timeout", "1"),
        ("dedup_window", 0),
        ("dedup_window", math.inf),
        ("insecure_tls", 1),
        ("insecure_tls", "yes"),
    ],
    ids=ascii,
)
def test_bus_options_are_checked(field: str, value: object) -> None:
    """Each named in its error; a class is no object."""
    with pytest.raises(ValidationError, match=f"^{field}: "):
        bus(**{field: value})


def test_a_table_becomes_a_subscription() -> None:
    """With the plain converter of cattrs."""
    table = """
        topic = "orders"
        group = "billing"
        consumer = "worker"
        start = "newest"
        ack_mode = "manual"
        max_in_flight = 4
        max_pending_acks = 5
        max_retry = 0
        dead_letter_topic = "{orders}.dead"
        handler_timeout = inf
        claim_idle_timeout = 5
        retry_backoff = { first = 1, jitter = 0.5 }
    """
    assert cattrs.structure(tomllib.loads(table), SubscriptionConfig) == SubscriptionConfig(
        "orders",
        "billing",
        consumer="worker",
        start=StartPosition.NEWEST,
        ack_mode=AckMode.MANUAL,
        max_in_flight=4,
        max_pending_acks=5,
        max_retry=0,
        dead_letter_topic="{orders}.dead",
        handler_timeout=math.inf,
        claim_idle_timeout=5.0,
        retry_backoff=Backoff(first=1.0, jitter=0.5),
    )


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("oldest", StartPosition.OLDEST),
        ("newest", StartPosition.NEWEST),
        ("1700000000000-0", EntryId(1_700_000_000_000)),
        ("0-7", EntryId(0, 7)),
    ],
)
def test_a_table_says_where_to_start(text: str, start: StartPosition | EntryId) -> None:
    """By name or by entry id."""
    table = {"topic": "a", "group": "b", "start": text}
    assert cattrs.structure(table, SubscriptionConfig).start == start


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('max_in_flight = "3"', "max_in_flight"),
        ("max_in_flight = 3.0", "max_in_flight"),
        ("max_in_flight = true", "max_in_flight"),
        ('claim_idle_timeout = "3"', "claim_idle_timeout"),
        ("block_timeout = nan", "block_timeout"),
        ('handler_timeout = "1"', "handler_timeout"),
        ("consumer = 7", "consumer"),
        ('start = "first"', "start"),
        ("start = 1700000000000", "start"),
        ('ack_mode = "MANUAL"', "ack_mode"),
        ("retry_backoff = 3", "retry_backoff"),
        ('retry_backoff = { first = "1" }', "first"),
        ('retry_on = ["OSError"]', "retry_on"),
        ('reject_on = "OSError"', "reject_on"),
        ('on_failure = "reject"', "on_failure"),
        ('dead_letter_topic = "a"', "dead_letter_topic"),
    ],
)
def test_a_table_is_not_bent_to_fit(line: str, field: str) -> None:
    """Wrong types are refused by name, not converted."""
    assert refused(f'topic = "a"\ngroup = "b"\n{line}', SubscriptionConfig).startswith(f"{field}: ")


def test_a_table_becomes_options() -> None:
    """Codecs have names; metadata is a table."""
    table = 'max_payload_bytes = 10\ncodec = "envelope"\ninsecure_tls = true\nconnect_timeout = 1'
    table += "\npublish_timeout = inf\ndedup_window = 5"
    options = cattrs.structure(tomllib.loads(table), BusOptions)
    assert options.max_payload_bytes == 10
    assert isinstance(options.codec, EnvelopeCodec)
    assert options.insecure_tls is True
    assert (options.publish_timeout, options.dedup_window) == (math.inf, 5.0)
    assert isinstance(cattrs.structure({"codec": "fields"}, BusOptions).codec, FieldsCodec)
    for line, field in (
        ('codec = "json"', "codec"),
        ("codec = 1", "codec"),
        ('observer = "x"', "observer"),
        ("insecure_tls = 1", "insecure_tls"),
    ):
        assert refused(line, BusOptions).startswith(f"{field}: ")
    table = "[metadata]\ntenant = 'acme'"
    assert cattrs.structure(tomllib.loads(table), PublishOptions).metadata == {"tenant": "acme"}
    assert refused("metadata = { a = 1 }", PublishOptions).startswith("metadata: ")


def test_a_misspelt_name_in_an_inner_table_is_refused_by_any_converter() -> None:
    """The caller's converter does not reach it."""
    table = {"topic": "orders", "group": "billing", "retry_backoff": {"frist": 1.0}}
    plain = cattrs.Converter(detailed_validation=False)
    with pytest.raises(ValidationError, match="retry_backoff: 'frist'"):
        plain.structure(table, SubscriptionConfig)


def test_a_strict_converter_refuses_a_misspelt_name_and_names_a_bad_value() -> None:
    """As the manual says."""
    strict = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)
    table = {"topic": "orders", "group": "billing"}
    with pytest.raises(cattrs.errors.ForbiddenExtraKeysError, match="lease"):
        strict.structure({**table, "lease": 5.0}, SubscriptionConfig)
    with pytest.raises(ValidationError, match="max_in_flight: 0"):
        strict.structure({**table, "max_in_flight": 0}, SubscriptionConfig)


def test_an_order_needs_leases_and_its_bound_needs_an_order() -> None:
    """No setting without an effect, and none that cannot be kept."""
    with pytest.raises(ValidationError, match="max_parked: 5 has no effect without"):
        SubscriptionConfig("orders", "billing", max_parked=5)
    with pytest.raises(ValidationError, match=r"ordering_mode: .*KEY is for groups that share"):
        attrs.evolve(SubscriptionConfig.fan_out("t"), ordering_mode=OrderingMode.KEY)
    with pytest.raises(ValidationError, match=r"ordering_mode: .*KEY cannot be kept with"):
        SubscriptionConfig(
            "orders",
            "billing",
            ordering_mode=OrderingMode.KEY,
            ack_mode=AckMode.AUTO_ON_RECEIVE,
        )
    table = {"topic": "orders", "group": "billing", "ordering_mode": "key", "max_parked": 5}
    config = cattrs.structure(table, SubscriptionConfig)
    assert (config.ordering_mode, config.max_parked) == (OrderingMode.KEY, 5)
