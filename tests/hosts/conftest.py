"""Four hosts that the tests of this folder share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.hosts.network import Network, network, unavailable


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    """Where there can be none, tests skip; on CI that is a failure."""
    why = unavailable()
    if why is not None:
        stop = pytest.fail if os.environ.get("CI") else pytest.skip
        stop(f"tests marked 'hosts' need several hosts, and {why}")
    with network("scheduler", "one", "two", "client") as made:
        yield made
