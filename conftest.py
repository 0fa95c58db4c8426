"""Options, hooks and fixtures of every test.

They stand above both directories of tests: pytest reads options only here when it runs one of
them, and a session that runs both has one set of servers.
"""

from __future__ import annotations

from tests import profiles
from tests.collector import pytest_collection_finish
from tests.measuring import pytest_sessionfinish
from tests.server_kinds import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_generate_tests,
    pytest_runtest_setup,
    pytest_terminal_summary,
)
from tests.servers import backend_kind, backend_url, leak_guard, server_kind, server_url, servers

__all__ = [
    "backend_kind",
    "backend_url",
    "leak_guard",
    "profiles",
    "pytest_addoption",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_generate_tests",
    "pytest_runtest_setup",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "server_kind",
    "server_url",
    "servers",
]
