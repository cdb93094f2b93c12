"""How sure a mean and a standard deviation are after some of the blocks, read in random order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

CONFIDENCE = 0.95

FEWEST_BLOCKS = 8
"""Below this many blocks their spread says too little."""


@dataclass(frozen=True, eq=False)
class Interval:
    """Half-widths of confidence intervals, before rescaling.

    Parameters
    ----------
    mean, std : (c,) float64
        The value for all images lies so near with a probability of 95 %.

    References
    ----------
    Cochran, Sampling Techniques, 3rd edition (1977), sections 9A and 6.4: blocks are clusters, and errors linearised.
    """

    mean: Vector
    std: Vector


@dataclass
class BlockSpread:
    """What the spread of the blocks says about the mean of all.

    Blocks are a random sample of clusters, drawn without replacement: images of one block may resemble each other as
    much as they like. Mean and variance are ratios of sums over blocks, and their errors are linearised.

    References
    ----------
    Cochran, Sampling Techniques, 3rd edition (1977), sections 9A and 6.4.
    """

    blocks: int = 0
    shift: Vector | None = None
    totals: Vector = field(default_factory=lambda: np.zeros((0, 3)))
    products: Vector = field(default_factory=lambda: np.zeros((0, 3, 3)))

    def add(self, totals: Any) -> None:
        """One more block, by its finished moments."""
        weight = np.broadcast_to(np.asarray(getattr(totals, "weight", totals.pixels), np.float64), totals.mean.shape)
        if self.shift is None:
            self.shift = np.array(totals.mean)
            self.totals, self.products = np.zeros((len(self.shift), 3)), np.zeros((len(self.shift), 3, 3))
        # About the first block's mean, so that no digits cancel later.
        offset = totals.mean - self.shift
        m2 = totals.variance * weight
        sums = np.stack([weight, weight * offset, m2 + weight * offset**2], axis=1)  # (c, 3): Σ 1, Σ x, Σ x²
        self.totals += sums
        self.products += sums[:, :, None] * sums[:, None, :]
        self.blocks += 1

    def interval(self, of_blocks: int) -> Interval | None:
        """Of the whole, which has so many blocks; None while too few are known."""
        if self.shift is None or self.blocks < min(FEWEST_BLOCKS, of_blocks):
            return None
        if self.blocks >= of_blocks:
            return Interval(np.zeros(len(self.shift)), np.zeros(len(self.shift)))
        from scipy.special import stdtrit

        b = self.blocks
        weight, first, second = self.totals.T
        mean, square = first / weight, second / weight
        variance = np.maximum(square - mean**2, 0.0)
        zero, one = np.zeros_like(mean), np.ones_like(mean)
        quantile = float(stdtrit(b - 1, (1 + CONFIDENCE) / 2)) * math.sqrt((1 - b / of_blocks) * b / (b - 1))

        def half_width(coefficients: Vector) -> Vector:
            residuals = np.einsum("ci,cij,cj->c", coefficients, self.products, coefficients)
            width: Vector = quantile * np.sqrt(np.maximum(residuals, 0.0)) / weight
            return width

        of_mean = half_width(np.stack([-mean, one, zero], axis=1))
        of_variance = half_width(np.stack([2 * mean**2 - square, -2 * mean, one], axis=1))
        std = np.sqrt(variance)
        return Interval(of_mean, np.divide(of_variance, 2 * std, out=np.zeros_like(std), where=std > 0))

    @property
    def mean(self) -> Vector:
        """Mean of the blocks so far, (c,) float64."""
        assert self.shift is not None
        mean: Vector = self.shift + self.totals[:, 1] / self.totals[:, 0]
        return mean

    @property
    def std(self) -> Vector:
        """Standard deviation of the blocks so far, (c,) float64."""
        weight, first, second = self.totals.T
        std: Vector = np.sqrt(np.maximum(second / weight - (first / weight) ** 2, 0.0))
        return std
