"""The first sink: statistics over a source, read once, block by block."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding
from daskaug.config import Config
from daskaug.execution import Executor, check_workers, current_executor, run_ordered
from daskaug.execution.executor import usual_window
from daskaug.execution.limits import budget_within
from daskaug.execution.reducing import Pass, Running, Task, reduce_blocks
from daskaug.fit_plan import (
    FitOptions,
    FitPlan,
    Work,
    before_statistics,
    blocks_of,
    contract_of,
    growth_of,
    least_of_images,
    most_of_block,
    most_of_gram,
    only_rescales,
)
from daskaug.planning.coverage import Coverage
from daskaug.planning.memory import PassMemory
from daskaug.progress import Shown, showing
from daskaug.sources.base import Source
from daskaug.stages import offer, stage
from daskaug.statistics import Content, Statistics, StatisticsRecipe, Whitening, checkpoint, whitening_from_svd
from daskaug.statistics.whitening import check_gram, gram_nbytes
from daskaug.transforms.block import BlockTransform
from daskaug.transforms.draws import Draws
from daskaug.whitening_fit import Images, WhiteningFit, WhiteningOptions
from daskaug.whitening_fit.passes import Count

log = logging.getLogger("daskaug")


@dataclasses.dataclass(frozen=True, eq=False)
class _Reduce:
    """Task: a block of raw images to a partial result, transformed on the way where training would."""

    recipe: StatisticsRecipe
    transform: BlockTransform | None

    @property
    def uses_blas(self) -> bool:
        return self.recipe.gram

    def __call__(
        self,
        block: NDArray[Any],
        start: int,
        ids: NDArray[Any],
        epoch: int,
        draws: Draws | None,
        weights: NDArray[np.float64] | None = None,
    ) -> Any:
        # Each row once, as it is stored; samples of the first epoch are numbered like the rows.
        with stage("reduce"):
            content = Content.partial(block, start) if epoch == 0 else None
        if self.transform is not None:
            if self.transform.config.compat == "keras":
                block = _rescaled_first(block, self.transform.config)
            block = self.transform(block, ids, epoch, draws=draws)
        else:
            offer(block, ids, epoch, self.recipe.data_format)
        with stage("reduce", len(block), block.nbytes):
            return dataclasses.replace(self.recipe.partial(block, start, weights), content=content)


@dataclasses.dataclass(frozen=True, eq=False)
class _Collect:
    """Task of Keras' own whitening, which needs all images at once: a block as Keras' ``fit`` sees it."""

    config: Config
    transform: BlockTransform | None

    def __call__(
        self, block: NDArray[Any], start: int, ids: NDArray[Any], epoch: int, draws: Draws | None, *_: Any
    ) -> NDArray[Any]:
        block = _rescaled_first(block, self.config)
        return block if self.transform is None else self.transform(block, ids, epoch, draws=draws)


def _rescaled_first(block: NDArray[Any], config: Config) -> NDArray[Any]:
    """Keras' ``fit`` rescales before it augments, in the generator's dtype."""
    scaled: NDArray[Any] = block.astype(config.dtype)
    if config.rescale:
        scaled *= config.rescale
    return scaled


class TransformFactory(Protocol):
    """:meth:`daskaug.ImageDataGenerator.block_transform`."""

    def __call__(
        self, *, seed: int, augment: bool, standardize: bool, config: Config, honours_standardize: bool
    ) -> BlockTransform:
        """What is done to the images."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Job:
    """A fit, planned: what :func:`plan_fit` tells and :func:`fit_statistics` does.

    Attributes
    ----------
    work : Work
        The blocks of the first pass.
    recipe : StatisticsRecipe
    whitening : WhiteningFit or None
        The passes after it.
    config : Config
    augment : bool
    options : FitOptions
        Checked.
    executor : Executor
    shown : Shown or None
        What is told how far it is.
    """

    work: Work
    recipe: StatisticsRecipe
    whitening: WhiteningFit | None
    config: Config
    augment: bool
    options: FitOptions
    executor: Executor
    shown: Shown | None = None

    @classmethod
    def of(
        cls,
        source: Source,
        config: Config,
        rows: tuple[int, int],
        ids: Any,
        rounds: int,
        augment: bool,
        options: FitOptions,
        zca: WhiteningOptions,
    ) -> _Job:
        """Plan a fit; nothing is read.

        Raises
        ------
        ConfigError
            For what cannot be combined, and what does not fit in memory.
        StoreError
            Where the place for the whitening holds something else.
        """
        if not config.zca_whitening:
            zca.refuse_without_whitening()
        options = options.check(config, source.shape[0], augment)
        executor = current_executor()
        dtype = before_statistics(config).dtype if _transforms(config, augment) else source.dtype.name
        images = Images(source, rows, ids, rounds if augment else 1, np.dtype(dtype))
        growth = growth_of(source, config) if _transforms(config, augment) else 0.0
        least = least_of_images(source, rows, growth, executor)
        if options.keep_gram:
            check_gram(images.features, executor.parallelism, options.memory_budget, least.nbytes)
        whitening = WhiteningFit.of(
            zca, config, images, executor, keep_gram=options.keep_gram, images_nbytes=least.nbytes
        )
        if whitening is not None and options.checkpoint is not None:
            whitening.refuse_checkpoint()
        recipe = StatisticsRecipe(
            image_shape=source.shape[1:],
            data_format=config.data_format,
            dtype=dtype,
            gram=options.keep_gram or (whitening is not None and whitening.plan.route == "features"),
            histogram=options.histogram,
            omit_nonfinite=options.nan_policy == "omit",
            weighted=options.sample_weight is not None,
        )
        if recipe.gram:
            most = most_of_gram(len(images), source.row_nbytes, executor.parallelism)
        else:
            most = most_of_block((rows[1] - rows[0]) * source.row_nbytes, executor)
        budget = _budget_of(options, executor, recipe.gram or whitening is not None)
        sums = gram_nbytes(images.features, executor.parallelism) if recipe.gram else 0
        blocks = blocks_of(source, rows, budget, growth, executor, most=most, sums=sums)
        work = Work(source, rows, ids, images.rounds, options.sample_weight, blocks)
        return cls(work, recipe, whitening, config, augment, options, executor)

    @property
    def window(self) -> int:
        """Tasks at a time: a partial Gram matrix is as large as the whole; without it a partial is a few numbers."""
        if self.recipe.gram:
            return self.executor.parallelism + 1
        return usual_window(self.executor, carries=self.work.source.is_here)

    @property
    def samples(self) -> int:
        """Images of one pass."""
        return (self.work.rows[1] - self.work.rows[0]) * self.work.rounds

    @property
    def passes(self) -> int:
        """How often the images are read."""
        if self.whitening is not None:
            return self.whitening.plan.cost.passes
        return 2 if self.config.zca_whitening else 1

    @property
    def covered(self) -> int:
        """Images that a checkpoint knows already."""
        written = None if self.options.checkpoint is None else checkpoint.peek(Path(self.options.checkpoint))
        return 0 if written is None else len(Coverage(written["covered"]))

    @property
    def about(self) -> dict[str, Any]:
        """What is shown beside its progress."""
        return {
            "total": self.samples * self.passes,
            "row_nbytes": self.work.source.row_nbytes,
            "before": self.covered,
            "passes": self.passes,
            "is_at_most": self.options.tolerance is not None,
        }

    def telling(self, shown: Shown | None) -> _Job:
        """The same, which tells its progress, and where that is displayed the mean so far as well."""
        monitor = self.options.monitor
        if shown is not None and shown.is_displayed:
            monitor = functools.partial(_note_mean, shown, monitor)
        return dataclasses.replace(self, options=dataclasses.replace(self.options, monitor=monitor), shown=shown)

    def transform(self, make_transform: TransformFactory, seed: int) -> BlockTransform | None:
        """What is done to the images first; None where rescaling is all."""
        if not _transforms(self.config, self.augment):
            return None
        return make_transform(
            seed=seed,
            augment=self.augment,
            standardize=self.config.compat is None,
            config=before_statistics(self.config),
            honours_standardize=False,
        )

    def tasks(self, transform: BlockTransform | None, seed: int) -> Callable[[int, int], Task]:
        """What makes the task of some samples of one block; with Keras' draws to be called in their order, once."""
        if transform is None or self.config.compat != "keras":
            return self.work.task
        return _InSequence(self.work, transform, np.random.RandomState(seed)).task

    def reduce(self, transform: BlockTransform | None, seed: int) -> Statistics:
        """The first pass."""
        options, work = self.options, self.work
        job = Pass(
            ranges=work.ranges(None if options.tolerance is None else seed),
            blocks=len(work.plan) * work.rounds,
            make_task=self.tasks(transform, seed),
            samples=self.samples * self.passes,
            tolerance=options.tolerance,
            checkpoint=None if options.checkpoint is None else Path(options.checkpoint),
            contract=contract_of(work, self.recipe, transform, options),
            progress=self.shown,
            monitor=options.monitor,
            name=work.source.locator,
            passes=self.passes,
        )
        window = self.window if self.recipe.gram else None
        total, interval = reduce_blocks(self.executor, _Reduce(self.recipe, transform), self.recipe, job, window=window)
        rescale = (self.config.rescale or None) if transform is None else None
        statistics = self.recipe.finalise(total, rescale=rescale)
        return statistics if interval is None else dataclasses.replace(statistics, is_complete=False, interval=interval)

    def whiten(
        self, statistics: Statistics, transform: BlockTransform | None, seed: int, seed_of_sketch: int | None
    ) -> Statistics:
        """The passes after it, where there are any."""
        if self.whitening is not None:
            whitening = self.whitening.finish(
                statistics, self.executor, transform, seed=seed_of_sketch, progress=self.shown
            )
        elif self.config.zca_whitening:
            whitening = self._as_keras_does(statistics, transform, seed)
        else:
            return statistics
        gram = statistics.gram if self.options.keep_gram else None
        return dataclasses.replace(statistics, whitening=whitening, gram=gram)

    def _as_keras_does(self, statistics: Statistics, transform: BlockTransform | None, seed: int) -> Whitening:
        """Read everything again, into one matrix."""
        make_task = self.tasks(transform, seed)
        tasks = (make_task(*block) for block in self.work.ranges(None))
        found, count = [], Count(self.shown, self.samples, self.passes)
        for block in run_ordered(self.executor, _Collect(self.config, transform), tasks, name="daskaug-fit"):
            found.append(block.reshape(len(block), -1))
            count.add(len(block))
        flat = np.concatenate(found)
        del found
        mean = as_image_shape(statistics.mean, self.config)
        flat -= np.broadcast_to(mean, self.work.source.shape[1:]).reshape(-1)
        return whitening_from_svd(flat, self.config.zca_epsilon)


