"""How long the consumer of an iterator waits for it."""

from __future__ import annotations

import threading
import time
from typing import Any


class Meter:
    """What an iterator has handed out so far, and how long its consumer waited for that.

    Times are in seconds, of a clock on the wall. Several threads that wait at the same time wait once. Rates and the
    share of waiting count from the moment when the first batch was there to that of the last one, without the first
    batch: starting up is told apart. It costs about a microsecond for each batch.

    Attributes
    ----------
    batches, images : int
        Handed out.
    nbytes : int
        Bytes of the arrays that were handed out, labels and all.
    seconds_waited : float
        In ``next()`` and ``[i]``, for the first batch too.
    seconds_to_first_batch : float
        Waited for the first batch.
    cache_hits, cache_misses : int
        How often a block of a chunked source was found in memory, and how often it had to be read. Only what is read in
        this process is counted.
    nbytes_read : int
        Decoded bytes of the blocks that were read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = 0
        self._since = 0.0
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self.batches = self.images = self.nbytes = 0
            self.cache_hits = self.cache_misses = self.nbytes_read = 0
            self.seconds_waited = self.seconds_to_first_batch = 0.0
            self._images_first = self._nbytes_first = 0
            self._first = self._last = 0.0
            self._since = time.perf_counter()

    def begin(self) -> None:
        """Somebody begins to wait."""
        with self._lock:
            if not self._waiting:
                self._since = time.perf_counter()
            self._waiting += 1

    def end(self, images: int, batch: Any) -> None:
        """Their waiting is over.

        Parameters
        ----------
        images : int
            0, if there was an error in place of a batch.
        batch : arrays in tuples, lists and dicts
        """
        nbytes = count_nbytes(batch)
        with self._lock:
            now = time.perf_counter()
            self._waiting -= 1
            if not self._waiting or not self._first:
                self.seconds_waited += now - self._since
                self._since = now
            if not images:
                return
            self.batches += 1
            self.images += images
            self.nbytes += nbytes
            self._last = now
            if not self._first:
                self._first, self._images_first, self._nbytes_first = now, images, nbytes
                self.seconds_to_first_batch = self.seconds_waited

    def count_look_up(self, nbytes_read: int) -> None:
        """A block was looked up, for which so many bytes had to be read: 0 if it was there."""
        with self._lock:
            if nbytes_read:
                self.cache_misses += 1
                self.nbytes_read += nbytes_read
            else:
                self.cache_hits += 1

    @property
    def share_waited(self) -> float:
        """Share of the time since the first batch that the consumer waited, 0 to 1; 0 before the second."""
        return min(1.0, self._per_second(self.seconds_waited - self.seconds_to_first_batch))

    @property
    def images_per_second(self) -> float:
        """Images handed out per second."""
        return self._per_second(self.images - self._images_first)

    @property
    def nbytes_per_second(self) -> float:
        """Bytes handed out per second."""
        return self._per_second(self.nbytes - self._nbytes_first)

    @property
    def cache_hit_share(self) -> float | None:
        """Share of the look-ups that found their block in memory; None where there were none."""
        look_ups = self.cache_hits + self.cache_misses
        return self.cache_hits / look_ups if look_ups else None

    def _per_second(self, amount: float) -> float:
        seconds = self._last - self._first
        return amount / seconds if seconds > 0 else 0.0

    def __str__(self) -> str:
        hits = "" if self.cache_hit_share is None else f", cache hits {100 * self.cache_hit_share:.1f} %"
        return (
            f"{self.images_per_second:,.0f} images/s, {self.nbytes_per_second / 1e6:,.1f} MB/s, "
            f"waited {100 * self.share_waited:.1f} % of the time{hits}"
        )

    def __repr__(self) -> str:
        return f"<Meter: {self}>"


def count_nbytes(batch: Any) -> int:
    """Bytes of the arrays of a batch."""
    if isinstance(batch, tuple | list):
        return sum(map(count_nbytes, batch))
    if isinstance(batch, dict):
        return sum(map(count_nbytes, batch.values()))
    return int(getattr(batch, "nbytes", 0))
