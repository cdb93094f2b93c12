"""What a source of images is, and what of it travels to a task."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.cards import Described, Drawing, Fact, one_line, shape_text, size_text
from daskaug.planning.blocks import TARGET_NBYTES, Plan, plan_blocks


class BlockReader(abc.ABC):
    """Loads some rows, where the task runs.

    Attributes
    ----------
    carried_nbytes : int
        Bytes of pixels that travel with it.
    """

    carried_nbytes: int = 0

    @property
    def nbytes(self) -> int | None:
        """Decoded bytes of the rows, where that is known beforehand."""
        return None

    def parts(self) -> list[Any] | None:
        """For rows that a graph computes: the dask values to compute, of which :meth:`assembly` makes the rows."""
        return None

    def assembly(self) -> Callable[[list[Any]], Any]:
        """From the values of :meth:`parts` to what :meth:`load` returns; small, and fit to travel."""
        raise NotImplementedError

    @abc.abstractmethod
    def load(self) -> Any:
        """The rows: an array of rank 4, or a list of such arrays for joined readers."""


class Source(Described, abc.ABC):
    """Images of rank 4, one after the other along the first axis, laid out as they are stored.

    Attributes
    ----------
    shape : (n, h, w, c) or (n, c, h, w)
    dtype : numpy.dtype
    natural_rows : int
        Rows that are stored together, in a chunk or a shard. Plans do not cut them.
    decoded_rows : int
        Rows that are decoded together: of a chunk, also where chunks lie in shards. Reading part of them costs as much
        as reading all.
    random_access : bool
        Whether rows cost the same in any order: nothing is stored together, so that nothing is gained by caching.
    is_quick : bool
        Whether a row takes little more time than reading its bytes does.
    locator : str
        Where the images are, for people and for warnings.
    """

    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    natural_rows: int
    random_access: bool = False
    is_quick: bool = True
    locator: str

    @property
    def is_far(self) -> bool:
        """Whether it lies in a store behind a network, where a request takes long and many can be under way."""
        protocol, separator, _ = self.locator.partition("://")
        return bool(separator) and protocol not in ("file", "memory")

    @property
    def is_here(self) -> bool:
        """Whether only this process can read it, so that pixels have to travel to tasks elsewhere."""
        return False

    @property
    def decoded_rows(self) -> int:
        """See above."""
        return self.natural_rows

    @property
    def row_nbytes(self) -> int:
        """Decoded bytes of an image."""
        return int(np.prod(self.shape[1:])) * self.dtype.itemsize

    @abc.abstractmethod
    def read(self, start: int, stop: int) -> NDArray[Any]:
        """The images of consecutive rows; not to be written to, for they may be the caller's own.

        Parameters
        ----------
        start, stop : int
            Rows from `start` up to, but not including, `stop`.

        Returns
        -------
        (stop - start, h, w, c) or (stop - start, c, h, w) array
            Of the source's dtype.
        """

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The images at `rows`, in their order.

        Every chunk that holds one of them is read once, neighbours in one go: a store far away can then fetch them
        side by side.

        Parameters
        ----------
        rows : (b,) int64
            In any order, repeats allowed.

        Returns
        -------
        (b, h, w, c) or (b, c, h, w) array
            Of the source's dtype.

        Raises
        ------
        IndexError
            There is no such row.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.shape[0]:
            raise IndexError(
                f"{self.locator} has the rows 0 to {self.shape[0] - 1}. Asked for row {rows.min()} to {rows.max()}."
            )
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        step = self.decoded_rows
        for first, last in _runs(np.unique(ascending // step), max(1, TARGET_NBYTES // (step * self.row_nbytes))):
            start, stop = first * step, min((last + 1) * step, self.shape[0])
            begin, end = np.searchsorted(ascending, (start, stop))
            out[order[begin:end]] = self.read(start, stop)[ascending[begin:end] - start]
        return out

    def plan(self, start: int, stop: int, target_nbytes: int = TARGET_NBYTES) -> Plan:
        """Blocks that cover the rows from `start` to `stop` without cutting what is stored together."""
        return plan_blocks((start, stop), self.natural_rows, self.row_nbytes, target_nbytes=target_nbytes)

    def plan_reads(self, target_nbytes: int = TARGET_NBYTES) -> Plan:
        """Blocks that cover all rows without cutting what is decoded together; smaller than those of :meth:`plan`."""
        return plan_blocks((0, self.shape[0]), self.decoded_rows, self.row_nbytes, target_nbytes=target_nbytes)

    def reader(self, start: int, stop: int) -> BlockReader:
        """What a task needs for the rows from `start` to `stop`."""
        return RangeReader(self, start, stop)

    def rows_reader(self, rows: NDArray[np.int64]) -> BlockReader:
        """What a task needs for some rows, in their order."""
        return RowsReader(self, rows)

    def probes(self) -> list[BlockReader]:
        """What fails quickly where the source cannot be opened, without reading images; none where pixels travel."""
        return []

    def as_dask(self, plan: Plan) -> Any:
        """The source as a dask array of these blocks, where it is in memory or a graph anyway; otherwise None."""
        return None

    @property
    def pieces(self) -> tuple[int | tuple[int, ...], ...]:
        """What is stored together, along each axis: the length of a chunk, or the lengths of all."""
        return (self.natural_rows, *self.shape[1:])

    @property
    def storage(self) -> str:
        """How the images are stored, for people."""
        return "image by image" if self.natural_rows == 1 else f"{self.natural_rows:,} images together"

    def _card_facts(self) -> list[Fact]:
        counted = f"{self.shape[0]:,} {{}}of {shape_text(self.shape[1:])} {self.dtype}, "
        counted += f"{size_text(self.shape[0] * self.row_nbytes)} decoded"
        return [
            Fact("images", counted.format(""), counted.format("images ")),
            Fact("stored", self.storage, self.storage),
            Fact("at", self.locator, ""),
        ]

    def _card_drawing(self) -> Drawing:
        return Drawing(self.shape, self.pieces)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.locator}: {one_line(self._card_facts())}>"


def _runs(numbers: NDArray[np.int64], longest: int) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive numbers, of at most `longest`; `numbers` increases."""
    for run in np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1):
        for begin in range(0, len(run), longest):
            part = run[begin : begin + longest]
            yield int(part[0]), int(part[-1])


