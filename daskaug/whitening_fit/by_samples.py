"""The passes of the sample-space route: products of all pairs of images, then the directions, slab by slab."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.execution import Executor
from daskaug.sources import BlockReader, join_readers
from daskaug.statistics.whitening import Centre, Whitening, WhiteningPlan
from daskaug.statistics.whitening.factors import scale_of
from daskaug.statistics.whitening.samples import products_of_samples, spectrum_of_samples, weighted_images
from daskaug.whitening_fit.passes import Count, Images, Keys, PassTask, run_pass
from daskaug.whitening_fit.storing import Finish


@dataclasses.dataclass(frozen=True, eq=False)
class _Products(PassTask):
    """Task: products of the samples of two stretches, or of one with itself."""

    centre: Centre

    def __call__(self, blocks: list[NDArray[Any]], *keys: Keys) -> NDArray[np.float64]:
        seen = [self.see(block, own) for block, own in zip(blocks, keys, strict=True)]
        return products_of_samples(seen[0], seen[1] if len(seen) == 2 else None, self.centre)


@dataclasses.dataclass(frozen=True, eq=False)
class _Weigh(PassTask):
    """Task: what a stretch adds to some rows of the directions."""

    centre: Centre

    def __call__(
        self, block: NDArray[Any], keys: Keys, weights: NDArray[np.float64], features: tuple[int, int]
    ) -> NDArray[np.float64]:
        return weighted_images(self.see(block, keys), weights, self.centre, slice(*features))


def whitening_by_samples(
    plan: WhiteningPlan, images: Images, centre: Centre, executor: Executor, finish: Finish, count: Count
) -> Whitening:
    """Run the passes after the one for the channel means."""
    products = _all_products(plan, images, centre, executor, count)
    rank = None if plan.fraction is not None else plan.rank
    spectrum = spectrum_of_samples(products, centre.features, rank=rank, fraction=plan.fraction)
    del products
    scale = scale_of(spectrum.variances, len(images), epsilon=finish.epsilon, rescale=finish.rescale)
    slab = -(-centre.features // plan.cost.slabs)
    slabs = (
        _weighed(images, centre, executor, spectrum.weights, (start, min(start + slab, centre.features)), count)
        for start in range(0, centre.features, slab)
    )
    directions = finish.keep(slabs, (centre.features, len(scale)))
    return Whitening(directions, scale, finish.epsilon, route="samples", captured=spectrum.captured)


def _all_products(
    plan: WhiteningPlan, images: Images, centre: Centre, executor: Executor, count: Count
) -> NDArray[np.float64]:
    """(n, n): tile by tile, each a task of its own that holds two stretches; the upper half is computed."""
    tiles = images.cut(plan.cost.tile_rows)
    edges = np.cumsum([0, *map(len, tiles)])
    pairs = [(i, j) for i in range(len(tiles)) for j in range(i, len(tiles))]

    def tasks() -> Iterator[tuple[BlockReader, tuple[Any, ...]]]:
        for pair in pairs:
            both = [tiles[number] for number in dict.fromkeys(pair)]
            yield join_readers([images.reader(rows) for rows in both]), tuple(map(images.keys, both))

    products = np.empty((len(images), len(images)))
    found = run_pass(executor, _Products(images.transform, centre), tasks())
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
    count: Count,
) -> NDArray[np.float64]:
    """Some rows of the directions, by one pass."""
    stretches = images.stretches(executor)
    edges = np.cumsum([0, *map(len, stretches)])

    def tasks() -> Iterator[tuple[BlockReader, tuple[Any, ...]]]:
        for rows, start in zip(stretches, edges, strict=False):
            yield images.reader(rows), (images.keys(rows), weights[start : start + len(rows)], features)

    total = np.zeros((features[1] - features[0], weights.shape[1]))
    found = run_pass(executor, _Weigh(images.transform, centre), tasks())
    for rows, part in zip(stretches, found, strict=True):
        total += part
        count.add(len(rows))
    return total
