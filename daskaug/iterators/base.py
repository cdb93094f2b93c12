"""Batches in the order of an epoch, computed a few ahead."""

from __future__ import annotations

import dataclasses
import functools
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daskaug import seeding
from daskaug.cards import Described, Fact, one_line
from daskaug.errors import ConfigError, DaskaugError, LostClusterError, UnreadableError
from daskaug.execution import Executor, Pending, current_executor
from daskaug.iterators.attributes import AssignedAttributes, check_batch_size
from daskaug.iterators.meter import Meter
from daskaug.iterators.progress import Resumable
from daskaug.iterators.pydataset import instance_class, is_pydataset
from daskaug.iterators.replay import KerasReplay
from daskaug.iterators.under_way import Place, SharedTask, UnderWay, WhenAsked, cancel_all
from daskaug.planning.order import ChosenOrder, Order, Position, Shuffle
from daskaug.planning.steps import Shard, Steps
from daskaug.stopping import OneInterrupt, uninterrupted

AHEAD_NBYTES = 256 * 2**20
"""Bytes of finished batches that may wait for the consumer."""

TASK_NBYTES = 2 * 2**20
"""Batches smaller than this, and quickly made, are computed several at a time: handing each over alone takes longer."""

MOST_PER_TASK = 16
"""Batches of a task at most: more of them save nothing, and are lost when the iterator is sent elsewhere."""


