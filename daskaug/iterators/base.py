"""Batches in the order of an epoch, computed a few ahead."""

from __future__ import annotations

import dataclasses
import functools
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daskaug import seeding
from daskaug.errors import ConfigError, DaskaugError
from daskaug.execution import Pending, current_executor
from daskaug.iterators.pydataset import instance_class, is_pydataset
from daskaug.iterators.replay import KerasReplay
from daskaug.planning.order import Order, Shuffle

AHEAD_NBYTES = 256 * 2**20
"""Bytes of finished batches that may wait for the consumer."""

TASK_NBYTES = 2 * 2**20
"""Batches smaller than this, and quickly made, are computed several at a time: handing each over alone takes longer."""

Place = tuple[int, int]
"""Where a batch stands: (epoch, number within the epoch)."""


class BatchIterator:
    """What Keras calls an ``Iterator``: infinite under ``next()``, indexable, safe to share between threads.

    A batch depends on its place alone, the epoch and the number within it; ``it[i]`` and the i-th ``next()`` of an
    epoch are the same batch. Subclasses compute one in :meth:`_submit`.

    Attributes
    ----------
    n, samples : int
        Samples per epoch.
    batch_size : int
    seed : int or None
        As given. ``seed_used`` is the one in force, drawn from fresh entropy where none was given.
    epoch : int
        Epoch of the next batch. ``next()`` goes on to the following epoch by itself; :meth:`on_epoch_end` does so
        only after a whole epoch has been served through ``[i]`` (Keras calls it after a probe, and twice after a
        validation pass).
    batch_index : int
        Number of the next batch under ``next()``.
    total_batches_seen : int
        Batches handed out so far.
    """

    white_list_formats = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")

    def __new__(cls, *args: Any, **kwargs: Any) -> BatchIterator:
        """Make a Keras ``PyDataset`` of it where Keras is loaded."""
        return object.__new__(instance_class(cls))

    def __init__(
        self,
        n: int,
        batch_size: int,
        shuffle: bool | Shuffle,
        seed: int | None,
        *,
        start: int = 0,
        seed_used: int | None = None,
        sample_nbytes: int = 1,
        **queue_options: Any,
    ) -> None:
        _check_batch_size(batch_size)
        self._replay: KerasReplay | None = None
        if queue_options.pop("use_multiprocessing", False):
            self.use_multiprocessing = True  # warns
        # Keras' PyDataset, if it is among the bases, takes its queue options here.
        super().__init__(**(queue_options if is_pydataset(self) else {}))
        if not isinstance(shuffle, Shuffle):
            shuffle = Shuffle.of(shuffle, random_access=True)
        if seed_used is None:
            seed_used = seeding.fresh_seed() if seed is None else seeding.check_seed(seed)
        self.n = self.samples = int(n)
        self.seed = seed
        self.seed_used = seed_used
        self.shuffling = shuffle
        self.epoch = 0
        self._batch_size = int(batch_size)
        self._batch_index = self._total_batches_seen = 0
        self._rows = (start, start + self.n)
        self._sample_nbytes = max(1, sample_nbytes)
        self._served = 0
        self._set_up()

    def _set_up(self) -> None:
        """What does not travel: the lock and the batches under way."""
        self.lock = threading.RLock()
        self._process = os.getpid()
        self._ahead: dict[Place, _UnderWay] = {}
        self._orders: dict[int, Order | ChosenOrder] = {}
        self._next_ahead: Place = (0, 0)
        self._wanted, self._until_asked, self._last_indexed = 1, 0, -1
        self._working = threading.local()
        weakref.finalize(self, _cancel, self._ahead)

    # --- what Keras' users assign --------------------------------------------------------------------------------

    @property
    def batch_size(self) -> int:
        """Samples of a batch; assigning another goes back to the beginning of the epoch."""
        return self._batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        _check_batch_size(value)
        with self._usable_lock():
            self._batch_size = int(value)
            if self._replay is not None:
                self._replay.batch_size = int(value)
            self._go_to(self.epoch, 0)

    @property
    def shuffle(self) -> bool:
        """Whether an epoch is shuffled; assigning goes back to the beginning of the epoch."""
        return self.shuffling.kind != "none"

    @shuffle.setter
    def shuffle(self, value: bool | str) -> None:
        if value is True and self.shuffle:
            return
        shuffling = Shuffle.of(value, random_access=True, unit=self.shuffling.unit, mix=self.shuffling.mix)
        with self._usable_lock():
            self.shuffling = shuffling
            self._orders = {}
            if self._replay is not None:
                self._replay.shuffle, self._replay.index_array = self.shuffle, None
            self._go_to(self.epoch, 0)

    @property
    def batch_index(self) -> int:
        """Number of the next batch under ``next()``."""
        return self._batch_index if self._replay is None else self._replay.batch_index

    @batch_index.setter
    def batch_index(self, value: int) -> None:
        self._batch_index = value
        if self._replay is not None:
            self._replay.batch_index = value

    @property
    def total_batches_seen(self) -> int:
        """Batches handed out so far."""
        return self._total_batches_seen if self._replay is None else self._replay.total_batches_seen

    @total_batches_seen.setter
    def total_batches_seen(self, value: int) -> None:
        self._total_batches_seen = value
        if self._replay is not None:
            self._replay.total_batches_seen = value

    @property
    def use_multiprocessing(self) -> bool:
        """Always False: batches are computed on threads, which need no copies of the data."""
        return False

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool) -> None:
        if value:
            warnings.warn(
                "use_multiprocessing is ignored: batches are computed on several threads already, and copies of this "
                "iterator in other processes could not tell it that an epoch is over.",
                UserWarning,
                stacklevel=2,
            )

    # --- to be filled in -----------------------------------------------------------------------------------------

    def _get_batches_of_transformed_samples(self, index_array: NDArray[np.int64]) -> Any:
        """The batch of the samples at these positions: what Keras asks of a subclass.

        Parameters
        ----------
        index_array : (b,) int64
            Positions from 0 to `n`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define _get_batches_of_transformed_samples(index_array), and return a batch."
        )

    def _set_index_array(self) -> None:
        """Assign `index_array` for the epoch that begins: what Keras calls then, and subclasses may define."""

    def _refresh(self) -> bool:
        """Take over what has changed since the last batch; whether batches under way are out of date."""
        return False

    @property
    def _batches_per_task(self) -> int:
        """Batches that are computed together where several are computed ahead."""
        return 1

    def _submit(self, rows: NDArray[np.int64], epoch: int) -> Pending:
        """Start computing the batch of these rows.

        A subclass that only fills in Keras' method is asked for its batch when that is wanted, not ahead of time: its
        method may not stand being called from several threads.
        """
        return _WhenAsked(functools.partial(self._get_batches_of_transformed_samples, rows - self._rows[0]))

    def _assemble(self, made: Any, rows: NDArray[np.int64], epoch: int) -> Any:
        """What is handed out: the images with labels, weights and whatever else belongs to the rows."""
        return made

    def _replayed(self, rows: NDArray[np.int64], state: np.random.RandomState) -> Any:
        """The batch of these rows with parameters drawn from `state`, for ``compat="keras"``."""
        raise NotImplementedError

    # --- Keras' contract -----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Batches per epoch; the last one may be smaller."""
        return -(-self.n // self.batch_size)

    def __getitem__(self, idx: int) -> Any:
        """The batch number `idx` of the current epoch."""
        if not -len(self) <= idx < len(self):
            raise IndexError(f"Asked for batch {idx}; an epoch has {len(self)} batches, numbered from 0.")
        number = int(idx) % len(self)
        with self._usable_lock():
            if self._replay is not None:
                return self._replay_batch(self._replay, self._replay.positions_of(number))
            place = (self.epoch, number)
            # Keras' fit asks for one batch after the other: have the next ones under way as next() does.
            in_turn = number == self._last_indexed + 1
            batch = self._begin(place, look_ahead=in_turn)
            self._last_indexed = number
            self._served += 1
            self.total_batches_seen += 1
        return self._finish(place, batch)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """The next batch; the epoch after the last batch of an epoch follows without a break.

        Where computing it fails, the error is raised and the batch remains the next one; unless it can never be had,
        because of a file or an option, when the next call goes on behind it.
        """
        if self.n == 0:
            raise StopIteration
        with self._usable_lock():
            if self._replay is not None:
                return self._replay_batch(self._replay, self._replay.next_positions())
            place = (self.epoch, self.batch_index)
            batch = self._begin(place, look_ahead=True)
            self.epoch, self.batch_index = self._after(place)
            self.total_batches_seen += 1
            self._served = 0
        try:
            return self._finish(place, batch)
        except DaskaugError:
            raise
        except BaseException:
            with self.lock:
                if (self.epoch, self.batch_index) == self._after(place):
                    self.total_batches_seen -= 1
                    self._go_to(*place)
            raise

    def next(self) -> Any:
        """The next batch, as ``next(iterator)``."""
        return next(self)

    def on_epoch_end(self) -> None:
        """Go on to the next epoch, if at least a whole epoch was served through ``[i]`` since the last time.

        With ``compat="keras"`` every call draws a new order, as in Keras.
        """
        with self._usable_lock():
            if self._replay is not None:
                self._replay.on_epoch_end()
            elif self._served >= len(self):
                self._go_to(self.epoch + 1, 0)

    def reset(self) -> None:
        """Go to the beginning of an epoch: of the next one, if batches of this one were taken with ``next()``.

        Keras draws a new order then, too.
        """
        with self._usable_lock():
            self._go_to(self.epoch + (self.batch_index > 0 and self._replay is None), 0)

    @property
    def index_array(self) -> NDArray[np.int64]:
        """Order of the current epoch: positions in the data, or in the subset where there is one.

        Assigned in :meth:`_set_index_array` by subclasses that choose their own.
        """
        if self._replay is not None and self._replay.index_array is not None:
            return self._replay.index_array
        return self._order(self.epoch).rows(0, self.n) - self._rows[0]

    @index_array.setter
    def index_array(self, positions: ArrayLike) -> None:
        self._chosen = np.asarray(positions)

    @property
    def index_generator(self) -> Iterator[NDArray[np.int64]]:
        """The positions of one batch after the other: for subclasses that fetch batches as Keras 2 did."""
        while True:
            with self._usable_lock():
                if self._replay is not None:
                    positions = self._replay.next_positions()
                else:
                    place = (self.epoch, self.batch_index)
                    self._working.epoch = place[0]
                    positions = self._rows_at(place) - self._rows[0]
                    self.epoch, self.batch_index = self._after(place)
                    self.total_batches_seen += 1
            yield positions

    # --- beyond Keras --------------------------------------------------------------------------------------------

    def one_epoch(self) -> Iterator[Any]:
        """The batches of one epoch: the current one from its beginning."""
        return self._batches_of(self.epoch)

    def epochs(self, count: int) -> Iterator[Iterator[Any]]:
        """One iterator of batches for each of the next `count` epochs, whether or not it is read to its end."""
        first = self.epoch
        for epoch in range(first, first + count):
            yield self._batches_of(epoch)

    def _batches_of(self, epoch: int) -> Iterator[Any]:
        with self._usable_lock():
            self._go_to(epoch, 0)
        for _ in range(len(self)):
            yield next(self)

    def close(self) -> None:
        """Give up the batches under way, and what was kept in memory. The iterator can go on being used."""
        with self._usable_lock():
            _cancel(self._ahead)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: {self.n} samples, {len(self)} batches of {self.batch_size}, "
            f"shuffle={self.shuffling.kind!r}, seed={self.seed_used}, epoch {self.epoch}>"
        )

    # --- how ----------------------------------------------------------------------------------------------------

    def _usable_lock(self) -> threading.RLock:
        """The lock; a new one, and nothing under way, in a forked child, which has none of its parent's threads."""
        if self._process != os.getpid():
            self._set_up()
        return self.lock

    def _begin(self, place: Place, look_ahead: bool) -> _UnderWay:
        """The batch at `place` under way, and with `look_ahead` as many after it as time and memory ask for."""
        first = next(iter(self._ahead), None)
        # Where its cluster is gone, it can be had again: a batch is a function of its place.
        if self._refresh() or not look_ahead or first != place or self._ahead[place].task.is_lost:
            _cancel(self._ahead)
            self._start(place, self._batches_per_task if look_ahead else 1)
        if look_ahead:
            # Asking a cluster for its size takes a message there and back; it may have grown now and then.
            if self._until_asked <= 0:
                tasks = current_executor().parallelism + 1
                fitting = 1 + AHEAD_NBYTES // (self.batch_size * self._sample_nbytes)
                self._wanted, self._until_asked = min(tasks * self._batches_per_task, fitting), 32
            self._until_asked -= 1
            while len(self._ahead) < self._wanted:
                self._start(self._next_ahead, self._batches_per_task)
        return self._ahead.pop(place)

    def _start(self, place: Place, count: int) -> None:
        """Begin with the batch at `place` and those after it in its epoch, `count` at most, in one task."""
        epoch, number = place
        count = min(count, len(self) - number)
        rows = self._rows_at(place, count)
        pending = self._submit(rows, epoch)
        for i in range(count):
            part = slice(i * self.batch_size, (i + 1) * self.batch_size)
            alone = functools.partial(self._submit, rows[part], epoch)
            self._ahead[epoch, number + i] = _UnderWay(rows[part], pending, part if count > 1 else None, alone)
        self._next_ahead = self._after((epoch, number + count - 1))

    def _finish(self, place: Place, batch: _UnderWay) -> Any:
        self._working.epoch = place[0]
        return self._assemble(batch.result(), batch.rows, place[0])

    def _replay_batch(self, replay: KerasReplay, positions: NDArray[np.int64]) -> Any:
        return self._replayed(positions + self._rows[0], replay.state)

    def _rows_at(self, place: Place, count: int = 1) -> NDArray[np.int64]:
        """Rows of the batch at `place`, and of as many after it as make up `count`."""
        epoch, number = place
        return self._order(epoch).rows(number * self.batch_size, (number + count) * self.batch_size)

    def _order(self, epoch: int) -> Order | ChosenOrder:
        """Order of an epoch. It keeps the permutation it has computed, so the last two are kept."""
        order = self._orders.get(epoch)
        if order is None and type(self)._set_index_array is not BatchIterator._set_index_array:
            self._set_index_array()
            order = ChosenOrder(self._chosen + self._rows[0])
        elif order is None:
            order = Order(*self._rows, self.shuffling, self.seed_used, epoch)
            self._orders = {**dict(list(self._orders.items())[-1:]), epoch: order}
        return order

    def _after(self, place: Place) -> Place:
        epoch, number = place
        return (epoch, number + 1) if number + 1 < len(self) else (epoch + 1, 0)

    def _go_to(self, epoch: int, batch_index: int) -> None:
        _cancel(self._ahead)
        self.epoch, self.batch_index, self._served, self._last_indexed = epoch, batch_index, 0, -1

    def __getstate__(self) -> dict[str, Any]:
        left = ("lock", "_ahead", "_orders", "_process", "_working")
        return {name: value for name, value in self.__dict__.items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_up()


@dataclasses.dataclass(frozen=True, eq=False)
class ChosenOrder:
    """An order that a subclass has chosen."""

    chosen: NDArray[np.int64]

    def rows(self, first: int, last: int) -> NDArray[np.int64]:
        """See :meth:`daskaug.planning.order.Order.rows`."""
        return self.chosen[first:last]


def _check_batch_size(value: Any) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"`batch_size` must be an integer, 1 or more. Received: batch_size={value!r}.")


@dataclasses.dataclass(frozen=True)
class _WhenAsked:
    """A batch that is computed by whoever wants it."""

    compute: Callable[[], Any]
    is_lost: bool = False

    def result(self) -> Any:
        return self.compute()

    def cancel(self) -> None:
        """There is nothing under way."""


@dataclasses.dataclass(frozen=True, eq=False)
class _UnderWay:
    """A batch under way; `part` of what its task returns, if that computes several together."""

    rows: NDArray[np.int64]
    task: Pending
    part: slice | None
    alone: Callable[[], Pending]

    def result(self) -> Any:
        if self.part is None:
            return self.task.result()
        try:
            made = self.task.result()
        except Exception:  # noqa: BLE001  whose batch it was about shows when this one is computed alone
            return self.alone().result()
        return tuple(each[self.part] for each in made) if isinstance(made, tuple) else made[self.part]


def _cancel(ahead: dict[Place, _UnderWay]) -> None:
    while ahead:
        ahead.popitem()[1].task.cancel()
