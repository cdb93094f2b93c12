"""A merge tree over the indices of samples, whose result depends on the set of samples and on nothing else.

A sample is a leaf; node ``i`` of level ``k`` covers the samples ``[i·2^k, (i+1)·2^k)`` and joins its two children by
Chan's formula.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError

Vector = NDArray[np.float64]


class Nodes(NamedTuple):
    """Nodes of one level of the tree: numbers (k,) int64 ascending, mean (k, c), m2 (k, c).

    Where pixels do not count alike, `weight` (k, c) says what each node weighs, and `m2` is weighted.
    """

    numbers: NDArray[np.int64]
    mean: Vector
    m2: Vector
    weight: Vector | None = None

    def take(self, which: NDArray[Any]) -> Nodes:
        """Nodes at these positions, or where a mask is true."""
        weight = None if self.weight is None else self.weight[which]
        return Nodes(self.numbers[which], self.mean[which], self.m2[which], weight)


def join(left: Nodes, right: Nodes, n_left: Vector, n_right: Vector) -> Nodes:
    """Join pairs of nodes by Chan's formula, one level up.

    n_left, n_right: (k,) pixels, may be broadcast; not looked at where the nodes have weights of their own.
    """
    if left.weight is not None and right.weight is not None:
        return _join_weighted(left, right, left.weight, right.weight)
    share = (n_right / (n_left + n_right))[:, None]
    # NaN never comes here; a square that overflows is reported by finalise.
    with np.errstate(over="ignore", invalid="ignore"):
        delta = right.mean - left.mean
        mean = left.mean + delta * share
        m2 = (left.m2 + right.m2) + (delta * delta) * (n_left[:, None] * share)
    return Nodes(left.numbers >> 1, mean, m2)


def _join_weighted(left: Nodes, right: Nodes, w_left: Vector, w_right: Vector) -> Nodes:
    """The same with weights (k, c), of which any may be zero: then the other node stays as it is, bit for bit."""
    weight = w_left + w_right
    share = np.divide(w_right, weight, out=np.zeros_like(weight), where=weight > 0)
    with np.errstate(over="ignore", invalid="ignore"):
        delta = np.where((w_left > 0) & (w_right > 0), right.mean - left.mean, 0.0)
        mean = np.where(w_left > 0, left.mean, right.mean) + delta * share
        m2 = (left.m2 + right.m2) + (delta * delta) * (w_left * share)
    return Nodes(left.numbers >> 1, mean, m2, weight)


def stack(parts: Iterable[Nodes]) -> Nodes:
    """Nodes of several parts, of one level, in the order of their numbers."""
    numbers, mean, m2, weight = zip(*parts, strict=True)
    weights = None if weight[0] is None else np.concatenate(weight)
    joined = Nodes(np.concatenate(numbers), np.concatenate(mean), np.concatenate(m2), weights)
    if (joined.numbers[1:] > joined.numbers[:-1]).all():
        return joined
    return joined.take(np.argsort(joined.numbers, kind="stable"))


def _first_of_pairs(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the nodes whose sibling is the next one."""
    return np.flatnonzero((numbers[:-1] & 1 == 0) & (numbers[1:] == numbers[:-1] + 1))


def complete(levels: Mapping[int, Nodes], sample_pixels: int) -> dict[int, Nodes]:
    """Join siblings wherever both are there, on every level."""
    waiting = dict(levels)
    finished: dict[int, Nodes] = {}
    while waiting:
        level = min(waiting)
        nodes = waiting.pop(level)
        first = _first_of_pairs(nodes.numbers)
        if first.size:
            pixels = np.array([float(sample_pixels << level)])
            parents = join(nodes.take(first), nodes.take(first + 1), pixels, pixels)
            above = waiting.get(level + 1)
            waiting[level + 1] = parents if above is None else stack([above, parents])
            alone = np.ones(len(nodes.numbers), bool)
            alone[first] = alone[first + 1] = False
            nodes = nodes.take(alone)
        if nodes.numbers.size:
            finished[level] = nodes
    return finished


def climb(levels: Mapping[int, Nodes], sample_pixels: int) -> Nodes:
    """Join the nodes of all levels into the one that covers them; a node without sibling rises unchanged."""
    level = min(levels)
    top = max(levels)
    nodes = levels[level]
    pixels = np.full(len(nodes.numbers), float(sample_pixels << level))
    while level < top or len(nodes.numbers) > 1:
        first = _first_of_pairs(nodes.numbers)
        joined = join(nodes.take(first), nodes.take(first + 1), pixels[first], pixels[first + 1])
        mean, m2 = nodes.mean.copy(), nodes.m2.copy()
        mean[first], m2[first] = joined.mean, joined.m2
        weight = None if nodes.weight is None else nodes.weight.copy()
        if weight is not None:
            weight[first] = joined.weight
        pixels[first] += pixels[first + 1]
        stays = np.ones(len(nodes.numbers), bool)
        stays[first + 1] = False
        nodes, pixels = Nodes(nodes.numbers >> 1, mean, m2, weight).take(stays), pixels[stays]
        level += 1
        if level in levels:
            added = levels[level]
            order = np.argsort(np.concatenate([nodes.numbers, added.numbers]), kind="stable")
            full = np.full(len(added.numbers), float(sample_pixels << level))
            nodes = stack([nodes, added])
            pixels = np.concatenate([pixels, full])[order]
    return nodes


def check_disjoint(levels: Mapping[int, Nodes]) -> None:
    """Raise where two nodes cover the same sample."""
    if not levels:
        return
    start = np.concatenate([nodes.numbers << level for level, nodes in levels.items()])
    stop = np.concatenate([(nodes.numbers + 1) << level for level, nodes in levels.items()])
    order = np.argsort(start, kind="stable")
    overlap = np.flatnonzero(start[order][1:] < stop[order][:-1])
    if overlap.size:
        raise SourceError(
            f"image {start[order][overlap[0] + 1]} was reduced twice: each image belongs to one block of the plan"
        )
