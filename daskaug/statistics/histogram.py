"""How often each channel has each value: exact, for integer images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.kernels.moments import integer_histogram
from daskaug.statistics.moments import IntegerMoments

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of the values of each channel.

    Parameters
    ----------
    start : int
        The value that the first column counts.
    counts : (c, levels) int64
        From the lowest to the highest value that any channel has; no column at either end is empty.
    """

    start: int
    counts: Counts

    @classmethod
    def identity(cls, channels: int) -> Histogram:
        """Of no image."""
        return cls(0, np.zeros((channels, 0), np.int64))

    @classmethod
    def partial(cls, block: NDArray[Any]) -> Histogram:
        """Of one block (b, h, w, c) bool, int8, uint8, int16 or uint16."""
        first = int(np.iinfo(block.dtype).min) if block.dtype.kind == "i" else 0
        return cls._trimmed(first, integer_histogram(block))

    @classmethod
    def _trimmed(cls, start: int, counts: Counts) -> Histogram:
        found = np.flatnonzero(counts.any(axis=0))
        if not found.size:
            return cls.identity(len(counts))
        return cls(start + int(found[0]), np.ascontiguousarray(counts[:, found[0] : found[-1] + 1]))

    @property
    def values(self) -> Counts:
        """The value that each column counts, (levels,) int64."""
        return np.arange(self.start, self.start + self.counts.shape[1])

    def merge(self, other: Histogram) -> Histogram:
        """Of the images of both."""
        return self._combined(other, 1)

    def withdraw(self, other: Histogram) -> Histogram:
        """Of the images of this without those of `other`.

        Raises
        ------
        SourceError
            `other` has more of a value than this.
        """
        return self._combined(other, -1)

    def _combined(self, other: Histogram, sign: int) -> Histogram:
        parts = [(h, s) for h, s in ((self, 1), (other, sign)) if h.counts.shape[1]]
        if not parts:
            return self
        start = min(h.start for h, _ in parts)
        stop = max(h.start + h.counts.shape[1] for h, _ in parts)
        counts = np.zeros((len(self.counts), stop - start), np.int64)
        for histogram, factor in parts:
            first = histogram.start - start
            counts[:, first : first + histogram.counts.shape[1]] += factor * histogram.counts
        if (counts < 0).any():
            raise SourceError(
                "images can be withdrawn that are among those seen: these have more pixels of one value than all"
            )
        return self._trimmed(start, counts)

    def range(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Lowest and highest value of each channel."""
        found = [np.flatnonzero(channel) for channel in self.counts]
        low = tuple(self.start + int(each[0]) if each.size else 0 for each in found)
        high = tuple(self.start + int(each[-1]) if each.size else 0 for each in found)
        return low, high

    def moments(self, samples: int) -> IntegerMoments:
        """The exact moments of so many images, which follow from the counts."""
        pairs = [
            [(int(v), int(n)) for v, n in zip(self.values[channel > 0], channel[channel > 0], strict=True)]
            for channel in self.counts
        ]
        low, high = self.range()
        return IntegerMoments(
            samples,
            int(self.counts[0].sum()),
            tuple(sum(v * n for v, n in channel) for channel in pairs),
            tuple(sum(v * v * n for v, n in channel) for channel in pairs),
            low,
            high,
        )