@dataclasses.dataclass(frozen=True, eq=False)
class RangeReader(BlockReader):
    """Consecutive rows of a source that opens itself where it is."""

    source: Source
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """See :class:`BlockReader`."""
        return (self.stop - self.start) * self.source.row_nbytes

    def load(self) -> NDArray[Any]:
        """See :meth:`BlockReader.load`."""
        return self.source.read(self.start, self.stop)

    def __repr__(self) -> str:
        return f"rows {self.start} to {self.stop} of {self.source.locator}"


@dataclasses.dataclass(frozen=True, eq=False)
class RowsReader(BlockReader):
    """Some rows of a source that opens itself where it is."""

    source: Source
    rows: NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        """See :class:`BlockReader`."""
        return len(self.rows) * self.source.row_nbytes

    def load(self) -> NDArray[Any]:
        """See :meth:`BlockReader.load`."""
        return self.source.take(self.rows)

    def __repr__(self) -> str:
        return f"{len(self.rows)} rows of {self.source.locator}, the first of them {self.rows[:1].tolist()}"


@dataclasses.dataclass(frozen=True, eq=False)
class CarryingReader(BlockReader):
    """Rows that travel with the task."""

    block: NDArray[Any]
    label: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "carried_nbytes", self.block.nbytes)

    @property
    def nbytes(self) -> int:
        """See :class:`BlockReader`."""
        return self.block.nbytes

    def load(self) -> NDArray[Any]:
        """See :meth:`BlockReader.load`."""
        return self.block

    def __repr__(self) -> str:
        return self.label
