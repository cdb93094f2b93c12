"""In which order an epoch visits its rows, as a pure function of (seed, epoch, rows, shuffle)."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding
from daskaug.errors import ConfigError
from daskaug.seeding import Purpose

SHUFFLES = ("none", "block", "global")

DEFAULT_UNIT = 256
"""Rows of a unit of the block shuffle. A fixed number: derived from chunks or memory, it would make the order of the
batches depend on them."""

DEFAULT_MIX = 4
"""Units whose rows are mixed with each other."""

# Streams of Purpose.ORDER.
_STREAM_ROWS, _STREAM_UNITS, _STREAM_MIX, _STREAM_BLOCKS = 0, 1, 2, 3


@dataclasses.dataclass(frozen=True)
class Shuffle:
    """How an epoch is shuffled.

    Attributes
    ----------
    kind : {"none", "block", "global"}
        ``"global"`` draws from all rows, ``"none"`` keeps them in order. ``"block"`` reads whole units in random order
        and mixes the rows of `mix` of them, so that every unit is read once per epoch.
    unit : int
        Rows of a unit; unit u holds rows ``u * unit`` to ``(u + 1) * unit``.
    mix : int
        Units that are mixed.
    """

    kind: str = "none"
    unit: int = DEFAULT_UNIT
    mix: int = DEFAULT_MIX

    def __post_init__(self) -> None:
        if self.kind not in SHUFFLES:
            raise ConfigError(f"`shuffle` must be True, False or one of {SHUFFLES}. Received: shuffle={self.kind!r}.")
        for name, value in (("shuffle_unit", self.unit), ("shuffle_mix", self.mix)):
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"`{name}` must be an integer, 1 or more (rows). Received: {name}={value!r}.")

    @classmethod
    def of(
        cls, shuffle: bool | str, *, random_access: bool, unit: int | None = None, mix: int | None = None
    ) -> Shuffle:
        """What `shuffle` means for a source: True is ``"global"`` in memory and ``"block"`` for chunks."""
        if isinstance(shuffle, bool | np.bool_ | int) and shuffle in (0, 1):
            shuffle = ("global" if random_access else "block") if shuffle else "none"
        return cls(str(shuffle), DEFAULT_UNIT if unit is None else unit, DEFAULT_MIX if mix is None else mix)


Position = tuple[int, int]
"""Where a row stands: (epoch, position in the epoch's order)."""


@dataclasses.dataclass(frozen=True)
class Order:
    """The order of one epoch over the rows from `start` to `stop`.

    Positions count from 0 in the order of visit; rows count in the whole source.
    """

    start: int
    stop: int
    shuffle: Shuffle
    seed: int
    epoch: int

    def __len__(self) -> int:
        return self.stop - self.start

    def rows(self, first: int, last: int) -> NDArray[np.int64]:
        """The rows at positions `first` to `last`.

        Returns
        -------
        (last - first,) int64
        """
        first, last = max(0, first), min(last, len(self))
        if self.shuffle.kind == "none":
            return np.arange(self.start + first, self.start + last)
        if self.shuffle.kind == "global":
            return self.start + self._permuted[first:last]
        _, offsets = self._units
        group_starts = offsets[:: self.shuffle.mix]
        parts = []
        position = first
        while position < last:
            g = int(np.searchsorted(group_starts, position, side="right")) - 1
            begin = int(group_starts[g])
            found = self._mixed(g)[position - begin : last - begin]
            parts.append(found)
            position += len(found)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def group_start(self, position: int) -> int:
        """First position of the group of units that are mixed there; the position itself, if none are."""
        if self.shuffle.kind != "block" or position >= len(self):
            return position
        group_starts = self._units[1][:: self.shuffle.mix]
        return int(group_starts[np.searchsorted(group_starts, position, side="right") - 1])

    def as_read(self, first: int, last: int) -> NDArray[np.int64]:
        """The rows at positions `first` to `last` of the order in which they are best read: unit by unit, not mixed.

        Each group of units takes the same positions as in the order of visit.

        Returns
        -------
        (last - first,) int64
        """
        first, last = max(0, first), min(last, len(self))
        if self.shuffle.kind != "block" or first >= last:
            return self.rows(first, last)
        units, offsets = self._units
        touched = slice(int(np.searchsorted(offsets, first, side="right")) - 1, int(np.searchsorted(offsets, last)))
        parts = []
        for unit, offset in zip(units[touched].tolist(), offsets[touched].tolist(), strict=True):
            begin, end = self._bounds(unit)
            parts.append(np.arange(begin + max(0, first - offset), min(end, begin + last - offset)))
        return np.concatenate(parts)

    @functools.cached_property
    def _permuted(self) -> NDArray[np.int64]:
        return seeding.permutation(self.seed, self.epoch, len(self), _STREAM_ROWS)

    @functools.cached_property
    def _units(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The units in the order of visit, and the position at which each of them begins."""
        first = self.start // self.shuffle.unit
        n_units = -(-self.stop // self.shuffle.unit) - first if len(self) else 0
        units = first + seeding.permutation(self.seed, self.epoch, n_units, _STREAM_UNITS)
        begin, end = self._bounds(units)
        return units, np.concatenate([[0], np.cumsum(end - begin)])[:-1]

    def _bounds(self, units: Any) -> tuple[Any, Any]:
        unit = self.shuffle.unit
        return np.maximum(units * unit, self.start), np.minimum((units + 1) * unit, self.stop)

    def _mixed(self, group: int) -> NDArray[np.int64]:
        """The rows of a group of units in the order of visit; the last few are kept."""
        known = self._groups.get(group)
        if known is None:
            known = self._groups[group] = self._mix(group)
            for old in list(self._groups)[:-4]:
                self._groups.pop(old, None)
        return known

    @functools.cached_property
    def _groups(self) -> dict[int, NDArray[np.int64]]:
        return {}

    def _mix(self, group: int) -> NDArray[np.int64]:
        units, _ = self._units
        mix = self.shuffle.mix
        bounds = [self._bounds(int(unit)) for unit in units[group * mix : (group + 1) * mix]]
        rows = np.concatenate([np.arange(begin, end) for begin, end in bounds])
        lots = seeding.raw_rows(self.seed, self.epoch, Purpose.ORDER, _STREAM_MIX, rows)[:, 0]
        return rows[np.argsort(lots, kind="stable")]


@dataclasses.dataclass(frozen=True, eq=False)
class ChosenOrder:
    """An order that somebody else has chosen.

    Attributes
    ----------
    chosen : (n,) int64
        Rows, as they are visited.
    """

    chosen: NDArray[np.int64]

    def rows(self, first: int, last: int) -> NDArray[np.int64]:
        """See :meth:`Order.rows`."""
        return self.chosen[first:last]


def order_of_blocks(number: int, seed: int) -> NDArray[np.int64]:
    """In which order a pass that may stop early reads its blocks, (number,) int64."""
    return seeding.permutation(seed, 0, number, _STREAM_BLOCKS)


def split_rows(n: int, validation_split: float, subset: str | None) -> tuple[int, int]:
    """The rows of a subset: the first part of the data is for validation, as in Keras.

    Parameters
    ----------
    n : int
        Rows in all.
    validation_split : float
        Share of the rows that are for validation, 0 to 1.
    subset : {"training", "validation", None}

    Returns
    -------
    start, stop : int

    Raises
    ------
    ConfigError
        For another name.
    """
    if subset is None:
        return 0, n
    if subset not in ("training", "validation"):
        raise ConfigError(f'`subset` must be "training", "validation" or None. Received: subset={subset!r}.')
    cut = int(n * validation_split)
    return (0, cut) if subset == "validation" else (cut, n)