def fit_statistics(
    source: Source,
    config: Config,
    make_transform: TransformFactory,
    *,
    rows: tuple[int, int],
    ids: Any,
    augment: bool = False,
    rounds: int = 1,
    seed: int | None = None,
    options: FitOptions | None = None,
    zca: WhiteningOptions | None = None,
) -> Statistics:
    """Mean, standard deviation and, where the configuration whitens, the ZCA matrix.

    What is measured is what featurewise standardising will see: images after the preprocessing function, rescaling
    and samplewise normalising, and with `augment` after the draws that training would use with the same seed. With
    ``compat="keras"`` it is what Keras' ``fit`` sees: rescaled images, augmented by one stream of random numbers.

    Parameters
    ----------
    source : Source
    config : Config
    make_transform : callable
        Makes what is done to the images first.
    rows : (start, stop)
        The subset to fit on.
    ids : (n,) integers
        Sample ids of all rows of the source.
    augment : bool
        Fit on augmented images: `rounds` epochs of them, from epoch 0.
    rounds : int
    seed : int, optional
        Of the draws; None: fresh entropy.
    options : FitOptions, optional
        How it is read.
    zca : WhiteningOptions, optional
        How whitening is computed, and how much of it; announced (logger ``daskaug``, level INFO) before any work.

    Returns
    -------
    Statistics
    """
    job = _Job.of(source, config, rows, ids, rounds, augment, options or FitOptions(), zca or WhiteningOptions())
    check_workers(source.probes())
    if job.whitening is not None:
        log.info("%s", job.whitening.plan)
    seed_used = seeding.fresh_seed() if seed is None else seeding.check_seed(seed)
    transform = job.transform(make_transform, seed_used)
    with showing(job.options.progress, "fit", **job.about) as shown:
        job = job.telling(shown)
        return job.whiten(job.reduce(transform, seed_used), transform, seed_used, seed)


