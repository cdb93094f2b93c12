"""Cutting the order of an epoch into steps, and each step into one batch for every rank."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from daskaug.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Shard:
    """Which of several consumers that share the epochs this is.

    Attributes
    ----------
    rank : int
        From 0 up to, but not including, `world_size`.
    world_size : int

    Raises
    ------
    ConfigError
        For anything else.
    """

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        both = (self.rank, self.world_size)
        are_integers = all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in both)
        if not are_integers or not 0 <= self.rank < self.world_size:
            raise ConfigError(
                "`shard` must be (rank, world_size), two integers with 0 <= rank < world_size. Received: "
                f"shard=({self.rank!r}, {self.world_size!r})."
            )

    @classmethod
    def of(cls, shard: Any) -> Shard:
        """What the user passed; None is the only consumer."""
        if shard is None:
            return cls()
        if isinstance(shard, Shard):
            return shard
        if not isinstance(shard, tuple | list) or len(shard) != 2:
            raise ConfigError(f"`shard` must be a pair (rank, world_size). Received: shard={shard!r}.")
        return cls(*shard)


@dataclasses.dataclass(frozen=True)
class Steps:
    """The steps of one epoch, as positions in its global order.

    A step takes the next ``batch_size * world_size`` rows of the order, a batch for every rank, one after the other;
    so the order does not depend on the number of ranks. Fewer rows are left for the last step: they are split into
    parts of (nearly) equal length, one for each rank. Where fewer rows than ranks would be left, they are split
    together with those of the step before, over two steps; for a batch size of 1, where two steps have no room, over
    one step in which some batches have two rows. So all ranks have equally many batches, none of which is empty.

    How an epoch goes on after a step depends on the step's position alone: the steps of an epoch that begins there are
    the same.

    Attributes
    ----------
    n : int
        Rows of the order.
    batch_size : int
        Rows of a batch, for each rank.
    shard : Shard
    drop_last : bool
        Leave out the rows that do not fill a step.
    begin : int
        Position at which the epoch begins; not 0 for the rest of one.
    count : int
        Steps, and so batches of each rank.

    Raises
    ------
    ConfigError
        Where there would be an empty batch, or nothing but what is dropped.
    """

    n: int
    batch_size: int
    shard: Shard = Shard()
    drop_last: bool = False
    begin: int = 0
    count: int = dataclasses.field(init=False)
    _full: int = dataclasses.field(init=False)
    _tail: tuple[int, ...] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        size, left = self._size, max(0, self.n - self.begin)
        full, rest = divmod(left, size)
        tail: tuple[int, ...] = ()
        if rest and not self.drop_last:
            if rest >= self.shard.world_size:
                tail = (self.n,)
            elif not full:
                raise ConfigError(self._too_few(left))
            else:
                full -= 1
                tail = (self.n,) if self.batch_size == 1 else (self.n - (size + rest) // 2, self.n)
        if self.n and not self.begin and not full and not tail:
            raise ConfigError(self._nothing_left())
        object.__setattr__(self, "_full", full)
        object.__setattr__(self, "_tail", tail)
        object.__setattr__(self, "count", full + len(tail))

    @property
    def _size(self) -> int:
        return self.batch_size * self.shard.world_size

    @property
    def images(self) -> int:
        """Rows of all batches of this rank."""
        tail = (self.batch(step) for step in range(self._full, self.count))
        return self._full * self.batch_size + sum(last - first for first, last in tail)

    def position(self, step: int) -> int:
        """Rows of the global order that come before a step: 0 up to `count`, which is the end."""
        if step <= self._full:
            return self.begin + step * self._size
        return self._tail[step - self._full - 1]

    def batch(self, step: int) -> tuple[int, int]:
        """First position, and the one after the last, of this rank's batch."""
        if step < self._full:
            first = self.begin + step * self._size + self.shard.rank * self.batch_size
            return first, first + self.batch_size
        first, last = self.position(step), self.position(step + 1)
        rank, world_size = self.shard.rank, self.shard.world_size
        return first + (last - first) * rank // world_size, first + (last - first) * (rank + 1) // world_size

    def _too_few(self, left: int) -> str:
        ranks = self.shard.world_size
        where = f"{left} rows are left of the epoch" if self.begin else f"There are {self.n} rows"
        return (
            f"{where}, fewer than the ranks of shard=({self.shard.rank}, {ranks}): a rank would have an empty batch. "
            f"Use at most {left} ranks, or drop_last=True, which leaves those rows out."
        )

    def _nothing_left(self) -> str:
        ranks = f" on each of {self.shard.world_size} ranks" if self.shard.world_size > 1 else ""
        return (
            f"drop_last=True would leave nothing of {self.n} rows: a step needs batch_size={self.batch_size}{ranks}. "
            "Use a smaller `batch_size`, or drop_last=False."
        )
