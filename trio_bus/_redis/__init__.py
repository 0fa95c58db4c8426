"""The backend on Redis or Valkey: a connection of our own, native to trio."""

from __future__ import annotations

from .backend import RedisBackend, open_redis

__all__ = ["RedisBackend", "open_redis"]
