"""The backend on Redis or Valkey: a connection of our own, native to trio."""

from __future__ import annotations

from .address import read_address
from .backend import RedisBackend, open_redis, open_secretly

__all__ = ["RedisBackend", "open_redis", "open_secretly", "read_address"]