class BatchIterator(AssignedAttributes, Resumable, Described):
    """What Keras calls an ``Iterator``: infinite under ``next()``, indexable, safe to share between threads.

    A batch depends on its place alone, the epoch and the number within it; ``it[i]`` and the i-th ``next()`` of an
    epoch are the same batch. Subclasses compute one in ``_submit``.

    Parameters
    ----------
    n, batch_size, shuffle, seed
        As Keras has them.
    start : int
        First row, in the whole data.
    seed_used : int, optional
        The seed in force, where it is known already.
    sample_nbytes : int
        Finished bytes of a sample.
    shard : (rank, world_size), optional
        Which of several consumers this is: see :meth:`daskaug.ImageDataGenerator.flow` for how they share an epoch.
    drop_last : bool
        Leave out what does not fill a batch on every rank.
    **queue_options
        Of Keras' ``PyDataset``.

    Attributes
    ----------
    n, samples : int
        Samples per epoch, on all ranks together.
    batch_size : int
        For each rank.
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
    meter : Meter
        How long the consumer has waited, and for how much.

    Raises
    ------
    ConfigError
        For bad arguments, or ranks that would have an empty batch.
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
        shard: tuple[int, int] | Shard | None = None,
        drop_last: bool = False,
        **queue_options: Any,
    ) -> None:
        check_batch_size(batch_size)
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
        self._whole = Steps(self.n, self._batch_size, Shard.of(shard), bool(drop_last))
        if self._whole.shard.world_size > 1 and seed is None:
            raise ConfigError(
                f"`shard` is {shard!r} and there is no `seed`: each rank would have an order and draws of its own. "
                "Pass the same seed=... on all ranks."
            )
        self._rest: tuple[int, Steps] | None = None  # of an epoch that was resumed
        self._batch_index = self._total_batches_seen = 0
        self._rows = (start, start + self.n)
        self._sample_nbytes = max(1, sample_nbytes)
        self._served: set[int] = set()  # numbers of the batches that were asked for through [i]
        self._set_up()

    def _set_up(self) -> None:
        """What does not travel: the lock and the batches under way."""
        self.lock = threading.RLock()
        self.meter = Meter()
        self._process = os.getpid()
        self._ahead: dict[Place, UnderWay] = {}
        self._orders: dict[int, Order | ChosenOrder] = {}
        self._next_ahead: Place = (0, 0)
        self._wanted, self._until_asked, self._last_indexed = 1, 0, -1
        self._working = threading.local()
        weakref.finalize(self, cancel_all, self._ahead)

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
    def _ahead_nbytes(self) -> int:
        """Bytes of finished batches that may wait for the consumer."""
        return AHEAD_NBYTES

    @property
    def _batches_per_task(self) -> int:
        """Batches that are computed together where several are computed ahead."""
        return 1

    def _submit(self, rows: NDArray[np.int64], epoch: int) -> Pending:
        """Start computing the batch of these rows.

        A subclass that only fills in Keras' method is asked for its batch when that is wanted, not ahead of time: its
        method may not stand being called from several threads.
        """
        return WhenAsked(self, "_get_batches_of_transformed_samples", rows - self._rows[0])

    def _read_ahead(self, first: Position, last: Position) -> None:
        """Start reading what will be wanted after what lies between these, which is under way."""

    def _stop_reading(self) -> None:
        """Give up what a cluster reads, or has: it may have met with what a batch met with, which the next may not."""

    def _assemble(self, made: Any, rows: NDArray[np.int64], epoch: int) -> Any:
        """What is handed out: the images with labels, weights and whatever else belongs to the rows."""
        return made

    def _replayed(self, rows: NDArray[np.int64], state: np.random.RandomState) -> Any:
        """The batch of these rows with parameters drawn from `state`, for ``compat="keras"``."""
        raise NotImplementedError

    # --- Keras' contract -----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Batches of this epoch, for this rank; the last one may be smaller."""
        return self._steps(self.epoch).count

    def __getitem__(self, idx: int) -> Any:
        """The batch number `idx` of the current epoch."""
        if not -len(self) <= idx < len(self):
            raise IndexError(f"Asked for batch {idx}; an epoch has {len(self)} batches, numbered from 0.")
        return self._metered(self._serve_number, int(idx) % len(self))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """The next batch; the epoch after the last batch of an epoch follows without a break.

        Where computing it fails, the error is raised and the batch remains the next one; unless it can never be had,
        because of a file or an option, when the next call goes on behind it.
        """
        if self.n == 0:
            raise StopIteration
        return self._metered(self._serve_next)

    def _metered(self, serve: Any, *arguments: Any) -> Any:
        """What `serve` returns beside a number of images, while the meter runs."""
        self._usable_lock()
        meter = self.meter
        meter.begin()
        images, batch = 0, None
        waiting = OneInterrupt()
        try:
            with waiting:
                images, batch = serve(*arguments)
        except KeyboardInterrupt:
            with uninterrupted():
                self.close()  # the batches after it are of no use now
            raise
        finally:
            waiting.restore()
            meter.end(images, batch)
        return batch

    def _serve_number(self, number: int) -> tuple[int, Any]:
        with self._usable_lock():
            if self._replay is not None:
                return self._replay_batch(self._replay, self._replay.positions_of(number))
            place = (self.epoch, number)
            # Keras' fit asks for one batch after the other: have the next ones under way as next() does.
            in_turn = number == self._last_indexed + 1
            batch = self._begin(place, look_ahead=in_turn)
            self._last_indexed = number
            self._served.add(number)
            self.total_batches_seen += 1
        return len(batch.rows), self._finish(place, batch)

    def _serve_next(self) -> tuple[int, Any]:
        with self._usable_lock():
            if self._replay is not None:
                return self._replay_batch(self._replay, self._replay.next_positions())
            place = (self.epoch, self.batch_index)
            batch = self._begin(place, look_ahead=True)
            self.epoch, self.batch_index = self._after(place)
            self.total_batches_seen += 1
            self._served.clear()
        try:
            return len(batch.rows), self._finish(place, batch)
        except BaseException as error:
            if _is_for_good(error):
                raise
            with self.lock:
                if (self.epoch, self.batch_index) == self._after(place):
                    self.total_batches_seen -= 1
                    self._go_to(*place)
            raise

    def next(self) -> Any:
        """The next batch, as ``next(iterator)``.

        Returns
        -------
        array, or tuple of arrays
        """
        return next(self)

    def on_epoch_end(self) -> None:
        """Go on to the next epoch, if at least a whole epoch was served through ``[i]`` since the last time.

        With ``compat="keras"`` every call draws a new order, as in Keras.
        """
        with self._usable_lock():
            if self._replay is not None:
                self._replay.on_epoch_end()
            elif len(self._served) >= len(self):
                self._continue_at(self.epoch + 1)

    def reset(self) -> None:
        """Go to the beginning of an epoch: of the next one, if batches of this one were taken with ``next()``.

        Keras draws a new order then, too.
        """
        with self._usable_lock():
            self._continue_at(self.epoch + (self.batch_index > 0 and self._replay is None))

    @property
    def index_array(self) -> NDArray[np.int64]:
        """Order of the current epoch, (n,) int64, on all ranks: positions in the data, or in its subset.

        Assigned in ``_set_index_array`` by subclasses that choose their own.
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
                    positions = self._rows_at(place[0], [self._steps(place[0]).batch(place[1])]) - self._rows[0]
                    self.epoch, self.batch_index = self._after(place)
                    self.total_batches_seen += 1
            yield positions

    # --- beyond Keras --------------------------------------------------------------------------------------------

    def one_epoch(self) -> Iterator[Any]:
        """The batches of one epoch: the current one from its beginning, or of a resumed one what was left of it.

        Returns
        -------
        iterator of batches
        """
        return self._batches_of(self.epoch)

    def epochs(self, count: int) -> Iterator[Iterator[Any]]:
        """One iterator of batches for each of the next `count` epochs, whether or not it is read to its end.

        Parameters
        ----------
        count : int
            How many epochs.

        Yields
        ------
        iterator of batches
        """
        first = self.epoch
        for epoch in range(first, first + count):
            yield self._batches_of(epoch)

    def _batches_of(self, epoch: int) -> Iterator[Any]:
        with self._usable_lock():
            self._continue_at(epoch)
        for _ in range(len(self)):
            yield next(self)

    def close(self) -> None:
        """Give up the batches under way, and what was kept in memory. The iterator can go on being used."""
        with self._usable_lock():
            cancel_all(self._ahead)

    def _card_facts(self) -> list[Fact]:
        shard = self._whole.shard
        ranks = f" for rank {shard.rank} of {shard.world_size}" if shard.world_size > 1 else ""
        batches = f"{len(self)} batches of {self.batch_size}{ranks}"
        kind, seed = self.shuffling.kind, self.seed_used
        return [
            Fact("epoch", f"{self.n:,} samples in {batches}", f"{self.n} samples, {batches}"),
            Fact("order", f"shuffle {kind!r}, seed {seed}", f"shuffle={kind!r}, seed={seed}"),
            Fact("next", f"batch {self.batch_index} of epoch {self.epoch}", f"epoch {self.epoch}"),
        ]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {one_line(self._card_facts())}>"

    # --- how ----------------------------------------------------------------------------------------------------

    def _usable_lock(self) -> threading.RLock:
        """The lock; a new one, and nothing under way, in a forked child, which has none of its parent's threads."""
        if self._process != os.getpid():
            self._set_up()
        return self.lock

    def _begin(self, place: Place, look_ahead: bool) -> UnderWay:
        """The batch at `place` under way, and with `look_ahead` as many after it as time and memory ask for."""
        first = next(iter(self._ahead), None)
        # Where its cluster is gone, it can be had again: a batch is a function of its place.
        if self._refresh() or not look_ahead or first != place or self._ahead[place].task.is_lost:
            cancel_all(self._ahead)
            self._start(place, self._batches_per_task if look_ahead else 1)
        if look_ahead:
            # Asking a cluster for its size takes a message there and back; it may have grown now and then.
            if self._until_asked <= 0:
                self._wanted, self._until_asked = self._batches_ahead(current_executor()), 32
            self._until_asked -= 1
            while len(self._ahead) < self._wanted:
                self._start(self._next_ahead, self._batches_per_task)
            self._read_ahead(self._position(place), self._position(self._next_ahead))
        batch = self._ahead.pop(place)
        batch.task.is_awaited = True
        return batch

    def _batches_ahead(self, executor: Executor) -> int:
        """Batches that are under way or wait for the consumer: enough for all threads, within the bytes for it."""
        return self._ahead_within(self._ahead_nbytes, executor)

    def _ahead_within(self, nbytes: int, executor: Executor) -> int:
        fitting = 1 + nbytes // (self.batch_size * self._sample_nbytes)
        return min((executor.parallelism + 1) * self._batches_per_task, fitting)

    def _start(self, place: Place, count: int) -> None:
        """Begin with the batch at `place` and those after it in its epoch, `count` at most, in one task."""
        epoch, number = place
        steps = self._steps(epoch)
        count = min(count, steps.count - number)
        bounds = [steps.batch(number + i) for i in range(count)]
        rows = self._rows_at(epoch, bounds)
        task = SharedTask(self._submit(rows, epoch))
        begin = 0
        for i, (first, last) in enumerate(bounds):
            part = slice(begin, begin + last - first)
            begin = part.stop
            self._ahead[epoch, number + i] = UnderWay(rows[part], task, part if count > 1 else None)
        self._next_ahead = self._after((epoch, number + count - 1))

    def _finish(self, place: Place, batch: UnderWay) -> Any:
        self._working.epoch = place[0]
        alone = functools.partial(self._submit, batch.rows, place[0])
        try:
            made = batch.result(alone)
        except BaseException as error:
            if not _is_for_good(error):
                with self.lock:
                    cancel_all(self._ahead)
                    self._stop_reading()
            raise
        return self._assemble(made, batch.rows, place[0])

    def _replay_batch(self, replay: KerasReplay, positions: NDArray[np.int64]) -> tuple[int, Any]:
        return len(positions), self._replayed(positions + self._rows[0], replay.state)

    def _steps(self, epoch: int) -> Steps:
        """How an epoch is cut into batches."""
        if self._whole.n != self.n:  # assigned by a subclass
            self._cut_epochs(self._batch_size)
        rest = self._rest
        return self._whole if rest is None or rest[0] != epoch else rest[1]

    def _cut_epochs(self, batch_size: int) -> None:
        whole = dataclasses.replace(self._whole, n=self.n, batch_size=batch_size)
        if self._rest is not None:
            epoch, rest = self._rest
            self._rest = epoch, dataclasses.replace(rest, n=self.n, batch_size=batch_size)
        self._whole = whole

    def _position(self, place: Place) -> Position:
        """Where a batch begins in the order of its epoch."""
        return place[0], self._steps(place[0]).position(place[1])

    def _rows_at(self, epoch: int, bounds: list[tuple[int, int]]) -> NDArray[np.int64]:
        """Rows of an epoch's order from the first to the last position of each pair."""
        order = self._order(epoch)
        if len(bounds) == 1 or self._whole.shard.world_size == 1:  # then they follow one another
            return order.rows(bounds[0][0], bounds[-1][1])
        return np.concatenate([order.rows(first, last) for first, last in bounds])

    def _order(self, epoch: int) -> Order | ChosenOrder:
        """Order of an epoch. It keeps the permutation it has computed, so the last two are kept."""
        order = self._orders.get(epoch)
        if order is None and self._chooses_order:
            self._set_index_array()
            order = ChosenOrder(self._chosen + self._rows[0])
        elif order is None:
            order = Order(*self._rows, self.shuffling, self.seed_used, epoch)
            self._orders = {**dict(list(self._orders.items())[-1:]), epoch: order}
        return order

    def _after(self, place: Place) -> Place:
        epoch, number = place
        return (epoch, number + 1) if number + 1 < self._steps(epoch).count else (epoch + 1, 0)

    @property
    def _chooses_order(self) -> bool:
        """Whether a subclass does, as Keras lets it."""
        return type(self)._set_index_array is not BatchIterator._set_index_array

    def _continue_at(self, epoch: int) -> None:
        """Go to the beginning of an epoch; what was computed ahead for it, when the last one ended, is kept."""
        ahead = self._ahead.copy() if next(iter(self._ahead), None) == (epoch, 0) else {}
        if ahead:
            self._ahead.clear()
        self._go_to(epoch, 0)
        self._ahead.update(ahead)

    def _go_to(self, epoch: int, batch_index: int) -> None:
        """Go to a batch, and forget what was computed ahead: it may be another one now."""
        cancel_all(self._ahead)
        self.epoch, self.batch_index, self._served, self._last_indexed = epoch, batch_index, set(), -1

    def __getstate__(self) -> dict[str, Any]:
        left = ("lock", "meter", "_ahead", "_orders", "_process", "_working")
        return {name: value for name, value in self.__dict__.items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_up()


def _is_for_good(error: BaseException) -> bool:
    """Whether a batch can never be had, because of a file or an option; what is lost, or away, may come back."""
    return isinstance(error, DaskaugError) and not isinstance(error, LostClusterError | UnreadableError)
