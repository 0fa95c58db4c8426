"""Where a server is and how to log in: what a URL says."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import parse_qs, quote, urlsplit

import attrs
import redis.connection
import trio

from trio_bus._credentials import CredentialProvider
from trio_bus._errors import ValidationError

# Its type is not known; this is what it does.
_parse = cast(
    "Callable[[str], Mapping[str, object]]",
    getattr(redis.connection, "parse_url"),  # noqa: B009 - it is untyped
)

_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
}
_COMMON = {"db", "username", "password", "client_name"}
_TLS_OPTIONS = {
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_ca_data",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
    "ssl_check_hostname",
    "ssl_cert_reqs",
    "ssl_min_version",
    "ssl_ciphers",
}
_SECRETS = {"password", "ssl_password"}
_PROVIDER_THREADS = 4


@attrs.frozen(kw_only=True)
class TlsOptions:
    """How to trust the server, and how to be trusted by it. Named as redis-py names them."""

    ssl_ca_certs: str | None = None
    ssl_ca_path: str | None = None
    ssl_ca_data: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_password: str | None = attrs.field(default=None, repr=False)
    ssl_min_version: int | None = None
    ssl_ciphers: str | None = None
    insecure: bool = False

    def context(self) -> ssl.SSLContext:
        """Build the context; certificate and host name are verified unless `insecure`.

        Raises:
          ValidationError: a file cannot be read, or does not hold what it should.
        """
        try:
            return self._build()
        except (OSError, ValueError) as error:
            # OpenSSL's texts name the file or the reason, never the password.
            raise ValidationError(f"url: the TLS options cannot be used: {error}") from error

    def _build(self) -> ssl.SSLContext:
        context = ssl.create_default_context(
            cafile=self.ssl_ca_certs, capath=self.ssl_ca_path, cadata=self.ssl_ca_data
        )
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.ssl_certfile is not None:
            # An empty password is no password, and keeps OpenSSL from asking the terminal.
            context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile, self.ssl_password or "")
        if self.ssl_min_version is not None:
            context.minimum_version = ssl.TLSVersion(self.ssl_min_version)
        if self.ssl_ciphers is not None:
            context.set_ciphers(self.ssl_ciphers)
        return context


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
        scheme, query = _split(url)
        _refuse_unknown(scheme, query)
        _refuse_weak_tls(query)
        # parse_url knows three schemes; the others are other names for them.
        known = _SCHEMES[scheme] + url[len(scheme) :]
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
            client_name=_client_name(options),
            tls=_tls(options, insecure=insecure_tls) if _SCHEMES[scheme] == "rediss" else None,
            credential_provider=credential_provider,
            safe_url=_safe(url),
        )


def _split(url: str) -> tuple[str, Mapping[str, list[str]]]:
    """Return scheme and options; a text that is no URL of ours is refused without showing it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValidationError("url: the port is not a number from 1 to 65535") from None
    if parts.scheme not in _SCHEMES or not url.startswith(f"{parts.scheme}://"):
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise ValidationError(f"url: the scheme must be one of {known}, embedded: or memory:")
    if port == 0:
        raise ValidationError("url: the port is not a number from 1 to 65535")
    if parts.scheme == "unix" and parts.netloc.rpartition("@")[2]:
        raise ValidationError("url: unix:// is followed by a path: unix:///run/redis.sock")
    if parts.fragment:
        raise ValidationError("url: a '#' must be written as %23")
    return parts.scheme, parse_qs(parts.query, keep_blank_values=True)


def _refuse_unknown(scheme: str, query: Mapping[str, list[str]]) -> None:
    allowed = _COMMON | (_TLS_OPTIONS if _SCHEMES[scheme] == "rediss" else frozenset[str]())
    for name, values in query.items():
        if name in _TLS_OPTIONS and name not in allowed:
            raise ValidationError(f"url: {name} has no effect with {scheme}://")
        if name not in allowed:
            raise ValidationError(f"url: unknown option {name!a}")
        if len(values) > 1:
            raise ValidationError(f"url: {name} is given twice")
        if not values[0]:
            raise ValidationError(f"url: {name} is empty")


def _refuse_weak_tls(query: Mapping[str, list[str]]) -> None:
    """Verification is not for a URL to switch off: URLs come from configuration files."""
    reqs = query.get("ssl_cert_reqs", ["required"])[0]
    checked = query.get("ssl_check_hostname", ["true"])[0]
    if reqs != "required":
        raise ValidationError(
            "url: ssl_cert_reqs can only be 'required'; BusOptions(insecure_tls=True) switches "
            "verification off"
        )
    if checked.lower() not in {"true", "yes", "y", "1", "t"}:
        raise ValidationError(
            "url: ssl_check_hostname can only be true; BusOptions(insecure_tls=True) switches "
            "verification off"
        )
    if ("ssl_keyfile" in query or "ssl_password" in query) and "ssl_certfile" not in query:
        raise ValidationError("url: ssl_keyfile and ssl_password need ssl_certfile")


def _without_url(error: ValueError, url: str) -> str:
    """Return the text of an error of the parser, unless it shows what it parsed."""
    text = str(error)
    return "cannot be read" if url in text else text


def _text(options: Mapping[str, object], name: str) -> str | None:
    value = options.get(name)
    return None if value is None else str(value)


def _number(options: Mapping[str, object], name: str, default: int) -> int:
    value = options.get(name, default)
    return value if isinstance(value, int) else default


def _path(options: Mapping[str, object]) -> str:
    path = _text(options, "path")
    if not path or "\0" in path:
        raise ValidationError("url: unix:// needs the path of a socket")
    return path


def _db(url: str, scheme: str, options: Mapping[str, object]) -> int:
    """Return the database number; redis-py ignores a path that is none, we do not."""
    db = _number(options, "db", 0)
    path = urlsplit(url).path.strip("/")
    if scheme != "unix" and path and not (path.isascii() and path.isdigit()):
        raise ValidationError(f"url: the path must be a database number, not {path!a}")
    if db < 0:
        raise ValidationError("url: db must be 0 or more")
    return db


def _client_name(options: Mapping[str, object]) -> str | None:
    name = _text(options, "client_name")
    if name is not None and not all("!" <= char <= "~" for char in name):
        raise ValidationError("url: client_name must be printable ASCII without blanks")
    return name


def _tls(options: Mapping[str, object], *, insecure: bool) -> TlsOptions:
    version = _number(options, "ssl_min_version", 0)
    return TlsOptions(
        ssl_ca_certs=_text(options, "ssl_ca_certs"),
        ssl_ca_path=_text(options, "ssl_ca_path"),
        ssl_ca_data=_text(options, "ssl_ca_data"),
        ssl_certfile=_text(options, "ssl_certfile"),
        ssl_keyfile=_text(options, "ssl_keyfile"),
        ssl_password=_text(options, "ssl_password"),
        ssl_min_version=version or None,
        ssl_ciphers=_text(options, "ssl_ciphers"),
        insecure=insecure,
    )


def _safe(url: str) -> str:
    """Return *url* without its secrets, wherever they stand in it."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    netloc = f"{name}@{host}" if name else host
    kept = [
        f"{quote(name)}={quote(values[0], safe='/')}"
        for name, values in parse_qs(parts.query).items()
        if name not in _SECRETS
    ]
    query = f"?{'&'.join(kept)}" if kept else ""
    return f"{parts.scheme}://{netloc}{parts.path}{query}"
