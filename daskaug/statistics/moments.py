"""Mean and variance of the channels, as reductions whose bits do not depend on how the images are cut or merged.

A reduction is a row of four: ``identity``, ``partial`` of one block, ``merge`` of two partials, ``finalise``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.kernels.moments import EXACT_DTYPES, float_leaves, integer_moments, omitting_leaves
from daskaug.statistics.totals import FloatTotals, WeightedTotals, check_any, check_equal, check_left
from daskaug.statistics.tree import Nodes, check_disjoint, climb, complete, stack

Vector = NDArray[np.float64]


def is_exact(dtype: str) -> bool:
    """Whether images of this dtype are summed in exact integers."""
    return np.dtype(dtype).name in EXACT_DTYPES


@dataclass(frozen=True)
class IntegerMoments:
    """Exact moments of integer images; every number is a Python integer.

    Parameters
    ----------
    samples : int
        Images seen.
    pixels : int
        Pixels seen in each channel.
    sums, squares : tuple of int, one per channel
        Sum of the values and of their squares.
    low, high : tuple of int, one per channel
        Smallest and largest value; zeros while there are no pixels.
    """

    samples: int
    pixels: int
    sums: tuple[int, ...]
    squares: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]

    @classmethod
    def identity(cls, channels: int) -> IntegerMoments:
        """Moments of no image."""
        zeros = (0,) * channels
        return cls(0, 0, zeros, zeros, zeros, zeros)

    @classmethod
    def partial(cls, block: NDArray[Any], start: int = 0) -> IntegerMoments:
        """Moments of one block.

        Parameters
        ----------
        block : (b, h, w, c) bool, int8, uint8, int16 or uint16
            A view of any strides.
        start : int
            Index of its first sample; exact sums do not depend on it.

        Raises
        ------
        SourceError
            The dtype is another one.
        """
        samples, height, width, channels = block.shape
        if not block.size:
            return cls.identity(channels)
        return cls(samples, samples * height * width, *integer_moments(block))

    def merge(self, other: IntegerMoments) -> IntegerMoments:
        """Moments of the images of both; exact, so any order of merging gives the same numbers.

        Raises
        ------
        SourceError
            The numbers of channels differ.
        """
        check_equal("channels", self.channels, other.channels)
        if not self.samples or not other.samples:
            return self if self.samples else other
        return IntegerMoments(
            self.samples + other.samples,
            self.pixels + other.pixels,
            sums=tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
            squares=tuple(a + b for a, b in zip(self.squares, other.squares, strict=True)),
            low=tuple(map(min, self.low, other.low)),
            high=tuple(map(max, self.high, other.high)),
        )

    def withdraw(self, other: IntegerMoments) -> IntegerMoments:
        """Moments of the images of this without those of `other`, exact; but `low` and `high` stay as they are.

        Raises
        ------
        SourceError
            No moments of images are left: those of `other` were not among them, or were all of them.
        """
        check_equal("channels", self.channels, other.channels)
        left = IntegerMoments(
            self.samples - other.samples,
            self.pixels - other.pixels,
            sums=tuple(a - b for a, b in zip(self.sums, other.sums, strict=True)),
            squares=tuple(a - b for a, b in zip(self.squares, other.squares, strict=True)),
            low=self.low,
            high=self.high,
        )
        check_left(left.samples)
        for total, square, low, high in zip(left.sums, left.squares, self.low, self.high, strict=True):
            if not (low * left.pixels <= total <= high * left.pixels and left.pixels * square >= total * total):
                check_left(-1)
        return left

    def finalise(self) -> IntegerMoments:
        """Return itself, once there is something to take a mean of.

        Raises
        ------
        SourceError
            No image was seen.
        """
        check_any(self.samples)
        return self

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.sums)

    @property
    def mean(self) -> Vector:
        """Mean of each channel, (c,) float64, correctly rounded."""
        return np.array([total / self.pixels for total in self.sums])

    @property
    def variance(self) -> Vector:
        """Population variance of each channel, (c,) float64, correctly rounded: (n·Σx² − (Σx)²) / n².

        References
        ----------
        Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American Statistician 37 (1983),
        warn of this formula, whose differences cancel. In integers nothing is lost.
        """
        n = self.pixels
        pairs = zip(self.sums, self.squares, strict=True)
        return np.array([(n * square - total * total) / (n * n) for total, square in pairs])


@dataclass(frozen=True, eq=False)
class FloatMoments:
    """Moments of float images, summed along a tree that the indices of the samples alone determine.

    A sample is a leaf; node ``i`` of level ``k`` covers the samples ``[i·2^k, (i+1)·2^k)`` and joins its two children
    by Chan's formula. A partial holds the largest complete nodes of the samples it has seen, about two for each power
    of two. Merging completes more of them, and :meth:`finalise` passes a node whose sibling nobody has seen on to the
    next level as it is. So the result is a function of the set of samples: the same bits for all blocks, all orders
    of merging and all numbers of workers.

    Parameters
    ----------
    sample_pixels : int
        Pixels of one sample in each channel, h · w.
    levels : mapping of int to nodes
        Complete nodes, by level.
    low, high : (c,) float64
        Smallest and largest finite value, ±infinity while there is none.
    bad_elements : int
        NaN and infinite elements seen.
    first_bad : int or None
        Index of the first sample that has one.

    References
    ----------
    Chan, Golub, LeVeque: Algorithms for computing the sample variance, The American Statistician 37 (1983).
    """

    sample_pixels: int
    levels: Mapping[int, Nodes]
    low: Vector
    high: Vector
    bad_elements: int = 0
    first_bad: int | None = None

    @classmethod
    def identity(cls, channels: int, sample_pixels: int) -> FloatMoments:
        """Moments of no image."""
        return cls(sample_pixels, {}, np.full(channels, np.inf), np.full(channels, -np.inf))

    @classmethod
    def partial(
        cls, block: NDArray[Any], start: int, *, omit: bool = False, weights: Vector | None = None
    ) -> FloatMoments:
        """Moments of one block.

        Parameters
        ----------
        block : (b, h, w, c) any real dtype
            A view of any strides.
        start : int
            Index of its first sample in the whole data set, at least 0.
        omit : bool
            Leave out NaN and infinite pixels, each in its channel, instead of reporting them in :meth:`finalise`.
        weights : (b,) float64, optional
            What each image weighs, at least 0; 1 by default. An image of weight 0 is not looked at.

        Raises
        ------
        SourceError
            The dtype has no real numbers.
        """
        samples, height, width, channels = block.shape
        if not block.size:
            return cls.identity(channels, height * width)
        if omit or weights is not None:
            return cls._weighted(block, start, omit, np.ones(samples) if weights is None else weights)
        leaves = float_leaves(block)
        bad = np.flatnonzero(leaves.bad)
        nodes = Nodes(np.arange(start, start + samples), leaves.mean, leaves.m2)
        return cls(
            height * width,
            complete({0: nodes}, height * width),
            leaves.low,
            leaves.high,
            int(leaves.bad.sum()),
            start + int(bad[0]) if bad.size else None,
        )

    @classmethod
    def _weighted(cls, block: NDArray[Any], start: int, omit: bool, weights: Vector) -> FloatMoments:
        """See :meth:`partial`."""
        samples, height, width, channels = block.shape
        counted = np.flatnonzero(weights > 0)
        seen = block if len(counted) == samples else block[counted]
        mean, m2, weight = (np.zeros((samples, channels)) for _ in range(3))
        bad_elements, first_bad = 0, None
        low, high = np.full(channels, np.inf), np.full(channels, -np.inf)
        if len(counted):
            factor = weights[counted, None]
            if omit:
                kept = omitting_leaves(seen)
                leaves: Any = kept
                weight[counted] = kept.kept * factor
                bad_elements = int(kept.kept.size * height * width - kept.kept.sum())
            else:
                leaves = float_leaves(seen)
                weight[counted] = factor * float(height * width)
                bad = np.flatnonzero(leaves.bad)
                bad_elements = int(leaves.bad.sum())
                first_bad = start + int(counted[bad[0]]) if bad.size else None
            mean[counted], m2[counted], low, high = leaves.mean, leaves.m2 * factor, leaves.low, leaves.high
        nodes = Nodes(np.arange(start, start + samples), mean, m2, weight)
        pixels = height * width
        return cls(pixels, complete({0: nodes}, pixels), low, high, bad_elements, first_bad)

    def merge(self, other: FloatMoments) -> FloatMoments:
        """Moments of the images of both.

        Raises
        ------
        SourceError
            The images differ in size or channels, or a sample is in both.
        """
        check_equal("channels", len(self.low), len(other.low))
        check_equal("pixels per image", self.sample_pixels, other.sample_pixels)
        both = {
            level: stack([side.levels[level] for side in (self, other) if level in side.levels])
            for level in sorted(self.levels.keys() | other.levels.keys())
        }
        check_disjoint(both)
        bad_rows = [row for row in (self.first_bad, other.first_bad) if row is not None]
        return FloatMoments(
            self.sample_pixels,
            complete(both, self.sample_pixels),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.bad_elements + other.bad_elements,
            min(bad_rows, default=None),
        )

    @property
    def samples(self) -> int:
        """Number of images seen."""
        return sum(len(nodes.numbers) << level for level, nodes in self.levels.items())

    def finalise(self) -> FloatTotals | WeightedTotals:
        """Join what is left, from the leaves up.

        Raises
        ------
        SourceError
            No image was seen; pixels are NaN or infinite; or finite ones are so large that float64 cannot hold their
            squares.
        """
        check_any(self.samples)
        if self.first_bad is not None:
            raise SourceError(
                f"{self.bad_elements} pixel values are NaN or infinite, the first of them in image {self.first_bad}: "
                "mean and standard deviation must be of finite numbers. Repair or leave out these images, "
                "for example with numpy.nan_to_num"
            )
        root = climb(self.levels, self.sample_pixels)
        mean, m2 = root.mean[0], root.m2[0]
        if not (np.isfinite(mean).all() and np.isfinite(m2).all()):
            raise SourceError(
                f"pixel values between {self.low.min():g} and {self.high.max():g} have squares beyond the range of "
                "float64. Scale the images down before fitting"
            )
        if root.weight is not None:
            return self._finalise_weighted(root, root.weight[0])
        # Which of 0.0 and −0.0 is the extreme depends on the order of merging: adding 0.0 leaves one kind of zero.
        return FloatTotals(self.samples, self.samples * self.sample_pixels, mean, m2, self.low + 0.0, self.high + 0.0)

    def _finalise_weighted(self, root: Nodes, weight: Vector) -> WeightedTotals:
        empty = np.flatnonzero(weight <= 0)
        if empty.size:
            raise SourceError(
                f"channel {empty[0]} has no pixel that counts: all are NaN or infinite, or in images of weight 0. "
                "Leave the channel out, or give other weights"
            )
        low, high = self.low + 0.0, self.high + 0.0
        pixels = self.samples * self.sample_pixels
        return WeightedTotals(self.samples, pixels, weight, root.mean[0], root.m2[0], low, high, self.bad_elements)


Moments = IntegerMoments | FloatTotals | WeightedTotals
