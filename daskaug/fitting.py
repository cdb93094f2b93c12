"""The first sink: statistics over a source, read once, block by block."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding
from daskaug.config import Config
from daskaug.execution import current_executor, run_ordered
from daskaug.sources.base import BlockReader, Source
from daskaug.statistics import Statistics, StatisticsRecipe, check_gram, whitening_from_svd
from daskaug.transforms.block import BlockTransform
from daskaug.transforms.draws import Draws

GRAM_BUDGET = 4 * 2**30
"""Bytes that the matrices of the feature-space route of ZCA may take."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Reduce:
    """Task: a block of raw images to a partial result, transformed on the way where training would."""

    recipe: StatisticsRecipe
    transform: BlockTransform | None

    @property
    def uses_blas(self) -> bool:
        return self.recipe.gram

    def __call__(self, block: NDArray[Any], start: int, ids: NDArray[Any], epoch: int, draws: Draws | None) -> Any:
        if self.transform is not None:
            if self.transform.config.compat == "keras":
                block = _rescaled_first(block, self.transform.config)
            block = self.transform(block, ids, epoch, draws=draws)
        return self.recipe.partial(block, start)


@dataclasses.dataclass(frozen=True, eq=False)
class _Collect:
    """Task of Keras' own whitening, which needs all images at once: a block as Keras' ``fit`` sees it."""

    config: Config
    transform: BlockTransform | None

    def __call__(
        self, block: NDArray[Any], start: int, ids: NDArray[Any], epoch: int, draws: Draws | None
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
    progress: Callable[[int, int], None] | None = None,
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
    progress : callable, optional
        ``progress(images done, images in all)``.

    Returns
    -------
    Statistics
    """
    rounds = rounds if augment else 1
    seed_used = seeding.fresh_seed() if seed is None else seeding.check_seed(seed)
    transform = None
    if augment or not _only_rescales(config):
        transform = make_transform(
            seed=seed_used,
            augment=augment,
            standardize=config.compat is None,
            config=_before_statistics(config),
            honours_standardize=False,
        )
    rescale = (config.rescale or None) if transform is None else None
    recipe = StatisticsRecipe(
        image_shape=source.shape[1:],
        data_format=config.data_format,
        dtype=source.dtype.name if transform is None else transform.config.dtype,
        gram=config.zca_whitening and config.compat is None,
    )
    if recipe.gram:
        check_gram(recipe.features, GRAM_BUDGET)

    def tasks() -> Tasks:
        blocks = _tasks(source, rows, ids, rounds)
        if transform is None or config.compat is None:
            return blocks
        return _draw_in_sequence(blocks, transform, source.shape[1:], np.random.RandomState(seed_used))

    executor = current_executor()
    partials = run_ordered(
        executor,
        _Reduce(recipe, transform),
        tasks(),
        name="daskaug-fit",
        # A partial Gram matrix is as large as the whole one; without it a partial is a few numbers.
        window=executor.parallelism + 1 if recipe.gram else None,
    )
    total = recipe.identity()
    for partial in partials:
        total = recipe.merge(total, partial)
        if progress is not None:
            progress(total.samples, (rows[1] - rows[0]) * rounds)
    statistics = recipe.finalise(total, rescale=rescale, zca_epsilon=config.zca_epsilon)
    if config.zca_whitening and not recipe.gram:
        blocks = run_ordered(executor, _Collect(config, transform), tasks(), name="daskaug-fit")
        flat = np.concatenate([block.reshape(len(block), -1) for block in blocks])
        flat -= np.broadcast_to(as_image_shape(statistics.mean, config), source.shape[1:]).reshape(-1)
        statistics = dataclasses.replace(statistics, whitening=whitening_from_svd(flat, config.zca_epsilon))
    return statistics


def _only_rescales(config: Config) -> bool:
    """Whether rescaling is all that happens to images before their statistics are applied.

    Then they are reduced raw, and integer images exactly; the factor is applied to the result.
    """
    samplewise = config.samplewise_center or config.samplewise_std_normalization
    return config.compat == "keras" or (config.preprocessing_function is None and not samplewise)


def _before_statistics(config: Config) -> Config:
    """The options without what statistics are needed for."""
    return config.replace(
        featurewise_center=False,
        featurewise_std_normalization=False,
        zca_whitening=False,
        dtype="float64" if config.dtype == "float64" else "float32",
    )


Tasks = Iterator[tuple[BlockReader, tuple[Any, ...]]]


def _tasks(source: Source, rows: tuple[int, int], ids: Any, rounds: int) -> Tasks:
    """One task per block and round. Round r sees epoch r; its samples follow those of round r - 1 in the merge tree."""
    plan = source.plan(*rows)
    for epoch in range(rounds):
        for block in plan:
            start = epoch * source.shape[0] + block.start
            yield source.reader(block.start, block.stop), (start, ids[block.start : block.stop], epoch, None)


def _draw_in_sequence(
    tasks: Tasks, transform: BlockTransform, image_shape: tuple[int, ...], state: np.random.RandomState
) -> Tasks:
    """The tasks with parameters from one stream of random numbers, image after image."""
    for reader, (start, ids, epoch, _) in tasks:
        yield reader, (start, ids, epoch, transform.draw_like_keras(image_shape, len(ids), state))


def as_image_shape(statistic: NDArray[np.float64], config: Config) -> NDArray[np.float64]:
    """(c,) numbers as Keras shapes them: (1, 1, c) or (c, 1, 1)."""
    shape = [1, 1, 1]
    shape[config.channel_axis - 1] = len(statistic)
    return statistic.reshape(shape)
