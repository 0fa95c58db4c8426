"""Settings of a bus and of a publish.

All of them are checked when they are made, and can be made by ``cattrs.structure`` from a table of
a TOML file. Durations are in seconds.
"""

from collections.abc import Mapping
from typing import Annotated

import attrs
import cattrs

from . import _checks as checks
from ._codec import Codec
from ._credentials import CredentialProvider
from ._envelope import EnvelopeCodec
from ._errors import ValidationError
from ._fields import FieldsCodec
from ._headers import NO_HEADERS, Headers, check_headers
from ._modes import Confirmation, Guarantee
from ._names import shown
from ._observer import LoggingObserver, Observer
from ._tables import Count, Seconds, member_of, only_in_code, raw


def _codec_from_table(value: object, _: object) -> object:
    named: dict[str, type[Codec]] = {"fields": FieldsCodec, "envelope": EnvelopeCodec}
    if not isinstance(value, str) or value not in named:
        raise ValidationError(f"codec: {shown(value)} is not 'fields' or 'envelope'")
    return named[value]()


def _credentials_from_table(_: object, __: object) -> object:
    # Without the value: it may be a password.
    raise ValidationError("credential_provider: this can only be set in code")


def _headers(value: Mapping[str, str]) -> Headers:
    headers = check_headers(value, "metadata")
    for name in headers:
        if name.lower() == "idempotency-key":  # all messages but the first would be duplicates
            raise ValidationError(f"metadata: {shown(name)} would be the same for every message")
    return headers


@attrs.frozen
class PublishOptions:
    """How to publish."""

    metadata: Annotated[Headers, raw] = attrs.field(default=NO_HEADERS, converter=_headers)
    """Headers for every message that is published with these options; its own ones win."""
    confirmation: Annotated[Confirmation, cattrs.override(struct_hook=member_of(Confirmation))] = (
        attrs.field(
            default=Confirmation.ACCEPTED, kw_only=True, validator=checks.one_of(Confirmation)
        )
    )
    """When the publish has succeeded."""
    guarantee: Annotated[Guarantee, cattrs.override(struct_hook=member_of(Guarantee))] = (
        attrs.field(
            default=Guarantee.AT_LEAST_ONCE, kw_only=True, validator=checks.one_of(Guarantee)
        )
    )
    """EXACTLY_ONCE needs PERSISTED, and messages with an ``idempotency_key``."""
    replicas: Count = attrs.field(default=0, kw_only=True, validator=checks.count(0))
    """With PERSISTED: how many replicas must have it on disk as well."""

    def __attrs_post_init__(self) -> None:
        if self.confirmation is Confirmation.PERSISTED:
            return
        if self.guarantee is Guarantee.EXACTLY_ONCE:
            raise ValidationError("guarantee: EXACTLY_ONCE needs confirmation=PERSISTED")
        if self.replicas:
            raise ValidationError(f"replicas: {self.replicas} has no effect without PERSISTED")


@attrs.frozen(kw_only=True)
class BusOptions:
    """How a bus reaches its server, and what it carries."""

    max_payload_bytes: Count = attrs.field(default=4 * 1024 * 1024, validator=checks.count(0))
    """Larger payloads are refused when published, and dead-lettered when received."""
    codec: Annotated[Codec, cattrs.override(struct_hook=_codec_from_table)] = attrs.field(
        factory=FieldsCodec,
        validator=checks.methods("encode", "decode", "max_record_bytes"),
    )
    """How messages look on the server. In a table: ``"fields"`` or ``"envelope"``."""
    observer: Annotated[Observer, cattrs.override(struct_hook=only_in_code("observer"))] = (
        attrs.field(factory=LoggingObserver, validator=checks.methods("on_error", "on_transition"))
    )
    """Who hears of errors and transitions."""
    connect_timeout: Seconds = attrs.field(default=10.0, validator=checks.seconds(endless=True))
    """How long opening may take until the server has answered; at least 0."""
    command_timeout: Seconds = attrs.field(default=10.0, validator=checks.seconds(endless=True))
    """How long a command may take before its connection is given up; at least 0.

    And how long a publish waits for disks with PERSISTED.
    """
    publish_timeout: Seconds = attrs.field(default=30.0, validator=checks.seconds(endless=True))
    """For how long a publish that failed is tried again; at least 0, which is a single attempt.

    No attempt begins later; one that has begun may take as long as a command may.
    """
    dedup_window: Seconds = attrs.field(default=120.0, validator=checks.seconds(above=True))
    """For how long an idempotency key is remembered; above 0. Longer than publishing may take."""
    insecure_tls: Annotated[bool, raw] = attrs.field(default=False, validator=checks.one_of(bool))
    """True accepts any certificate of the server: for tests only."""
    credential_provider: Annotated[
        CredentialProvider | None, cattrs.override(struct_hook=_credentials_from_table)
    ] = attrs.field(default=None, repr=False, validator=checks.optional(checks.credential_provider))
    """Who gives user and password, asked anew for each connection; the URL must have none then.

    Like all that is code it cannot come from a table. See `trio_bus.abc.CredentialProvider`.
    """
