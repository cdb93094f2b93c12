"""What images were seen: a hash per run of rows, whatever the blocks they were read in."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.kernels.content import row_hashes

RUN = 4096
"""Rows of a run. A fixed number: it is part of what a content hash means."""

PROBE_STEP = 256
"""Of the first run, each row whose number is a multiple of this is hashed by itself too, to compare without reading
everything."""

_MASK = 2**64 - 1

Sum = tuple[int, int, int]
"""Rows, and the sums of the two halves of their hashes modulo 2^64."""


@dataclass(frozen=True)
class Content:
    """Hash of the decoded pixels of some rows.

    Each row has a hash of 128 bits over its number, the length and the little-endian bytes of its pixels in C order.
    A run of 4,096 rows has their sum, so that neither blocks nor the order of reading matter, and what is known of a
    run that is full stays valid when rows are appended. Where the data lie plays no part. It is made to notice that
    data are others, and does not resist anybody who forges them.

    Parameters
    ----------
    layout : str
        Of an image: its dtype and shape.
    runs : mapping of int to (rows, first half, second half)
        Sums of the runs, by their number: run r has the rows r · 4,096 and so on.
    probe : (rows, first half, second half)
        Sum over the rows 0, 256, 512, ... of the first run.
    """

    layout: str
    runs: Mapping[int, Sum]
    probe: Sum = (0, 0, 0)

    @classmethod
    def identity(cls, image_shape: Iterable[int], dtype: str) -> Content:
        """Of no row."""
        return cls(f"{np.dtype(dtype).name} {'x'.join(map(str, image_shape))}", {})

    @classmethod
    def partial(cls, block: NDArray[Any], start: int) -> Content:
        """Of one block (b, ...), whose first row has the number `start` in the whole data set."""
        hashes = row_hashes(block, np.arange(start, start + len(block)))
        return cls.of_hashes(hashes, start, block.shape[1:], block.dtype.name)

    @classmethod
    def of_hashes(cls, hashes: NDArray[np.uint64], start: int, image_shape: Iterable[int], dtype: str) -> Content:
        """Of rows that have been hashed already: `hashes` (b, 2), the first of them that of row `start`."""
        numbers = np.arange(start, start + len(hashes))
        edges = [0, *range(RUN - start % RUN, len(hashes), RUN), len(hashes)]
        runs = {}
        for first, last in itertools.pairwise(edges):
            if last > first:
                runs[(start + first) // RUN] = _summed(hashes[first:last])
        probed = hashes[(numbers < RUN) & (numbers % PROBE_STEP == 0)]
        return cls(cls.identity(image_shape, dtype).layout, runs, _summed(probed))

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(rows for rows, _, _ in self.runs.values())

    def merge(self, other: Content) -> Content:
        """Of the rows of both, none of which may be in both.

        Raises
        ------
        SourceError
            The images differ in shape or dtype.
        """
        if self.layout != other.layout:
            raise SourceError(f"contents of images of {self.layout} and of {other.layout} cannot be merged")
        runs = dict(self.runs)
        for number, run in other.runs.items():
            runs[number] = _added(runs.get(number, (0, 0, 0)), run)
        return Content(self.layout, runs, _added(self.probe, other.probe))

    @property
    def digest(self) -> str:
        """SHA-256 over the layout and the runs, in hexadecimal digits."""
        text = "\n".join([self.layout, *(_line(number, self.runs[number]) for number in sorted(self.runs))])
        return hashlib.sha256(text.encode()).hexdigest()

    def begins(self, other: Content) -> bool:
        """Whether the rows that both have, as far as full runs tell, are the same.

        Parameters
        ----------
        other : Content
            Of more rows, or of fewer.

        Returns
        -------
        bool
        """
        shared = [n for n in self.runs if n in other.runs and self.runs[n][0] == other.runs[n][0]]
        return self.layout == other.layout and all(self.runs[n] == other.runs[n] for n in shared)

    def to_json(self) -> dict[str, Any]:
        """As it stands in a file."""
        runs = [_line(number, self.runs[number]) for number in sorted(self.runs)]
        return {"layout": self.layout, "runs": runs, "probe": _line(0, self.probe)}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Content:
        """Undo :meth:`to_json`."""
        return cls(written["layout"], dict(map(_parsed, written["runs"])), _parsed(written["probe"])[1])


@dataclass(frozen=True)
class Part:
    """Images that were seen together.

    Parameters
    ----------
    content : Content
    low, high : tuple of numbers, one per channel
        Their smallest and largest value.
    """

    content: Content
    low: tuple[Any, ...]
    high: tuple[Any, ...]


def probe_rows(n: int) -> NDArray[np.int64]:
    """The rows that the probe of the first `n` rows is about."""
    return np.arange(0, min(n, RUN), PROBE_STEP)


def probe_of(images: NDArray[Any], rows: NDArray[np.int64]) -> Sum:
    """The probe of images (b, ...), which are the rows with these numbers."""
    return _summed(row_hashes(images, rows))


def _summed(hashes: NDArray[np.uint64]) -> Sum:
    first, second = (int(half) for half in hashes.sum(axis=0, dtype=np.uint64))
    return len(hashes), first, second


def _added(a: Sum, b: Sum) -> Sum:
    return a[0] + b[0], (a[1] + b[1]) & _MASK, (a[2] + b[2]) & _MASK


def _line(number: int, run: Sum) -> str:
    return f"{number} {run[0]} {run[1]:016x}{run[2]:016x}"


def _parsed(line: str) -> tuple[int, Sum]:
    number, rows, digits = line.split()
    return int(number), (int(rows), int(digits[:16], 16), int(digits[16:], 16))
