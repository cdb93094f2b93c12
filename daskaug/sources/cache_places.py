"""Where decoded rows are kept, and memory as such a place."""

from __future__ import annotations

import abc
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Place(abc.ABC):
    """Keeps units, which are numbered blocks of consecutive rows. Safe to share between threads."""

    @property
    @abc.abstractmethod
    def count(self) -> int:
        """Units that are kept."""

    @property
    @abc.abstractmethod
    def nbytes(self) -> int:
        """Bytes that they take."""

    @abc.abstractmethod
    def get(self, number: int) -> NDArray[Any] | None:
        """A unit; None unless it is kept, and whole."""

    def after_fork(self) -> None:
        """In a child process: a lock that another thread of the parent held would never be released."""
        self._lock = threading.Lock()

    @abc.abstractmethod
    def keep(self, number: int, block: NDArray[Any]) -> None:
        """Keep a unit, if there is room."""


class MemoryPlace(Place):
    """Memory of this process; on the way to another one it is emptied for good."""

    def __init__(self, max_nbytes: int) -> None:
        self._max_nbytes = max_nbytes
        self._nbytes = 0
        self._blocks: dict[int, NDArray[Any]] = {}
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """See :class:`Place`."""
        return len(self._blocks)

    @property
    def nbytes(self) -> int:
        """See :class:`Place`."""
        return self._nbytes

    def get(self, number: int) -> NDArray[Any] | None:
        """See :meth:`Place.get`."""
        return self._blocks.get(number)

    def keep(self, number: int, block: NDArray[Any]) -> None:
        """See :meth:`Place.keep`."""
        with self._lock:
            if number in self._blocks or self._nbytes + block.nbytes > self._max_nbytes:
                return
            kept = np.array(block)  # a view would hold on to all that was read with it
            kept.flags.writeable = False
            self._blocks[number] = kept
            self._nbytes += kept.nbytes

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryPlace, (0,)
