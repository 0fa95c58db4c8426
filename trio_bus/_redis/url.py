"""What may stand in a URL: the options that have a meaning here, and why the others have none."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

from trio_bus._errors import ValidationError

SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
}
"""Each scheme, and the name that redis-py knows it by."""

_SECRETS = {"password", "ssl_password"}
_COMMON = {
    *("db", "username", "password", "client_name", "lib_name", "lib_version"),
    *("socket_timeout", "socket_connect_timeout", "protocol"),
}
_TCP = {"socket_keepalive"}
_TLS = {
    *("ssl_ca_certs", "ssl_ca_path", "ssl_ca_data", "ssl_certfile", "ssl_keyfile", "ssl_password"),
    *("ssl_check_hostname", "ssl_cert_reqs", "ssl_min_version", "ssl_ciphers"),
    *("ssl_include_verify_flags", "ssl_exclude_verify_flags"),
}
_ALLOWED: Mapping[str, set[str]] = {
    "redis": _COMMON | _TCP,
    "rediss": _COMMON | _TCP | _TLS,
    "unix": _COMMON,
}

_NO_POOL = "all tasks share one connection, and each subscription has one for itself"
_RETRIES = "connections come back by themselves, and what is safe to repeat is repeated"
_BYTES = "payloads are bytes, and names are UTF-8"
_OCSP = "trio_bus asks no OCSP responder"
_BEFORE = "it stands before the '?'"
_USELESS = {
    "max_connections": _NO_POOL,
    "timeout": _NO_POOL,
    "retry": _RETRIES,
    "retry_on_error": _RETRIES,
    "retry_on_timeout": _RETRIES,
    "health_check_interval": "the kernel's keepalive and command_timeout find dead connections",
    "socket_read_size": "it reads what there is",
    "socket_keepalive_options": "a vanished peer is found within a minute",
    "socket_type": "it is TCP",
    "decode_responses": _BYTES,
    "encoding": _BYTES,
    "encoding_errors": _BYTES,
    "legacy_responses": _BYTES,
    "parser_class": "hiredis parses",
    "driver_info": "lib_name and lib_version say it",
    "credential_provider": "it is an object: BusOptions(credential_provider=...)",
    "ssl_validate_ocsp": _OCSP,
    "ssl_validate_ocsp_stapled": _OCSP,
    "ssl_ocsp_context": _OCSP,
    "ssl_ocsp_expected_cert": _OCSP,
    "host": _BEFORE,
    "port": _BEFORE,
    "path": _BEFORE,
}
_OPTION = re.compile(r"[a-z][a-z0-9_]{0,40}")
_TRUE = {"true", "yes", "y", "1", "t"}
_ENCODE = "a '@', '/', '?' or '#' in a password must be percent-encoded, like %40"

Options = Mapping[str, list[str]]


def split(url: str) -> tuple[str, Options]:
    """Return scheme and options; a text that is no URL of ours is refused without showing it.

    Raises:
      ValidationError: it is not a URL, or an option has no effect.
    """
    parts = _parts(url)
    if parts.scheme == "unix" and parts.netloc.rpartition("@")[2]:
        raise ValidationError("url: unix:// is followed by a path: unix:///run/redis.sock")
    if "#" in url:
        raise ValidationError("url: a '#' must be written as %23")
    options = parse_qs(parts.query, keep_blank_values=True)
    _check(parts.scheme, options)
    return parts.scheme, options


def safe_url(url: str) -> str:
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


def _parts(url: str) -> SplitResult:
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES or not url.startswith(f"{scheme}://"):
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ValidationError(f"url: the scheme must be one of {known}, embedded: or memory:")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValidationError("url: the host is not a name or an address like [::1]") from None
    # What follows the host shows a password that was cut in two, and is not shown itself.
    rest = url[len(scheme) + 3 + len(parts.netloc) :]
    if scheme != "unix" and "@" in rest and "@" not in parts.netloc:
        raise ValidationError(f"url: {_ENCODE}")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValidationError("url: the port is not a number from 1 to 65535")
    return parts


def _check(scheme: str, options: Options) -> None:
    for name, values in options.items():
        _check_known(scheme, name)
        if len(values) > 1:
            raise ValidationError(f"url: {name} is given twice")
        if not values[0]:
            raise ValidationError(f"url: {name} is empty")
    if options.get("protocol", ["3"]) != ["3"]:
        raise ValidationError("url: protocol can only be 3: trio_bus speaks RESP3")
    _refuse_weak_tls(options)


def _check_known(scheme: str, name: str) -> None:
    if name in _ALLOWED[SCHEMES[scheme]]:
        return
    if name in _USELESS:
        raise ValidationError(f"url: {name} has no effect here: {_USELESS[name]}")
    if name in _TLS | _TCP:
        raise ValidationError(f"url: {name} has no effect with {scheme}://")
    if not _OPTION.fullmatch(name):  # a part of a password, perhaps
        raise ValidationError(f"url: unknown option, which is not shown here; {_ENCODE}")
    raise ValidationError(f"url: unknown option {name!a}")


def _refuse_weak_tls(options: Options) -> None:
    """Verification is not for a URL to switch off: URLs come from configuration files."""
    reqs = options.get("ssl_cert_reqs", ["required"])[0]
    checked = options.get("ssl_check_hostname", ["true"])[0]
    if reqs != "required":
        raise ValidationError(
            "url: ssl_cert_reqs can only be 'required'; BusOptions(insecure_tls=True) switches "
            "verification off"
        )
    if checked.lower() not in _TRUE:
        raise ValidationError(
            "url: ssl_check_hostname can only be true; BusOptions(insecure_tls=True) switches "
            "verification off"
        )
    if ("ssl_keyfile" in options or "ssl_password" in options) and "ssl_certfile" not in options:
        raise ValidationError("url: ssl_keyfile and ssl_password need ssl_certfile")
    least = options.get("ssl_min_version", [str(ssl.TLSVersion.TLSv1_2.value)])[0]
    if least not in {str(ssl.TLSVersion.TLSv1_2.value), str(ssl.TLSVersion.TLSv1_3.value)}:
        raise ValidationError("url: ssl_min_version can only be 771 (TLS 1.2) or 772 (TLS 1.3)")