def plan_fit(
    source: Source,
    config: Config,
    *,
    rows: tuple[int, int],
    ids: Any,
    augment: bool,
    rounds: int,
    options: FitOptions,
    zca: WhiteningOptions,
) -> FitPlan:
    """What :func:`fit_statistics` would do; nothing is read.

    Raises
    ------
    ConfigError
        Where it would refuse.
    """
    job = _Job.of(source, config, rows, ids, rounds, augment, options, zca)
    executor, options, blocks = job.executor, job.options, job.work.plan
    block = len(blocks[0]) * source.row_nbytes
    growth = growth_of(source, config) if _transforms(config, augment) else 0.0
    sums = gram_nbytes(int(np.prod(source.shape[1:])), executor.parallelism) if options.keep_gram else 0
    return FitPlan(
        blocks=len(blocks) * job.work.rounds,
        images=job.samples,
        nbytes=job.samples * source.row_nbytes,
        window=job.window,
        memory=PassMemory(block, int(block * growth), executor.threads_per_process),
        memory_budget=_budget_of(options, executor, job.recipe.gram or job.whitening is not None),
        order="in their order" if options.tolerance is None else "in random order until the interval is narrow enough",
        runs_on=executor.description,
        covered=job.covered,
        gram_nbytes=0 if job.whitening is not None else sums,
        whitening=None if job.whitening is None else job.whitening.plan,
    )


