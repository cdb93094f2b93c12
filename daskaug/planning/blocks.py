"""Cutting rows into the blocks that tasks work on."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

TARGET_NBYTES = 32 * 2**20
"""Decoded bytes of a block: some tenths of a second of work, and little next to a worker's memory."""


@dataclasses.dataclass(frozen=True)
class Block:
    """The rows from `start` up to, but not including, `stop`."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclasses.dataclass(frozen=True)
class Plan:
    """Consecutive blocks that cover the rows from `start` to `stop`.

    Blocks of equal length are not listed, so that a plan of millions of them is as small as one of two.

    Attributes
    ----------
    start, stop : int
    step : int
        Length of the blocks: cuts lie at multiples of it. Not used where `cuts` are given.
    cuts : tuple of int or None
        All inner cuts, increasing, where they are irregular.
    """

    start: int
    stop: int
    step: int = 1
    cuts: tuple[int, ...] | None = None

    def __len__(self) -> int:
        if self.stop <= self.start:
            return 0
        if self.cuts is not None:
            return len(self.cuts) + 1
        return (self.stop - 1) // self.step - self.start // self.step + 1

    def __getitem__(self, number: int) -> Block:
        if not 0 <= number < len(self):
            raise IndexError(f"There is no block {number}; the plan has {len(self)}, numbered from 0.")
        if self.cuts is not None:
            edges = (self.start, *self.cuts[max(0, number - 1) : number + 1], self.stop)
            return Block(*edges[:2]) if number == 0 else Block(*edges[1:3])
        first = (self.start // self.step + number) * self.step
        return Block(max(first, self.start), min(first + self.step, self.stop))

    def __iter__(self) -> Iterator[Block]:
        if self.cuts is not None and len(self):
            return itertools.starmap(Block, itertools.pairwise((self.start, *self.cuts, self.stop)))
        return (self[number] for number in range(len(self)))

    @property
    def starts(self) -> NDArray[np.int64]:
        """First row of each block, (number of blocks,) int64: of millions of them, quicker than one by one."""
        if self.cuts is not None:
            return np.array((self.start, *self.cuts)[: len(self)], np.int64)
        first = self.start // self.step
        return np.maximum(np.arange(first, first + len(self)) * self.step, self.start)

    def __str__(self) -> str:
        largest = max((len(block) for block in itertools.islice(self, 1000)), default=0)
        return f"{len(self):,} blocks of up to {largest:,} rows, {self.start:,} to {self.stop:,}"


def plan_blocks(
    rows: tuple[int, int], natural_rows: int, row_nbytes: int, *, target_nbytes: int = TARGET_NBYTES
) -> Plan:
    """Cut rows into blocks of about `target_nbytes`, never through a chunk.

    Parameters
    ----------
    rows : (start, stop)
    natural_rows : int
        Rows of a chunk, or of a shard; cuts lie at multiples of it, so that nothing is read by two tasks. A chunk that
        is larger than the target is a block by itself.
    row_nbytes : int
        Decoded bytes of a row.
    target_nbytes : int

    Returns
    -------
    Plan
    """
    natural = max(1, natural_rows)
    chunks = max(1, target_nbytes // max(1, row_nbytes * natural))
    return Plan(rows[0], max(rows), natural * chunks)


def plan_from_chunks(rows: tuple[int, int], chunks: Sequence[int]) -> Plan:
    """One block for each chunk, as far as it lies within the rows.

    Parameters
    ----------
    rows : (start, stop)
    chunks : sequence of int
        Lengths of the chunks, from row 0 on; chunks may be empty.
    """
    edges = sorted(set(itertools.accumulate(chunks, initial=0)))
    start, stop = rows[0], max(rows)
    return Plan(start, stop, cuts=tuple(edges[bisect.bisect_right(edges, start) : bisect.bisect_left(edges, stop)]))
