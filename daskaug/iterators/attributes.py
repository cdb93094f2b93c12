"""What Keras' users assign to an iterator."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np

from daskaug.errors import ConfigError
from daskaug.iterators.replay import KerasReplay
from daskaug.planning.order import Shuffle


class AssignedAttributes:
    """Attributes of Keras' iterators that may be assigned, and what follows from it.

    Part of :class:`daskaug.iterators.BatchIterator`, which has the counters and the lock.
    """

    epoch: int
    shuffling: Shuffle
    _batch_size: int
    _batch_index: int
    _total_batches_seen: int
    _replay: KerasReplay | None
    _orders: dict[int, Any]
    _rest: tuple[int, Any] | None

    @property
    def _has_random_access(self) -> bool:
        """Whether samples cost the same in any order."""
        return True

    def close(self) -> None:
        """See :class:`daskaug.iterators.BatchIterator`."""
        raise NotImplementedError

    def _usable_lock(self) -> threading.RLock:
        raise NotImplementedError

    def _cut_epochs(self, batch_size: int) -> None:
        raise NotImplementedError

    def _go_to(self, epoch: int, batch_index: int) -> None:
        raise NotImplementedError

    @property
    def batch_size(self) -> int:
        """Samples of a batch, on each rank; assigning another goes back to the beginning of the epoch."""
        return self._batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        check_batch_size(value)
        with self._usable_lock():
            self._cut_epochs(int(value))
            self._batch_size = int(value)
            if self._replay is not None:
                self._replay.batch_size = int(value)
            self._go_to(self.epoch, 0)

    @property
    def shuffle(self) -> bool:
        """Whether an epoch is shuffled; assigning goes back to the beginning of the epoch.

        True is ``"global"`` in memory and ``"block"`` for chunks, as in ``flow``.
        """
        return self.shuffling.kind != "none"

    @shuffle.setter
    def shuffle(self, value: bool | str) -> None:
        if value is True and self.shuffle:
            return
        unit, mix = self.shuffling.unit, self.shuffling.mix
        shuffling = Shuffle.of(value, random_access=self._has_random_access, unit=unit, mix=mix)
        with self._usable_lock():
            self.close()
            self.shuffling = shuffling
            self._orders, self._rest = {}, None
            if self._replay is not None:
                self._replay.shuffle, self._replay.index_array = self.shuffle, None
            self._go_to(self.epoch, 0)

    @property
    def batch_index(self) -> int:
        """Number of the next batch under ``next()``."""
        return self._batch_index if self._replay is None else self._replay.batch_index

    @batch_index.setter
    def batch_index(self, value: int) -> None:
        self._batch_index = value
        if self._replay is not None:
            self._replay.batch_index = value

    @property
    def total_batches_seen(self) -> int:
        """Batches handed out so far."""
        return self._total_batches_seen if self._replay is None else self._replay.total_batches_seen

    @total_batches_seen.setter
    def total_batches_seen(self, value: int) -> None:
        self._total_batches_seen = value
        if self._replay is not None:
            self._replay.total_batches_seen = value

    @property
    def use_multiprocessing(self) -> bool:
        """Always False: batches are computed on threads, which need no copies of the data."""
        return False

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool) -> None:
        if value:
            warnings.warn(
                "use_multiprocessing is ignored: batches are computed on several threads already, and copies of this "
                "iterator in other processes could not tell it that an epoch is over.",
                UserWarning,
                stacklevel=2,
            )

    @property
    def workers(self) -> int:
        """Always 1: batches are computed on several threads, ahead of whoever asks.

        Threads of Keras' own would hand the batches that they had asked for ahead, when ``fit`` had its first look or a
        pass ended, to the next pass. It then begins with batches that were seen already, more or fewer of them as the
        threads happened to run, and leaves out as many at its end.
        """
        return 1

    @workers.setter
    def workers(self, value: int) -> None:
        """Accepted, and nothing follows from it."""


def check_batch_size(value: Any) -> None:
    """Refuse what is no number of samples.

    Raises
    ------
    ConfigError
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"`batch_size` must be an integer, 1 or more. Received: batch_size={value!r}.")
