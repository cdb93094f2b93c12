"""Keeping the workers that this process has started alive when it is interrupted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Iterable
from types import FrameType
from typing import Any


def outlive(client: Any, workers: Iterable[str]) -> None:
    """Have workers ignore interrupts, if this process is their parent: those of a ``LocalCluster``.

    A terminal's Ctrl-C, and Jupyter's interrupt, go to the whole process group. A worker of distributed ends then and
    is not started again, so that a notebook is left with a cluster without workers
    (https://github.com/dask/distributed/issues/1925; when that is mended, this can go). They still end with their
    parent.

    Parameters
    ----------
    client : distributed.Client
    workers : iterable of str
        Addresses.
    """
    if os.name == "posix":
        about = (socket.gethostname(), os.getpid())
        client.run(_ignore_interrupts, *about, workers=sorted(workers), on_error="return")


def _ignore_interrupts(host: str, parent: int) -> None:
    started_by = multiprocessing.parent_process()  # which is not the parent by the system where a server forks workers
    is_child = started_by is not None and started_by.pid == parent and socket.gethostname() == host
    if is_child and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _ignore)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Unlike ``SIG_IGN``, what a user's function starts does not inherit it."""