def _note_mean(shown: Shown, monitor: Callable[[Running], None] | None, running: Running) -> None:
    """Show the mean so far and, where blocks come in random order, how near it is."""
    near = [""] * len(running.mean)
    if running.interval is not None:
        near = [f" ± {half:.2g}" for half in running.interval.mean]
    shown.note("mean " + " ".join(f"{mean:.5g}{half}" for mean, half in zip(running.mean[:4], near, strict=False)))
    if monitor is not None:
        monitor(running)


def _budget_of(options: FitOptions, executor: Executor, multiplies: bool) -> int:
    """Bytes that the blocks, and sums of products, may take in one process; no more than a worker has."""
    budget = options.budget_with_gram if multiplies else options.budget
    most = budget_within(executor.memory_limit) if executor.is_remote else None
    return budget if most is None else min(budget, most)


def _transforms(config: Config, augment: bool) -> bool:
    """Whether images are changed before they are reduced."""
    return augment or not only_rescales(config)


@dataclasses.dataclass(frozen=True, eq=False)
class _InSequence:
    """The tasks with parameters from one stream of random numbers, image after image."""

    work: Work
    transform: BlockTransform
    state: np.random.RandomState

    def task(self, start: int, stop: int) -> Task:
        """See :meth:`Work.task`; to be asked for from the first block to the last."""
        reader, (start, ids, epoch, _, weights) = self.work.task(start, stop)
        drawn = self.transform.draw_like_keras(self.work.source.shape[1:], len(ids), self.state)
        return reader, (start, ids, epoch, drawn, weights)


def as_image_shape(statistic: NDArray[np.float64], config: Config) -> NDArray[np.float64]:
    """(c,) numbers as Keras shapes them: (1, 1, c) or (c, 1, 1)."""
    shape = [1, 1, 1]
    shape[config.channel_axis - 1] = len(statistic)
    return statistic.reshape(shape)
