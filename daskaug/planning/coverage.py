"""Which rows have been dealt with, however they were cut."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator


class Coverage:
    """A set of integers as ranges that neither touch nor overlap.

    Parameters
    ----------
    ranges : iterable of (start, stop)
        To begin with.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in ranges:
            self.add(start, stop)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._starts, self._stops, strict=True))

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self)

    def add(self, start: int, stop: int) -> None:
        """Add the numbers from `start` up to, but not including, `stop`."""
        if stop <= start:
            return
        first = bisect.bisect_left(self._stops, start)
        last = bisect.bisect_right(self._starts, stop)
        if first < last:
            start, stop = min(start, self._starts[first]), max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def missing(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The ranges between `start` and `stop` that are not there."""
        at = bisect.bisect_right(self._stops, start)
        while start < stop:
            if at == len(self._starts) or self._starts[at] >= stop:
                yield start, stop
                return
            if self._starts[at] > start:
                yield start, self._starts[at]
            start = self._stops[at]
            at += 1
