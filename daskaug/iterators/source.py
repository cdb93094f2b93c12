"""Batches from a source of images, of whatever kind."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import operator
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding
from daskaug.cards import Drawing, Fact, State, shape_text
from daskaug.errors import ConfigError, SourceError, UnreadableError
from daskaug.execution import Executor, Pending, as_loaded, current_executor, threads_executor
from daskaug.iterators.base import MOST_PER_TASK, TASK_NBYTES, BatchIterator
from daskaug.iterators.block_supply import BlockNeeds, Supply, is_graph, supply_of
from daskaug.iterators.boundary import Boundary, Fetched, MadeHere
from daskaug.iterators.columns import Columns, Masks, RowIds, pick
from daskaug.iterators.handed_out import HandedOut
from daskaug.iterators.plan import FlowPlan, Reading
from daskaug.iterators.replay import KerasReplay
from daskaug.iterators.serving import Serving
from daskaug.iterators.under_way import Place, UnderWay
from daskaug.pictures import to_picture
from daskaug.planning.block_cache import SIMULATED_ROWS, BlockLayout
from daskaug.planning.order import Order, Position, Shuffle
from daskaug.planning.quality import shuffle_quality
from daskaug.sources import Source, join_readers
from daskaug.sources.fingerprint import content_digest, sample_digest, sampled_rows
from daskaug.transforms.block import BlockTransform
from daskaug.transforms.masks import PairTransform

AHEAD_SHARE = 4
"""Of a memory budget, the part that finished batches may take; the rest is for blocks."""


@dataclasses.dataclass(frozen=True)
class PictureSaver:
    """Saves what is handed out, for looking at (``save_to_dir``)."""

    directory: str
    prefix: str
    format: str
    data_format: str

    @classmethod
    def of(cls, directory: str | Path | None, prefix: str, format: str, data_format: str) -> PictureSaver | None:  # noqa: A002
        """Keras' arguments; None where nothing is to be saved."""
        return None if directory is None else cls(str(directory), prefix, format, data_format)

    def save(self, images: NDArray[Any], positions: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        """Write one file per image: ``{prefix}_{position}_{number}.{format}``, values stretched to 0 to 255."""
        os.makedirs(self.directory, exist_ok=True)
        for image, position, number in zip(images, positions, numbers, strict=True):
            name = f"{self.prefix}_{position}_{number}.{self.format}"
            to_picture(image, self.data_format, scale=True).save(os.path.join(self.directory, name))


class SourceIterator(BatchIterator):
    """Batches of augmented and standardised images from a source.

    What the iterators that users see have in common.

    Parameters
    ----------
    source : Source
    transform : BlockTransform
        From raw to finished images.
    columns : Columns
    rows : (start, stop)
        The subset, as rows of the source.
    batch_size : int
    shuffle : Shuffle
    seed : int or None
        As the user gave it.
    seed_used : int
        The one in force.
    dtype : str
        Of the batches; sizes the number of batches computed ahead.
    saver : PictureSaver, optional
    masks : Masks, optional
    **serving
        The arguments of :meth:`daskaug.ImageDataGenerator.flow` from `shard` on.

    Raises
    ------
    ConfigError
        For what ``compat="keras"`` does not have; for a memory budget that is too small for the shuffle.
    """

    file_numbers_below = 10_000
    """Saved files are numbered at random below this, so that epochs seldom overwrite each other."""

    def __init__(
        self,
        source: Source,
        transform: BlockTransform,
        columns: Columns,
        *,
        rows: tuple[int, int],
        batch_size: int,
        shuffle: Shuffle,
        seed: int | None,
        seed_used: int,
        dtype: str,
        saver: PictureSaver | None = None,
        masks: Masks | None = None,
        **serving: Any,
    ) -> None:
        self._serving = Serving(**serving)
        shard, drop_last = self._serving.shard, self._serving.drop_last
        if transform.config.compat == "keras" and (shard is not None or drop_last):
            raise ConfigError(
                'With compat="keras" every batch is that of Keras, which knows no `shard` and no `drop_last`. '
                f"Received: shard={shard!r}, drop_last={drop_last!r}. Leave them out, or compat."
            )
        transform.check_images(source.shape[1:])
        sample_nbytes = int(np.prod(source.shape[1:])) * np.dtype(dtype).itemsize
        super().__init__(
            rows[1] - rows[0],
            batch_size,
            shuffle,
            seed,
            start=rows[0],
            seed_used=seed_used,
            sample_nbytes=sample_nbytes,
            shard=shard,
            drop_last=drop_last,
        )
        self.with_ids = bool(self._serving.with_ids)
        self.source = source
        self.columns = columns
        self.image_shape = tuple(source.shape[1:])
        self.dtype = dtype
        self._made = transform
        self._generator: Any = None
        self._generator_state: tuple[Any, ...] = ()
        self._saver = saver
        self._masks = masks
        # The images, and the masks where there are any, with what is kept of them decoded.
        self._sources = self._serving.cached([source] if masks is None else [source, masks.source])
        if transform.config.compat == "keras":
            self._replay = KerasReplay(self.n, self.batch_size, self.shuffle, seed)
        if self._serving.memory_budget is not None:
            self._check_budget(self._serving.memory_budget, current_executor())

    @property
    def y(self) -> Any:
        """Labels of the samples that are iterated over, in the order of the data; a dict or list of several."""
        return pick(self.columns.y, slice(*self._rows))

    @property
    def sample_weight(self) -> Any:
        """Weights of the samples that are iterated over, in the order of the data."""
        return pick(self.columns.sample_weight, slice(*self._rows))

    @property
    def ids(self) -> NDArray[Any]:
        """Sample ids of the samples that are iterated over, (n,), in the order of the data."""
        return np.asarray(self.columns.ids[slice(*self._rows)])

    @property
    def image_data_generator(self) -> Any:
        """The generator that made it. What is fitted or assigned to that later is heeded from the next batch on."""
        return self._generator

    @image_data_generator.setter
    def image_data_generator(self, generator: Any) -> None:
        self._generator = generator
        self._generator_state = () if generator is None else generator.state()

    def _refresh(self) -> bool:
        if self._generator is None:
            return False
        state = self._generator.state()
        if len(state) == len(self._generator_state) and all(map(operator.is_, state, self._generator_state)):
            return False
        self._generator_state = state
        made = self._made
        self._made = self._generator.block_transform(
            seed=made.seed,
            augment=made.augment,
            standardize=made.standardize,
            config=self._generator.config.replace(dtype=made.config.dtype, data_format=made.config.data_format),
        )
        self._made.check_images(self.source.shape[1:])
        self.__dict__.pop("_task", None)
        return True

    @property
    def _hands_out_own(self) -> bool:
        """Whether a subclass makes its batches itself, by Keras' method."""
        ours = SourceIterator._get_batches_of_transformed_samples
        return type(self)._get_batches_of_transformed_samples is not ours

    @property
    def _batches_per_task(self) -> int:
        batch_nbytes = self.batch_size * self._sample_nbytes
        if batch_nbytes >= TASK_NBYTES or self._hands_out_own or not self._made.is_quick:
            return 1
        together = min(TASK_NBYTES // batch_nbytes, MOST_PER_TASK)
        return together if all(source.is_quick for source in self._sources) else 1

    def _take_seed(self, seed: int) -> None:
        super()._take_seed(seed)
        self._made = dataclasses.replace(self._made, seed=seed)
        self.__dict__.pop("_task", None)

    def _rows_read(self, rows: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Where the images of some rows lie in the source, in an epoch."""
        return rows

    def _entries(self, rows: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Which entries of the columns belong to some rows, in an epoch."""
        return rows

    def _submit(self, rows: NDArray[np.int64], epoch: int) -> Pending:
        if self._hands_out_own:
            return super()._submit(rows, epoch)
        return self._submit_rows(rows, epoch)

    def _submit_rows(self, rows: NDArray[np.int64], epoch: int) -> Pending:
        executor = current_executor()
        if executor.is_remote and self._handed_out.is_over:
            total = self._steps(self.epoch).images
            in_epoch = min(total, self.batch_index * self.batch_size)
            self._handed_out.begin(self, executor, self.source.locator, total, self.epoch, in_epoch)
        read = self._rows_read(rows, epoch)
        readers = [self._supply(source, executor).reader(read) for source in self._sources]
        reader = readers[0] if self._masks is None else join_readers(readers)
        task, about = self._task, (self.columns.ids[self._entries(rows, epoch)], epoch)
        under_way = functools.partial(self._batches_ahead, executor)
        if not executor.is_remote or self._boundary.place_of_next(under_way) == "workers":
            return executor.submit(task, reader, about, "daskaug-flow")
        fetched = executor.submit(as_loaded, reader, (), "daskaug-fetch")
        here, handed_out = threads_executor(), self._handed_out

        def begin() -> Pending:
            with handed_out.tasks():
                return here.submit(task, Fetched(fetched, reader), about, "daskaug-flow")

        return MadeHere(fetched, begin)

    def _metered(self, serve: Any, *arguments: Any) -> Any:
        batch = super()._metered(serve, *arguments)
        self._handed_out.tell(self._steps(self.epoch).images)
        return batch

    def _read_ahead(self, first: Position, last: Position) -> None:
        if self._chooses_order or self._hands_out_own:
            return
        executor = current_executor()
        orders = cast("Callable[[int], Order]", self._order)  # nobody has chosen one of another kind
        for source in self._sources:
            supply = self._supply(source, executor)
            if supply.ahead is not None:
                for epoch, rows in supply.ahead.advance(orders, first, last):
                    supply.read_ahead(self._rows_read(rows, epoch), executor)

    def _get_batches_of_transformed_samples(self, index_array: NDArray[np.int64]) -> Any:
        """The batch of the samples at these positions, in the epoch that is being worked on."""
        rows = np.asarray(index_array) + self._rows[0]
        epoch = getattr(self._working, "epoch", self.epoch)
        return self._made_up(self._submit_rows(rows, epoch).result(), rows, epoch)

    def _replayed(self, rows: NDArray[np.int64], state: np.random.RandomState) -> Any:
        self._refresh()
        if self._hands_out_own:
            return self._get_batches_of_transformed_samples(rows - self._rows[0])
        draws = self._made.draw_like_keras(self.image_shape, len(rows), state)
        blocks = [source.take(rows) for source in self._sources]
        made = self._task(blocks if self._masks else blocks[0], self.columns.ids[rows], 0, draws=draws)
        images, masks = made if self._masks else (made, None)
        if self._saver is not None:
            numbers = np.array([state.randint(self.file_numbers_below) for _ in rows], np.int64)
            self._saver.save(images, rows - self._rows[0], numbers)
        return self._pack(images, rows, masks)

    def _assemble(self, made: Any, rows: NDArray[np.int64], epoch: int) -> Any:
        return made if self._hands_out_own else self._made_up(made, rows, epoch)

    def _finish(self, place: Place, batch: UnderWay) -> Any:
        made = super()._finish(place, batch)
        self._boundary.handed_out("consumer" if isinstance(batch.task.pending, MadeHere) else "workers")
        return made

    def _made_up(self, made: Any, rows: NDArray[np.int64], epoch: int) -> Any:
        images, masks = made if self._masks else (made, None)
        entries = self._entries(rows, epoch)
        if self._saver is not None:
            numbers = seeding.file_numbers(self.seed_used, epoch, self.columns.ids[entries], self.file_numbers_below)
            self._saver.save(images, rows - self._rows[0], numbers)
        return self._pack(images, entries, masks)

    def _pack(self, images: NDArray[Any], rows: NDArray[np.int64], masks: NDArray[Any] | None) -> Any:
        """The batch in the form that is handed out."""
        batch = self.columns.pack(images, rows, masks)
        if not self.with_ids:
            return batch
        ids = np.array(self.columns.ids[rows])
        return (*batch, ids) if isinstance(batch, tuple) else (batch, ids)

    def on_epoch_begin(self) -> None:
        """Called by Keras when it begins to train or evaluate with the iterator.

        Raises
        ------
        ConfigError
            With `with_ids`: Keras would take the ids for sample weights.
        """
        if self.with_ids:
            raise ConfigError(
                "with_ids=True adds the sample ids to each batch, which Keras would take for labels or weights. Make "
                "the iterator for `fit`, `evaluate` or `predict` without it."
            )

    def _card_facts(self) -> list[Fact]:
        config = self._made.config
        beside = [
            Fact(name, f"{values.dtype} of shape {values.shape}") for name, values in self.columns.by_name().items()
        ]
        if self._masks is not None:
            beside.append(Fact("masks", f"{shape_text(self._masks.source.shape[1:])} {self._masks.source.dtype}"))
        chosen = [f"{name}={value}" for name, value in config.chosen().items()]
        done = [
            name
            for name, is_on in (
                ("augmented", self._made.augment),
                ("standardised", self._made.standardize and config.standardizes),
            )
            if is_on
        ]
        served = [Fact("so far", f"{self.meter.images:,} images: {self.meter}")] if self.meter.batches > 1 else []
        more = [
            *self._sources[0]._card_facts(),
            *beside,
            Fact("batches", f"{self.dtype}, {' and '.join(done) or 'as they are stored'}"),
            Fact("options", ", ".join(chosen) or "all at their defaults"),
            *served,
        ]
        return [*super()._card_facts(), *(dataclasses.replace(fact, in_line="") for fact in more)]

    def _card_state(self) -> State | None:
        return None if self._generator is None else cast("State | None", self._generator._card_state())

    def _card_drawing(self) -> Drawing | None:
        return self.source._card_drawing()

    @property
    def masks(self) -> Masks | None:
        """The masks beside the images, if there are any."""
        return self._masks

    @functools.cached_property
    def _task(self) -> Any:
        """What is called for each batch."""
        if self._masks is None:
            return self._made
        return PairTransform(self._made, self._masks.order, self._masks.cval)

    def _supply(self, source: Source, executor: Executor) -> Supply:
        """Where the tasks of this executor get the rows of a source."""
        key = source, executor.is_remote, self.shuffling
        with self.lock:
            supply = self._supplies.get(key)
            if supply is None:
                if self._serving.memory_budget is not None:
                    self._check_budget(self._serving.memory_budget, executor)
                nbytes = self._kept_nbytes(executor)
                supply = supply_of(source, self.shuffling, executor, self.meter, nbytes)
                self._supplies[key] = supply
            return supply

    @property
    def _has_random_access(self) -> bool:
        return all(source.random_access for source in self._sources)

    @property
    def _ahead_nbytes(self) -> int:
        budget = self._serving.memory_budget
        return super()._ahead_nbytes if budget is None else min(super()._ahead_nbytes, budget // AHEAD_SHARE)

    def _in_flight_nbytes(self, ahead: int, executor: Executor) -> int:
        """Of so many batches under way, finished and raw."""
        tasks = min(executor.parallelism, -(-ahead // self._batches_per_task))
        raw = sum(source.row_nbytes for source in self._sources)
        finished = self._sample_nbytes + raw - self.source.row_nbytes  # masks stay as they are
        return self.batch_size * (ahead * finished + tasks * self._batches_per_task * raw)

    def _needs(self, executor: Executor) -> int:
        """Decoded bytes of the blocks that the shuffle needs at the same time in this process."""
        kept = [] if executor.is_remote else [source for source in self._sources if not source.random_access]
        return sum(BlockNeeds.of(source, self.shuffling).nbytes for source in kept)

    def _kept_nbytes(self, executor: Executor) -> int | None:
        """Decoded bytes of each source that may be kept in this process; None: as many as are needed."""
        budget = self._serving.memory_budget
        if budget is None:
            return None
        return (budget - self._in_flight_nbytes(self._batches_ahead(executor), executor)) // len(self._sources)

    def _check_budget(self, budget: int, executor: Executor) -> None:
        needs = self._needs(executor)

        def needed(budget: int) -> int:
            ahead = self._ahead_within(min(budget // AHEAD_SHARE, super(SourceIterator, self)._ahead_nbytes), executor)
            return needs + self._in_flight_nbytes(ahead, executor)

        enough = budget
        while needed(enough) > enough:  # with more, more batches are under way
            enough = needed(enough)
        if enough > budget:
            raise ConfigError(
                f"memory_budget={budget:,} bytes is too small: batches under way take {needed(enough) - needs:,}, and "
                f"blocks that shuffle={self.shuffling.kind!r} needs at the same time {needs:,}. Pass at least "
                f"{enough:,}, or a smaller batch_size, shuffle_unit or shuffle_mix; with shuffle_unit=1, shuffle_mix=1 "
                "rows are hardly mixed, and little is kept."
            )

    def plan(self) -> FlowPlan:
        """What the current epoch comes to: work, memory, bytes read and shuffle quality. No image is read for it.

        Returns
        -------
        FlowPlan
            Its text says it in words.
        """
        executor, steps, is_replay = current_executor(), self._steps(self.epoch), self._replay is not None
        per_task, ahead = (1, 1) if is_replay else (self._batches_per_task, self._batches_ahead(executor))
        tasks = 1 if is_replay else min(executor.parallelism, -(-ahead // per_task))
        counted = [steps.batch(i) for i in range(min(steps.count, 1 + SIMULATED_ROWS // self.batch_size))]
        end = steps.position(len(counted))
        order = self.index_array[:end] + self._rows[0] if is_replay else self._order(self.epoch).rows(0, end)
        batches = [order[first:last] for first, last in counted]
        reading = [self._reading(source, batches, per_task, executor) for source in self._sources]
        total = functools.reduce(operator.add, reading)
        finished = self._sample_nbytes + sum(source.row_nbytes for source in self._sources[1:])
        return FlowPlan(
            executor=executor.description,
            transform_on=str(self._boundary) if executor.is_remote and not is_replay else "",
            batches=steps.count,
            images=steps.images,
            nbytes=steps.images * finished,
            batch_size=self.batch_size,
            shard=steps.shard,
            shuffle=self.shuffling,
            tasks=tasks,
            batches_per_task=per_task,
            batches_ahead=ahead,
            in_flight_nbytes=self._in_flight_nbytes(ahead, executor),
            cached_nbytes=0 if executor.is_remote else total.kept_nbytes,
            held_nbytes=total.kept_nbytes if executor.is_remote else 0,
            read_in_order=_ratio(total.in_order, total.used_nbytes),
            read_at_random=_ratio(total.at_random, total.used_nbytes),
            counted_images=sum(map(len, batches)),
            shuffle_quality=shuffle_quality(order[steps.begin :], self.n),
        )

    def _reading(self, source: Source, batches: list[NDArray[np.int64]], per_task: int, executor: Executor) -> Reading:
        """What is read of a source for some batches, which follow one another."""
        batches = [self._rows_read(rows, self.epoch) for rows in batches]
        if source.random_access or not batches:
            return Reading.exactly(sum(map(len, batches)) * source.row_nbytes)
        is_remote = executor.is_remote
        if is_remote and is_graph(source):
            return Reading(sum(map(len, batches)) * source.row_nbytes, None, None)
        if is_remote and source.is_here:  # and sends just the rows that are wanted
            starts = np.arange(0, source.shape[0], source.decoded_rows)
            stops = np.minimum(starts + source.decoded_rows, source.shape[0])
            return Reading.in_blocks(BlockLayout(starts, stops, source.row_nbytes), batches, per_task, None)
        needs = BlockNeeds.of(source, self.shuffling)
        kept = needs.nbytes if is_remote else needs.kept_nbytes(self._kept_nbytes(executor))
        return Reading.in_blocks(needs.layout, batches, per_task, kept)

    @functools.cached_property
    def _fingerprint(self) -> str:
        """Of a few images and their labels, and of all sample ids."""
        digest = hashlib.sha256()
        for source in self._sources:
            try:
                digest.update(sample_digest(source).encode())
            except UnreadableError:
                raise
            except SourceError:  # a bad file is reported at its batch; until then it is no reason not to save a state
                digest.update(b"unreadable")
        rows = self._rows[0] + sampled_rows(self.n)
        known = {name: values[rows] for name, values in self.columns.by_name().items()}
        if not isinstance(self.columns.ids, RowIds):
            known["sample_id"] = self.ids
        digest.update(content_digest(known))
        return digest.hexdigest()[:32]

    def close(self) -> None:
        """See :meth:`BatchIterator.close`."""
        super().close()
        self._handed_out.end()
        with self.lock:
            _stop_supplies(self._supplies)

    def _stop_reading(self) -> None:
        with self.lock:  # in this process, what is read ahead and fails is read again anyhow
            for key in [key for key in self._supplies if key[1]]:
                self._supplies.pop(key).stop()

    def _set_up(self) -> None:
        super()._set_up()
        self._supplies: dict[tuple[Source, bool, Shuffle], Supply] = {}
        self._boundary = Boundary(self._serving.transform_on)
        self._handed_out = HandedOut(self.meter)
        weakref.finalize(self, _stop_supplies, self._supplies)

    def __getstate__(self) -> dict[str, Any]:
        # The copy finds its generator as it is, and is followed for itself.
        left = ("_supplies", "_boundary", "_handed_out", "_generator_state")
        return {name: value for name, value in super().__getstate__().items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.image_data_generator = self._generator


def _stop_supplies(supplies: dict[Any, Supply]) -> None:
    """Read nothing more ahead of time."""
    while supplies:
        supplies.popitem()[1].stop()


def _ratio(read: int | None, used: int) -> float | None:
    """Bytes read per byte used; 1 where nothing is used."""
    return None if read is None else read / used if used else 1.0
