"""The first sink: statistics over a source, read once, block by block."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.config import Config
from daskaug.execution import current_executor, run_ordered
from daskaug.sources.base import BlockReader, Source
from daskaug.statistics import Statistics, StatisticsRecipe, check_gram
from daskaug.transforms.block import BlockTransform

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

    def __call__(self, block: NDArray[Any], start: int, ids: NDArray[Any] | None, epoch: int) -> Any:
        if self.transform is not None and ids is not None:
            block = self.transform(block, ids, epoch)
        return self.recipe.partial(block, start)


def fit_statistics(
    source: Source,
    config: Config,
    *,
    rows: tuple[int, int],
    ids: NDArray[Any],
    augment: bool = False,
    rounds: int = 1,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Statistics:
    """Mean, standard deviation and, where the configuration whitens, the ZCA matrix.

    What is measured is what featurewise standardising will see: images after the preprocessing function, rescaling
    and samplewise normalising, and with `augment` after the draws that training would use with the same seed.

    Parameters
    ----------
    source : Source
    config : Config
    rows : (start, stop)
        The subset to fit on.
    ids : (n,) integers
        Sample ids of all rows of the source.
    augment : bool
        Fit on augmented images: `rounds` epochs of them, from epoch 0.
    rounds : int
    seed : int
        Of the draws.
    progress : callable, optional
        ``progress(images done, images in all)``.

    Returns
    -------
    Statistics
    """
    transform = _transform_before_statistics(config, augment, seed)
    rescale = None
    if transform is None:
        rescale = config.rescale or None
    recipe = StatisticsRecipe(
        image_shape=source.shape[1:],
        data_format=config.data_format,
        dtype=source.dtype.name if transform is None else transform.config.dtype,
        gram=config.zca_whitening,
    )
    if recipe.gram:
        check_gram(recipe.features, GRAM_BUDGET)
    executor = current_executor()
    partials = run_ordered(
        executor,
        _Reduce(recipe, transform),
        _tasks(source, rows, ids if transform is not None else None, rounds if augment else 1),
        name="daskaug-fit",
        # A partial Gram matrix is as large as the whole one; without it a partial is a few numbers.
        window=executor.parallelism + 1 if recipe.gram else None,
    )
    total = recipe.identity()
    images = (rows[1] - rows[0]) * (rounds if augment else 1)
    for partial in partials:
        total = recipe.merge(total, partial)
        if progress is not None:
            progress(total.samples, images)
    return recipe.finalise(total, rescale=rescale, zca_epsilon=config.zca_epsilon)


def _transform_before_statistics(config: Config, augment: bool, seed: int) -> BlockTransform | None:
    """What happens to images before their statistics are applied; None where rescaling at the end will do.

    Integer images are best reduced raw: their sums are exact.
    """
    samplewise = config.samplewise_center or config.samplewise_std_normalization
    if not augment and config.preprocessing_function is None and not samplewise:
        return None
    before = config.replace(
        featurewise_center=False,
        featurewise_std_normalization=False,
        zca_whitening=False,
        dtype="float64" if config.dtype == "float64" else "float32",
    )
    return BlockTransform(before, seed=seed, augment=augment, standardize=True)


def _tasks(
    source: Source, rows: tuple[int, int], ids: NDArray[Any] | None, rounds: int
) -> Iterator[tuple[BlockReader, tuple[Any, ...]]]:
    """One task per block and round. Round r sees epoch r; its samples follow those of round r - 1 in the merge tree."""
    plan = source.plan(*rows)
    for epoch in range(rounds):
        for block in plan:
            block_ids = None if ids is None else ids[block.start : block.stop]
            start = epoch * source.shape[0] + block.start
            yield source.reader(block.start, block.stop), (start, block_ids, epoch)


def as_image_shape(statistic: NDArray[np.float64], config: Config) -> NDArray[np.float64]:
    """(c,) numbers as Keras shapes them: (1, 1, c) or (c, 1, 1)."""
    shape = [1, 1, 1]
    shape[config.channel_axis - 1] = len(statistic)
    return statistic.reshape(shape)
