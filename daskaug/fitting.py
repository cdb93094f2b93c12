"""The first sink: statistics over a source, read once, block by block."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding
from daskaug.config import Config
from daskaug.errors import ConfigError
from daskaug.execution import current_executor, run_ordered
from daskaug.execution.reducing import Pass, Task, reduce_blocks
from daskaug.fit_plan import FitOptions, Work, before_statistics, blocks_of, contract_of, growth_of, only_rescales
from daskaug.planning.blocks import TARGET_NBYTES
from daskaug.sources.base import Source
from daskaug.statistics import Content, Statistics, StatisticsRecipe, whitening_from_svd
from daskaug.statistics.whitening import WhiteningPlan
from daskaug.transforms.block import BlockTransform
from daskaug.transforms.draws import Draws
from daskaug.whitening_fit import WhiteningFit, WhiteningOptions


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
        content = Content.partial(block, start) if epoch == 0 else None
        if self.transform is not None:
            if self.transform.config.compat == "keras":
                block = _rescaled_first(block, self.transform.config)
            block = self.transform(block, ids, epoch, draws=draws)
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
        How whitening is computed, and how much of it.

    Returns
    -------
    Statistics
    """
    rounds = rounds if augment else 1
    options = (options or FitOptions()).check(config, source.shape[0], augment)
    seed_used = seeding.fresh_seed() if seed is None else seeding.check_seed(seed)
    transform = None
    if augment or not only_rescales(config):
        transform = make_transform(
            seed=seed_used,
            augment=augment,
            standardize=config.compat is None,
            config=before_statistics(config),
            honours_standardize=False,
        )
    rescale = (config.rescale or None) if transform is None else None
    executor = current_executor()
    dtype = source.dtype.name if transform is None else transform.config.dtype
    whitening = WhiteningFit.of(zca, config, source, rows, ids, rounds, transform, dtype, executor)
    recipe = StatisticsRecipe(
        image_shape=source.shape[1:],
        data_format=config.data_format,
        dtype=dtype,
        gram=whitening is not None and whitening.plan.route == "features",
        histogram=options.histogram,
        omit_nonfinite=options.nan_policy == "omit",
        weighted=options.sample_weight is not None,
    )
    if whitening is None:
        plan = blocks_of(
            source, rows, options.budget, 0.0 if transform is None else growth_of(source, config), executor
        )
    else:
        plan = source.plan(*rows, whitening.block_nbytes or TARGET_NBYTES)
    work = Work(source, rows, ids, rounds, options.sample_weight, plan)
    make_task = work.task
    if transform is not None and config.compat == "keras":
        make_task = _InSequence(work, transform, np.random.RandomState(seed_used)).task
    passes = 1 if whitening is None else whitening.plan.cost.passes
    total, interval = reduce_blocks(
        executor,
        _Reduce(recipe, transform),
        recipe,
        Pass(
            ranges=work.ranges(None if options.tolerance is None else seed_used),
            blocks=len(work.plan) * rounds,
            make_task=make_task,
            samples=(rows[1] - rows[0]) * rounds * passes,
            tolerance=options.tolerance,
            checkpoint=None if options.checkpoint is None else Path(options.checkpoint),
            contract=contract_of(work, recipe, transform, options),
            progress=options.progress,
            monitor=options.monitor,
        ),
        # A partial Gram matrix is as large as the whole one; without it a partial is a few numbers.
        window=executor.parallelism + 1 if recipe.gram else None,
    )
    statistics = recipe.finalise(total, rescale=rescale, zca_epsilon=config.zca_epsilon)
    if interval is not None:
        statistics = dataclasses.replace(statistics, is_complete=False, interval=interval)
    if whitening is not None:
        fitted = whitening.finish(statistics, executor, seed=seed, progress=options.progress)
        statistics = dataclasses.replace(statistics, whitening=fitted)
    elif config.zca_whitening:
        if transform is not None:
            make_task = _InSequence(work, transform, np.random.RandomState(seed_used)).task
        tasks = (make_task(*block) for block in work.ranges(None))
        blocks = run_ordered(executor, _Collect(config, transform), tasks, name="daskaug-fit")
        flat = np.concatenate([block.reshape(len(block), -1) for block in blocks])
        flat -= np.broadcast_to(as_image_shape(statistics.mean, config), source.shape[1:]).reshape(-1)
        statistics = dataclasses.replace(statistics, whitening=whitening_from_svd(flat, config.zca_epsilon))
    return statistics


def plan_whitening_of(
    source: Source,
    config: Config,
    rows: tuple[int, int],
    ids: Any,
    rounds: int,
    augment: bool,
    options: WhiteningOptions,
) -> WhiteningPlan:
    """What :func:`fit_statistics` would do for ZCA whitening; nothing is read.

    Raises
    ------
    ConfigError
        Where it would refuse, and for ``compat="keras"``, which has one way of its own.
    """
    dtype = before_statistics(config).dtype if augment or not only_rescales(config) else source.dtype.name
    planned = WhiteningFit.of(options, config, source, rows, ids, rounds, None, dtype, current_executor())
    if planned is None:
        raise ConfigError('compat="keras" whitens in the one way that Keras knows; there is nothing to plan.')
    return planned.plan


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
