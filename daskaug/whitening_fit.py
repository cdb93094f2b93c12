"""Fitting ZCA whitening in several passes over a source: the routes that need no d × d matrix."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.config import Config
from daskaug.errors import ConfigError
from daskaug.execution import Executor, run_ordered
from daskaug.planning.blocks import TARGET_NBYTES
from daskaug.sources import BlockReader, Source, join_readers
from daskaug.statistics import Statistics
from daskaug.statistics.whitening import Centre, Whitening, WhiteningPlan, plan_whitening
from daskaug.statistics.whitening import samples as by_samples
from daskaug.statistics.whitening import sketch as by_sketch
from daskaug.statistics.whitening.factors import kept_directions, scale_of, share
from daskaug.statistics.whitening.plan import STORED_NBYTES, sketch_dtype
from daskaug.transforms.block import BlockTransform

log = logging.getLogger("daskaug")

EIGHT_BITS = ("bool", "int8", "uint8")

PASS_NBYTES = 128 * 2**20
"""Bytes of the images that a task of a pass reads: its result is large, so there should be few of them."""

FEWEST_ROWS_OF_GRAM = 2048
FEWEST_ROWS = 64
"""Images below which adding up the results would take longer than computing them."""

SLAB_ROWS = 16384


@dataclasses.dataclass(frozen=True)
class WhiteningOptions:
    """How ZCA whitening is computed, and how much of it; checked when a plan is made.

    Attributes
    ----------
    route : {"features", "samples", "randomized"} or None
        None: the cheapest that fits.
    components : int, float or None
        Directions to keep, or the share of the variance that they hold.
    budget : int or None
        Bytes of memory.
    store : path, URL or None
        Where the factors are kept.
    """

    route: str | None = None
    components: float | None = None
    budget: int | None = None
    store: str | Path | None = None

    def refuse_with_keras(self) -> None:
        """Keras' own whitening takes no options.

        Raises
        ------
        ConfigError
        """
        given = [f"`{name}`" for name, value in self.by_name.items() if value is not None]
        if given:
            raise ConfigError(
                f'{", ".join(given)} cannot be used together with compat="keras", which whitens by the one route that '
                "Keras knows. Leave out one of the two."
            )

    @property
    def by_name(self) -> dict[str, Any]:
        """The options as :meth:`daskaug.ImageDataGenerator.fit` calls them."""
        return {
            "zca_route": self.route,
            "zca_components": self.components,
            "memory_budget": self.budget,
            "zca_store": self.store,
        }


@dataclasses.dataclass(frozen=True)
class Rows:
    """Consecutive rows of the source in one epoch."""

    start: int
    stop: int
    epoch: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """What is fitted on.

    Attributes
    ----------
    source : Source
    rows : (start, stop)
    ids : (n,) integers
        Sample ids of all rows of the source.
    rounds : int
        Epochs.
    transform : BlockTransform or None
        What is done to the images first.
    dtype : numpy.dtype
        Of what comes out.
    """

    source: Source
    rows: tuple[int, int]
    ids: Any
    rounds: int
    transform: BlockTransform | None
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return (self.rows[1] - self.rows[0]) * self.rounds

    def cut(self, length: int) -> list[Rows]:
        """All of them, at most `length` at a time; chunks are left whole where they are not longer."""
        natural = self.source.natural_rows
        step = max(1, length - length % natural if length >= natural else length)
        start, stop = self.rows
        return [
            Rows(max(first, start), min(first + step, stop), epoch)
            for epoch in range(self.rounds)
            for first in range(start - start % step, stop, step)
        ]

    def reader(self, rows: Rows) -> BlockReader:
        """What a task needs for some of them."""
        return self.source.reader(rows.start, rows.stop)

    def keys(self, rows: Rows) -> tuple[Any, int]:
        """What the draws of some of them depend on."""
        return self.ids[rows.start : rows.stop], rows.epoch


@dataclasses.dataclass(frozen=True)
class WhiteningFit:
    """A fit of ZCA whitening, planned.

    Attributes
    ----------
    plan : WhiteningPlan
    images : Images
    config : Config
    store : path, URL or None
    """

    plan: WhiteningPlan
    images: Images
    config: Config
    store: str | Path | None

    @classmethod
    def of(
        cls,
        options: WhiteningOptions | None,
        config: Config,
        source: Source,
        rows: tuple[int, int],
        ids: Any,
        rounds: int,
        transform: BlockTransform | None,
        dtype: str,
        executor: Executor,
    ) -> WhiteningFit | None:
        """Plan it and say so (logger ``daskaug``, level INFO); None where this configuration has none, or Keras' own.

        Raises
        ------
        ConfigError
            For bad options, and where it does not fit in memory.
        StoreError
            Where the place for the factors holds something else.
        """
        options = options or WhiteningOptions()
        if not config.zca_whitening:
            return None
        if config.compat is not None:
            options.refuse_with_keras()
            return None
        images = Images(source, rows, ids, rounds, transform, np.dtype(dtype))
        plan = plan_whitening(
            len(images),
            int(np.prod(source.shape[1:])),
            images.dtype.itemsize,
            is_8bit=images.dtype.name in EIGHT_BITS,
            cores=executor.parallelism,
            route=options.route,
            components=options.components,
            budget=options.budget,
        )
        if options.store is not None:
            from daskaug.statistics.whitening.stored import check_place

            check_place(options.store)
        log.info("%s", plan)
        return cls(plan, images, config, options.store)

    @property
    def block_nbytes(self) -> int | None:
        """Bytes of the blocks of the first pass, where they should not be as large as usual.

        Products of features take long: everybody should have some to do.
        """
        if self.plan.route != "features":
            return None
        fair = -(-len(self.images) // (2 * self.plan.cores))
        return min(TARGET_NBYTES, max(fair, FEWEST_ROWS_OF_GRAM) * self.images.source.row_nbytes)

    def finish(
        self,
        statistics: Statistics,
        executor: Executor,
        *,
        seed: int | None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Whitening:
        """What is left to do after the first pass.

        Parameters
        ----------
        statistics : Statistics
            Of these images, on the route of features with the whitening.
        executor : Executor
        seed : int, optional
            Of the random signs; 0 by default.
        progress : callable, optional
            ``progress(images seen, images to see)``, over all passes.
        """
        if statistics.whitening is not None:
            return self._cut(statistics)
        moments = statistics.moments
        centre = Centre(moments.mean, statistics.image_shape, statistics.data_format)
        scatter = float(moments.variance.sum() * moments.pixels)
        finish = Finish(self.config.zca_epsilon, statistics.rescale or 1.0, self.store)
        count = _Count(progress, len(self.images), self.plan.cost.passes)
        if self.plan.route == "samples":
            whitening = _by_samples(self.plan, self.images, centre, executor, finish, count)
        else:
            whitening = _by_sketch(self.plan, self.images, centre, scatter, executor, finish, seed or 0, count)
        log.info(
            "ZCA whitening: rank %d, %.6g of the variance, error at most %.2g",
            whitening.rank,
            whitening.captured,
            whitening.error,
        )
        return whitening

    def _cut(self, statistics: Statistics) -> Whitening:
        """As many of all directions as were asked for."""
        whitening = statistics.whitening
        assert whitening is not None
        factor = abs(statistics.rescale or 1.0)
        roots = np.sqrt(len(self.images)) / whitening.scale - self.config.zca_epsilon
        variances = (roots / factor) ** 2
        total = float(variances.sum())
        rank = kept_directions(
            variances, total, len(self.images), whitening.features, rank=self.plan.rank, fraction=self.plan.fraction
        )
        captured = share(float(variances[:rank].sum()), total) * whitening.captured
        return keep_large(whitening.truncated(rank, captured), self.store)


class _Task:
    """What the tasks have in common."""

    uses_blas = True
    transform: BlockTransform | None

    def see(self, block: NDArray[Any], keys: tuple[Any, int]) -> NDArray[Any]:
        return block if self.transform is None else self.transform(block, *keys)


@dataclasses.dataclass(frozen=True, eq=False)
class _Products(_Task):
    """Task: products of the samples of two stretches, or of one with itself."""

    transform: BlockTransform | None
    centre: Centre

    def __call__(self, blocks: list[NDArray[Any]], *keys: tuple[Any, int]) -> NDArray[np.float64]:
        seen = [self.see(block, own) for block, own in zip(blocks, keys, strict=True)]
        return by_samples.products_of_samples(seen[0], seen[1] if len(seen) == 2 else None, self.centre)


@dataclasses.dataclass(frozen=True, eq=False)
class _Weigh(_Task):
    """Task: what a stretch adds to some rows of the directions."""

    transform: BlockTransform | None
    centre: Centre

    def __call__(
        self, block: NDArray[Any], keys: tuple[Any, int], weights: NDArray[np.float64], features: tuple[int, int]
    ) -> NDArray[np.float64]:
        return by_samples.weighted_images(self.see(block, keys), weights, self.centre, slice(*features))


@dataclasses.dataclass(frozen=True, eq=False)
class _Apply(_Task):
    """Task: the second moment of a stretch, times a basis."""

    transform: BlockTransform | None
    centre: Centre
    basis: NDArray[Any]
    last: bool

    def __call__(self, block: NDArray[Any], keys: tuple[Any, int]) -> by_sketch.Applied:
        return by_sketch.apply_to_basis(self.see(block, keys), self.basis, self.centre, last=self.last)


@dataclasses.dataclass(frozen=True)
class Finish:
    """How the factors come out.

    Attributes
    ----------
    epsilon : float
        Added to the singular values.
    rescale : float
        The whitening is for images multiplied by it.
    store : path, URL or None
        Where large factors are kept.
    """

    epsilon: float
    rescale: float
    store: str | Path | None


class _Count:
    """Images seen, over all passes. The first pass is over when this begins."""

    def __init__(self, progress: Callable[[int, int], None] | None, samples: int, passes: int) -> None:
        self._progress, self._done, self._all = progress, samples, samples * passes

    def add(self, images: int) -> None:
        self._done += images
        if self._progress is not None:
            self._progress(min(self._done, self._all), self._all)


def _by_samples(
    plan: WhiteningPlan, images: Images, centre: Centre, executor: Executor, finish: Finish, count: _Count
) -> Whitening:
    products = _all_products(plan, images, centre, executor, count)
    rank = None if plan.fraction is not None else plan.rank
    spectrum = by_samples.spectrum_of_samples(products, centre.features, rank=rank, fraction=plan.fraction)
    del products
    scale = scale_of(spectrum.variances, len(images), epsilon=finish.epsilon, rescale=finish.rescale)
    slab = -(-centre.features // plan.cost.slabs)
    slabs = (
        _weighed(images, centre, executor, spectrum.weights, (start, min(start + slab, centre.features)), count)
        for start in range(0, centre.features, slab)
    )
    directions = _kept(slabs, (centre.features, len(scale)), finish.store)
    return Whitening(directions, scale, finish.epsilon, route="samples", captured=spectrum.captured)


def _all_products(
    plan: WhiteningPlan, images: Images, centre: Centre, executor: Executor, count: _Count
) -> NDArray[np.float64]:
    """(n, n): tile by tile, each a task of its own; the upper half is computed."""
    tiles = images.cut(plan.cost.tile_rows)
    edges = np.cumsum([0, *map(len, tiles)])
    pairs = [(i, j) for i in range(len(tiles)) for j in range(i, len(tiles))]

    def tasks() -> Iterator[tuple[BlockReader, tuple[Any, ...]]]:
        for pair in pairs:
            both = [tiles[number] for number in dict.fromkeys(pair)]
            yield join_readers([images.reader(rows) for rows in both]), tuple(map(images.keys, both))

    products = np.empty((len(images), len(images)))
    # A result is as large as a tile of products, and a task holds two stretches of images.
    found = run_ordered(
        executor, _Products(images.transform, centre), tasks(), name="daskaug-zca", window=executor.parallelism + 1
    )
    for (i, j), tile in zip(pairs, found, strict=True):
        products[edges[i] : edges[i + 1], edges[j] : edges[j + 1]] = tile
        products[edges[j] : edges[j + 1], edges[i] : edges[i + 1]] = tile.T
        count.add(len(tiles[i]) + (len(tiles[j]) if i != j else 0))
    return products


def _weighed(
    images: Images,
    centre: Centre,
    executor: Executor,
    weights: NDArray[np.float64],
    features: tuple[int, int],
    count: _Count,
) -> NDArray[np.float64]:
    """Some rows of the directions."""
    stretches = images.cut(_rows_of_a_task(images, executor))
    edges = np.cumsum([0, *map(len, stretches)])

    def tasks() -> Iterator[tuple[BlockReader, tuple[Any, ...]]]:
        for rows, start in zip(stretches, edges, strict=False):
            yield images.reader(rows), (images.keys(rows), weights[start : start + len(rows)], features)

    total = np.zeros((features[1] - features[0], weights.shape[1]))
    found = run_ordered(
        executor, _Weigh(images.transform, centre), tasks(), name="daskaug-zca", window=executor.parallelism + 1
    )
    for rows, part in zip(stretches, found, strict=True):
        total += part
        count.add(len(rows))
    return total


def _by_sketch(
    plan: WhiteningPlan,
    images: Images,
    centre: Centre,
    scatter: float,
    executor: Executor,
    finish: Finish,
    seed: int,
    count: _Count,
) -> Whitening:
    columns = plan.cost.sketch
    basis = by_sketch.first_basis(seed, centre.features, columns, sketch_dtype(centre.features, columns))
    for _ in range(by_sketch.POWER_PASSES):
        moved = _applied(images, centre, executor, basis, count, last=False).moved
        basis = by_sketch.orthonormal(moved)
    applied = _applied(images, centre, executor, basis, count, last=True)
    ritz = by_sketch.directions_within(applied)
    rank = kept_directions(
        ritz.variances, scatter, len(images), centre.features, rank=plan.rank, fraction=plan.fraction
    )
    error = float(by_sketch.relative_residuals(applied, basis, ritz, rank).max(initial=0.0))
    variances, rotation = ritz.variances[:rank], ritz.rotation[:, :rank]
    captured = share(float(variances.sum()), scatter)
    if plan.fraction is not None and captured < plan.fraction * (1 - 1e-9):
        warnings.warn(
            f"zca_components={plan.fraction:.6g} asks for more of the variance than the {rank} directions hold that "
            f"the sketch has: {captured:.6g} of it. Ask for a number of directions (zca_components={2 * rank}), or "
            "give an exact route the memory it takes.",
            UserWarning,
            stacklevel=2,
        )
    slabs = (basis[start : start + SLAB_ROWS] @ rotation for start in range(0, centre.features, SLAB_ROWS))
    directions = _kept(slabs, (centre.features, rank), finish.store)
    scale = scale_of(variances, len(images), epsilon=finish.epsilon, rescale=finish.rescale)
    return Whitening(directions, scale, finish.epsilon, route="randomized", captured=captured, error=error)


def _applied(
    images: Images, centre: Centre, executor: Executor, basis: NDArray[Any], count: _Count, *, last: bool
) -> by_sketch.Applied:
    """One pass: the second moment times a basis."""
    stretches = images.cut(_rows_of_a_task(images, executor))
    tasks = ((images.reader(rows), (images.keys(rows),)) for rows in stretches)
    task = _Apply(images.transform, centre, basis, last)
    found = run_ordered(executor, task, tasks, name="daskaug-zca", window=executor.parallelism + 1)
    total: by_sketch.Applied | None = None
    for rows, part in zip(stretches, found, strict=True):
        total = part if total is None else total.merge(part)
        count.add(len(rows))
    assert total is not None
    return total


def _fits_in_memory(shape: tuple[int, ...], store: str | Path | None) -> bool:
    return 4 * shape[0] * shape[1] <= STORED_NBYTES and store is None


def _kept(slabs: Any, shape: tuple[int, int], store: str | Path | None) -> Any:
    """The directions in memory, or where they are large in their store."""
    if _fits_in_memory(shape, store):
        return np.concatenate(list(slabs))
    from daskaug.statistics.whitening.stored import DirectionsWriter

    writer = DirectionsWriter(store, shape)
    for slab in slabs:
        writer.write(slab)
    return writer.close()


def _rows_of_a_task(images: Images, executor: Executor) -> int:
    """Images that a task of a pass reads: few enough that everybody has something to do."""
    row_nbytes = int(np.prod(images.source.shape[1:])) * images.dtype.itemsize
    fair = -(-len(images) // (2 * executor.parallelism))
    return max(1, min(PASS_NBYTES // row_nbytes, max(fair, FEWEST_ROWS)))


def keep_large(whitening: Whitening, store: str | Path | None) -> Whitening:
    """The same whitening, its directions in a store where they are large or one was asked for."""
    u = whitening.u
    if _fits_in_memory(u.shape, store):
        return whitening
    return dataclasses.replace(whitening, directions=_kept(iter([u]), (u.shape[0], u.shape[1]), store))
