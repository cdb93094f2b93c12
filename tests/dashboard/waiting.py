"""What workers and clients tell arrives within a second or so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

SECONDS = 60

Found = TypeVar("Found")


def until(ask: Callable[[], Found], holds: Callable[[Found], bool]) -> Found:
    """Ask until the answer is right; after a minute, fail with the last one."""
    end = time.monotonic() + SECONDS
    while not holds(found := ask()):
        assert time.monotonic() < end, f"after {SECONDS} s it is still {found!r}"
        threading.Event().wait(0.05)
    return found
