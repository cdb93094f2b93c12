"""How much memory there is for a process, and what of it the blocks of tasks may take."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from daskaug.errors import ConfigError
from daskaug.planning.memory import INTERPRETER_NBYTES

_CGROUP = Path("/sys/fs/cgroup/memory.max")

SHARE = 0.75
"""Of its limit that a worker's process may come to: at 0.8 dask gives it no further task, at 0.95 it is killed."""


def memory_of_machine() -> int | None:
    """Bytes that this process may use: those of the machine, or of the container that it runs in; None if not known."""
    found = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not every system can be asked
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(ValueError, OSError):  # no such file, or "max" in it
        found.append(int(_CGROUP.read_text(encoding="ascii")))
    return min(found, default=None)


def budget_within(limit: int | None) -> int | None:
    """Bytes that the blocks of a worker may take together, where its process has a limit.

    Parameters
    ----------
    limit : int or None
        Bytes of the process.

    Returns
    -------
    int or None
        At least a quarter of the limit: what the interpreter takes is a generous guess, for which small blocks on a
        small worker must not be refused. None without a limit.
    """
    return None if limit is None else max(limit // 4, int(SHARE * limit) - INTERPRETER_NBYTES)


def tightest(workers: list[tuple[int, int | None]]) -> tuple[int, int | None]:
    """The worker that can give each of its threads the least memory: what suits it suits all.

    Parameters
    ----------
    workers : list of (threads, memory limit in bytes or None)

    Returns
    -------
    threads, limit : int, int or None
        Of workers without a limit, the one with most threads; one thread without a limit where there is no worker.
    """
    limited = [(budget_within(limit) or 0, threads, limit) for threads, limit in workers if limit]
    if not limited:
        return max((threads for threads, _ in workers), default=1), None
    _, threads, limit = min(limited, key=lambda each: (each[0] / max(1, each[1]), each[2]))
    return max(1, threads), limit


def refuse_blocks(block_nbytes: int, limit: int | None, locator: str) -> None:
    """Refuse blocks of which a worker could not hold one and its encoded bytes.

    Parameters
    ----------
    block_nbytes : int
        Decoded bytes of the largest block.
    limit : int or None
        Bytes that a worker's process may use.
    locator : str
        Where the images are, for people.

    Raises
    ------
    ConfigError
    """
    most = budget_within(limit)
    if most is not None and 2 * block_nbytes > most:
        raise ConfigError(
            f"{locator} is read in blocks of {block_nbytes:,} bytes decoded, and a worker has a memory limit of "
            f"{limit:,} bytes, of which {most:,} are for blocks. Give workers more memory (dask worker "
            "--memory-limit), or store smaller chunks."
        )
