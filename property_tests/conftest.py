"""Fixtures and Hypothesis profiles of every test here."""

from __future__ import annotations

from tests import profiles
from tests.servers import backend_url, leak_guard, server_url, servers

__all__ = ["backend_url", "leak_guard", "profiles", "server_url", "servers"]
