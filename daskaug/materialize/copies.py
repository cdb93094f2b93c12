"""Which copies of the source's rows an epoch of a store holds."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding
from daskaug.errors import ConfigError
from daskaug.seeding import Purpose

_STREAM_COPIES = 16
"""Stream of the lots for further copies, among those of :class:`daskaug.seeding.Purpose.ORDER`; planning has others."""


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """Consecutive rows of an epoch of the store.

    Attributes
    ----------
    epoch : int
    start, stop : int
        The rows of the source that they come from.
    pick : (b,) int64 or None
        For each stored row, its row among these; None where it is each of them once.
    copy : (b,) int64 or None
        For each stored row, how many earlier ones of the epoch have the same source row; None where none has.
    """

    epoch: int
    start: int
    stop: int
    pick: NDArray[np.int64] | None = None
    copy: NDArray[np.int64] | None = None

    @property
    def rows(self) -> NDArray[np.int64]:
        """Source row of each stored row."""
        return np.arange(self.start, self.stop) if self.pick is None else self.start + self.pick


class Copies(Protocol):
    """The rows of the epochs of a store.

    Attributes
    ----------
    epoch_rows : int
        Rows of each epoch.
    most : int
        Times that a source row is in an epoch, at most.
    """

    epoch_rows: int
    most: int

    def piece(self, epoch: int, first: int, last: int) -> Piece:
        """The rows from `first` to `last` of an epoch."""


class Uniform:
    """Each row of the source once.

    Parameters
    ----------
    n : int
        Rows of the source.
    """

    most = 1

    def __init__(self, n: int) -> None:
        self.epoch_rows = n

    def piece(self, epoch: int, first: int, last: int) -> Piece:
        """See :class:`Copies`."""
        return Piece(epoch, first, last)


class Balanced:
    """Every class as often as the largest one, the copies of a row side by side.

    Of a class of m images, each is there floor(largest / m) or one more times. Lots that are keyed by seed, epoch and
    sample id say which are there once more, so that neither the order of the images nor that of the classes matters.

    Parameters
    ----------
    classes : (n,) integers from 0
        Class of each row of the source.
    ids : (n,) integers
        Sample ids.
    seed : int
    """

    def __init__(self, classes: NDArray[np.int64], ids: NDArray[Any], seed: int) -> None:
        self._classes, self._ids, self._seed = classes, ids, seed
        self._sizes = np.bincount(classes)
        self.largest = int(self._sizes.max())
        self.epoch_rows = self.largest * len(self._sizes)
        self.most = -(-self.largest // int(self._sizes.min()))
        self._known: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    @property
    def facts(self) -> dict[str, int]:
        """What the manifest says of it."""
        return {
            "source_rows": len(self._classes), "classes": len(self._sizes), "largest": self.largest, "most": self.most
        }  # fmt: skip

    def counts(self, epoch: int) -> NDArray[np.int64]:
        """How often each row of the source is in an epoch, (n,)."""
        lots = seeding.raw_rows(self._seed, epoch, Purpose.ORDER, _STREAM_COPIES, self._ids)[:, 0]
        order = np.lexsort((self._ids, lots, self._classes))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        first_of_class = np.cumsum(self._sizes) - self._sizes
        every, further = np.divmod(self.largest, self._sizes)
        is_further = place - first_of_class[self._classes] < further[self._classes]
        counts: NDArray[np.int64] = np.add(every[self._classes], is_further, dtype=np.int64)
        return counts

    def piece(self, epoch: int, first: int, last: int) -> Piece:
        """See :class:`Copies`."""
        known, stops = self._known
        if known != epoch:
            stops = np.cumsum(self.counts(epoch))
            self._known = (epoch, stops)
        positions = np.arange(first, last)
        rows = np.searchsorted(stops, positions, side="right")
        before = np.concatenate([[0], stops])[rows]
        # Every row is there at least once, so those of the source have no gaps.
        return Piece(epoch, int(rows[0]), int(rows[-1]) + 1, rows - rows[0], positions - before)


def classes_of(y: Any) -> NDArray[np.int64]:
    """The class of each label, counted from 0.

    Parameters
    ----------
    y : (n,) or (n, 1) integers, or (n, classes) with a single 1 in each row

    Returns
    -------
    (n,) int64

    Raises
    ------
    ConfigError
        For anything else.
    """
    labels = np.asarray(y) if isinstance(y, np.ndarray) else np.empty(0)
    if labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "biuf":
        if ((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all():
            return _numbered(labels.argmax(axis=1))
    elif labels.size and labels.dtype.kind in "biu" and labels.size == len(labels):
        return _numbered(labels.reshape(-1))
    found = "no labels" if y is None else f"labels of dtype {labels.dtype} and shape {labels.shape}"
    raise ConfigError(
        f"balance=True needs the class of each image: `y` of integers, or with a single 1 in each row. Found {found}. "
        "Number the classes: numpy.unique(labels, return_inverse=True)[1]."
    )


def _numbered(labels: NDArray[Any]) -> NDArray[np.int64]:
    _, classes = np.unique(labels, return_inverse=True)
    return classes.astype(np.int64, copy=False)
