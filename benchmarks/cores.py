"""Running other processes on some of the cores."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator


@contextlib.contextmanager
def on_cores(cores: Iterable[int]) -> Iterator[None]:
    """Processes that are started within run on these cores: they take over where this thread may run."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cores))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
