"""How to trust a server, and how to be trusted by it."""

from __future__ import annotations

import re
import ssl
from collections.abc import Generator
from contextlib import contextmanager

import attrs

from trio_bus._errors import ValidationError


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
    ssl_include_verify_flags: int = 0
    ssl_exclude_verify_flags: int = 0
    insecure: bool = False

    def context(self) -> ssl.SSLContext:
        """Build the context; certificate and host name are verified unless `insecure`.

        Raises:
          ValidationError: a file cannot be read, or does not hold what it should.
        """
        with _naming("ssl_ca_certs, ssl_ca_path or ssl_ca_data"):
            context = ssl.create_default_context(
                cafile=self.ssl_ca_certs, capath=self.ssl_ca_path, cadata=self.ssl_ca_data
            )
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        flags = context.verify_flags | self.ssl_include_verify_flags
        context.verify_flags = ssl.VerifyFlags(flags & ~self.ssl_exclude_verify_flags)
        if self.ssl_certfile is not None:
            with _naming("ssl_certfile, ssl_keyfile or ssl_password"):
                # An empty password is none, and keeps OpenSSL from asking the terminal.
                context.load_cert_chain(
                    self.ssl_certfile, self.ssl_keyfile, self.ssl_password or ""
                )
        with _naming("ssl_min_version or ssl_ciphers"):
            if self.ssl_min_version is not None:
                context.minimum_version = ssl.TLSVersion(self.ssl_min_version)
            if self.ssl_ciphers is not None:
                context.set_ciphers(self.ssl_ciphers)
        return context


@contextmanager
def _naming(options: str) -> Generator[None]:
    """Say which options cannot be used. What OpenSSL says of them holds no password."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        plain = re.sub(r" *\(_ssl\.c:\d+\)$", "", reason or type(error).__name__)
        raise ValidationError(f"url: the TLS options {options} cannot be used: {plain}") from error


def verify_flags(text: str, name: str) -> int:
    """Read flags as redis-py does: names with commas between, in brackets or not.

    Raises:
      ValidationError: this Python knows no such flag.
    """
    flags = 0
    for word in text.strip("[]").split(","):
        try:
            flags |= ssl.VerifyFlags[word.strip()]
        except KeyError:
            raise ValidationError(f"url: {name}: unknown flag {word.strip()!a}") from None
    return flags
