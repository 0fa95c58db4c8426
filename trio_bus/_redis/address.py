"""Where a server is and how to log in: what a URL says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from typing import cast
from urllib.parse import urlsplit

import attrs
import redis.connection
import trio

from trio_bus._checks import MAX_SECONDS
from trio_bus._credentials import CredentialProvider, Secret
from trio_bus._errors import ValidationError
from trio_bus._options import BusOptions

from .tls import TlsOptions, verify_flags
from .url import SCHEMES, Options, safe_url, split

# Its type is not known; this is what it does.
_parse = cast(
    "Callable[[str], Mapping[str, object]]",
    getattr(redis.connection, "parse_url"),  # noqa: B009 - it is untyped
)
_Parsed = Mapping[str, object]

_PROVIDER_THREADS = 4


@cache
def _our_version() -> str:
    """Return the version of trio_bus; looking it up takes longer than to read an address."""
    return version("trio-bus")


@attrs.frozen(kw_only=True)
class Address:
    """One server, one database, one user. Its repr shows no secret."""

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    """Of a unix socket; host and port say nothing then."""
    db: int = 0
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    client_name: str | None = None
    lib_name: str = "trio_bus"
    lib_version: str = attrs.field(factory=_our_version)
    keepalive: bool = True
    command_timeout: float | None = None
    """Seconds; None where the URL says nothing."""
    connect_timeout: float = math.inf
    """Seconds that one attempt may take."""
    tls: TlsOptions | None = None
    credential_provider: CredentialProvider | None = attrs.field(default=None, repr=False)
    """Gives user and password instead of the URL."""
    provider_threads: trio.CapacityLimiter = attrs.field(
        factory=lambda: trio.CapacityLimiter(_PROVIDER_THREADS), repr=False, eq=False
    )
    """A provider that hangs takes these, and not all that the program may have."""
    safe_url: str = attrs.field(eq=False)
    """The URL without its secrets: what another process needs besides them."""

    @classmethod
    def parse(
        cls,
        url: str,
        *,
        insecure_tls: bool = False,
        credential_provider: CredentialProvider | None = None,
    ) -> Address:
        """Read a URL as redis-py does, and refuse what would have no effect.

        Raises:
          ValidationError: the scheme or an option is unknown or meaningless here; the text names
            it and never shows the URL.
        """
        scheme, query = split(url)
        # parse_url knows three schemes; the others are other names for them.
        known = SCHEMES[scheme] + url[len(scheme) :]
        try:
            options = _parse(known)
        except ValueError as error:
            raise ValidationError(f"url: {_without_url(error, url)}") from None
        username, password = _text(options, "username"), _text(options, "password")
        if credential_provider is not None and (username or password):
            raise ValidationError(
                "credential_provider: the URL has a user or a password as well; give one of both"
            )
        return cls(
            host=_text(options, "host") or "localhost",
            port=_number(options, "port", 6379),
            path=_path(options) if scheme == "unix" else None,
            db=_db(url, scheme, options),
            username=username,
            password=password,
            client_name=_word(options, "client_name"),
            lib_name=_word(options, "lib_name") or "trio_bus",
            lib_version=_word(options, "lib_version") or _our_version(),
            keepalive=options.get("socket_keepalive") is not False,
            command_timeout=_seconds(options, "socket_timeout"),
            connect_timeout=_seconds(options, "socket_connect_timeout") or math.inf,
            tls=_tls(options, query, insecure_tls) if SCHEMES[scheme] == "rediss" else None,
            credential_provider=credential_provider,
            safe_url=safe_url(url),
        )

    def refine(self, options: BusOptions) -> BusOptions:
        """Return *options* with what the URL says: it goes before them, as in redis-py."""
        if self.command_timeout is None:
            return options
        return attrs.evolve(options, command_timeout=self.command_timeout)


def read_address(url: Secret, options: BusOptions) -> Address:
    """Read a URL so that nothing of it stands in the traceback of an error.

    Raises:
      ValidationError: see `Address.parse`.
    """
    try:
        return Address.parse(
            url.reveal(),
            insecure_tls=options.insecure_tls,
            credential_provider=options.credential_provider,
        )
    except ValidationError as error:
        text = str(error)
    raise ValidationError(text)


def _without_url(error: ValueError, url: str) -> str:
    """Return the text of an error of the parser, unless it shows what it parsed."""
    text = str(error)
    return "cannot be read" if url in text else text


def _text(options: _Parsed, name: str) -> str | None:
    value = options.get(name)
    return None if value is None else str(value)


def _number(options: _Parsed, name: str, default: int) -> int:
    value = options.get(name, default)
    return value if isinstance(value, int) else default


def _seconds(options: _Parsed, name: str) -> float | None:
    value = options.get(name)
    if value is None:
        return None
    if not isinstance(value, float) or not (0 < value <= MAX_SECONDS or value == math.inf):
        raise ValidationError(f"url: {name} must be above 0 and at most {MAX_SECONDS:g} seconds")
    return value


def _path(options: _Parsed) -> str:
    path = _text(options, "path")
    if not path or "\0" in path:
        raise ValidationError("url: unix:// needs the path of a socket")
    return path


def _db(url: str, scheme: str, options: _Parsed) -> int:
    """Return the database number; redis-py ignores a path that is none, we do not."""
    db = _number(options, "db", 0)
    path = urlsplit(url).path.strip("/")
    if scheme != "unix" and path:
        if not (
            path.isascii() and path.isdigit() and len(path) < 10
        ):  # it may be a part of a password
            raise ValidationError("url: the path must be a database number, or nothing")
        if int(path) != db:
            raise ValidationError("url: db is given twice: in the path and behind the '?'")
    if db < 0:
        raise ValidationError("url: db must be 0 or more")
    return db


def _word(options: _Parsed, name: str) -> str | None:
    word = _text(options, name)
    if word is not None and not all("!" <= char <= "~" for char in word):
        raise ValidationError(f"url: {name} must be printable ASCII without blanks")
    return word


def _tls(options: _Parsed, query: Options, insecure: bool) -> TlsOptions:  # noqa: FBT001 - private
    least = _number(options, "ssl_min_version", 0)
    flags = {
        name: verify_flags(query[name][0], name)
        for name in ("ssl_include_verify_flags", "ssl_exclude_verify_flags")
        if name in query
    }
    return TlsOptions(
        ssl_ca_certs=_text(options, "ssl_ca_certs"),
        ssl_ca_path=_text(options, "ssl_ca_path"),
        ssl_ca_data=_text(options, "ssl_ca_data"),
        ssl_certfile=_text(options, "ssl_certfile"),
        ssl_keyfile=_text(options, "ssl_keyfile"),
        ssl_password=_text(options, "ssl_password"),
        ssl_min_version=least or None,
        ssl_ciphers=_text(options, "ssl_ciphers"),
        insecure=insecure,
        **flags,
    )
