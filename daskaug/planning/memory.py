"""What a pass over a source will take of memory, in bytes, as far as it can be known beforehand."""

from __future__ import annotations

import dataclasses

INTERPRETER_NBYTES = 300 * 2**20
"""Of a process that has loaded NumPy, Zarr, dask and the compiled kernels."""

DEFAULT_BUDGET = 2 * 2**30
"""Bytes that the blocks of a pass may take in one process, unless somebody says otherwise."""


@dataclasses.dataclass(frozen=True)
class PassMemory:
    """Bytes that a pass takes in one process.

    Attributes
    ----------
    block_nbytes : int
        Decoded bytes of the largest block.
    transformed_nbytes : int
        Bytes of what the block is transformed to, 0 where it is reduced as it is.
    threads : int
        Blocks that are worked on at the same time.
    """

    block_nbytes: int
    transformed_nbytes: int
    threads: int

    @property
    def task_nbytes(self) -> int:
        """Bytes of one task: the block, what is encoded of it at most, and what is made of it."""
        return 2 * self.block_nbytes + 2 * self.transformed_nbytes

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks in one process."""
        return self.threads * self.task_nbytes

    @property
    def peak_nbytes(self) -> int:
        """Expected peak of the process."""
        return INTERPRETER_NBYTES + self.nbytes


def target_for(budget: int, threads: int, growth: float) -> int:
    """Decoded bytes that a block may have within a budget.

    Parameters
    ----------
    budget : int
        Bytes for the blocks of one process.
    threads : int
    growth : float
        Bytes of what a block is transformed to, relative to its own.
    """
    return int(budget / (threads * (2 + 2 * growth)))
