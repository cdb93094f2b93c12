"""How much memory there is for a process."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup/memory.max")


def memory_of_machine() -> int | None:
    """Bytes that this process may use: those of the machine, or of the container that it runs in; None if not known."""
    found = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not every system can be asked
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(ValueError, OSError):  # no such file, or "max" in it
        found.append(int(_CGROUP.read_text(encoding="ascii")))
    return min(found, default=None)
