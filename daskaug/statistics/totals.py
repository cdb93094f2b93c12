"""Finished moments of images that are not summed in integers: merged and withdrawn in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.statistics.tree import Nodes, join

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FloatTotals:
    """Finished moments of float images.

    Parameters
    ----------
    samples : int
        Images seen.
    pixels : int
        Pixels seen in each channel.
    mean, m2 : (c,) float64
        Mean of each channel, and sum of the squared deviations from it.
    low, high : (c,) float64
        Smallest and largest value of each channel.

    References
    ----------
    Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American Statistician 37 (1983), for how
    they are joined.
    """

    samples: int
    pixels: int
    mean: Vector
    m2: Vector
    low: Vector
    high: Vector

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.mean)

    @property
    def variance(self) -> Vector:
        """Population variance of each channel, (c,) float64."""
        return self.m2 / self.pixels

    def merge(self, other: FloatTotals) -> FloatTotals:
        """Moments of the images of both, in float64: unlike :meth:`FloatMoments.merge` it rounds, by Chan's formula.

        Raises
        ------
        SourceError
            The numbers of channels differ.
        """
        check_equal("channels", self.channels, other.channels)
        joined = join(
            Nodes(np.zeros(1, np.int64), self.mean[None], self.m2[None]),
            Nodes(np.zeros(1, np.int64), other.mean[None], other.m2[None]),
            np.array([float(self.pixels)]),
            np.array([float(other.pixels)]),
        )
        return FloatTotals(
            self.samples + other.samples,
            self.pixels + other.pixels,
            joined.mean[0],
            joined.m2[0],
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    def withdraw(self, other: FloatTotals) -> FloatTotals:
        """Moments without those of `other`, in float64; `low` and `high` stay as they are.

        Undoes :meth:`merge` up to rounding, of which more is lost the smaller the part that is left.

        Raises
        ------
        SourceError
            The images of `other` cannot have been among these, or were all of them.
        """
        check_equal("channels", self.channels, other.channels)
        samples, pixels = self.samples - other.samples, self.pixels - other.pixels
        check_left(samples)
        mean, m2 = _without(self, other, np.float64(self.pixels), np.float64(other.pixels))
        return FloatTotals(samples, pixels, mean, m2, self.low, self.high)


@dataclass(frozen=True, eq=False)
class WeightedTotals:
    """Finished moments of images whose pixels do not count alike.

    Parameters
    ----------
    samples : int
        Images seen.
    pixels : int
        Pixels seen in each channel, also those that were omitted.
    weight : (c,) float64
        What the pixels of each channel weigh: without sample weights the number of those that were not omitted.
    mean, m2 : (c,) float64
        Weighted mean, and weighted sum of the squared deviations from it.
    low, high : (c,) float64
        Extremes of the finite pixels of images whose weight is not 0.
    omitted : int
        NaN and infinite pixel values that were left out.
    """

    samples: int
    pixels: int
    weight: Vector
    mean: Vector
    m2: Vector
    low: Vector
    high: Vector
    omitted: int = 0

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.mean)

    @property
    def variance(self) -> Vector:
        """Weighted population variance of each channel, (c,) float64."""
        return self.m2 / self.weight

    def merge(self, other: WeightedTotals) -> WeightedTotals:
        """Moments of the images of both, in float64, by Chan's formula.

        Raises
        ------
        SourceError
            The numbers of channels differ.
        """
        check_equal("channels", self.channels, other.channels)
        number = np.zeros(1, np.int64)
        ours, theirs = (Nodes(number, m.mean[None], m.m2[None], m.weight[None]) for m in (self, other))
        joined = join(ours, theirs, np.ones(1), np.ones(1))
        return WeightedTotals(
            self.samples + other.samples,
            self.pixels + other.pixels,
            self.weight + other.weight,
            joined.mean[0],
            joined.m2[0],
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.omitted + other.omitted,
        )

    def withdraw(self, other: WeightedTotals) -> WeightedTotals:
        """As :meth:`FloatTotals.withdraw`."""
        check_equal("channels", self.channels, other.channels)
        samples, pixels = self.samples - other.samples, self.pixels - other.pixels
        weight, omitted = self.weight - other.weight, self.omitted - other.omitted
        check_left(samples if (weight > 0).all() and omitted >= 0 else -1)
        mean, m2 = _without(self, other, self.weight, other.weight)
        return WeightedTotals(samples, pixels, weight, mean, m2, self.low, self.high, omitted)


def _without(
    whole: FloatTotals | WeightedTotals, part: FloatTotals | WeightedTotals, n_whole: Any, n_part: Any
) -> tuple[Vector, Vector]:
    """Mean and m2 of what is left: Chan's formula, solved for one of its parts."""
    n_left = n_whole - n_part
    mean = whole.mean + (whole.mean - part.mean) * (n_part / n_left)
    between = (part.mean - mean) ** 2 * (n_left * (n_part / n_whole))
    m2 = whole.m2 - part.m2 - between
    if (m2 < -1e-9 * whole.m2).any():
        check_left(-1)
    return mean, np.maximum(m2, 0.0)


def check_left(samples: int) -> None:
    """Raise unless some images are left after others were withdrawn."""
    if samples <= 0:
        raise SourceError(
            "images can be withdrawn that are among those seen, and at least one must be left: "
            + ("none is" if samples == 0 else "these cannot have been among them")
        )


def check_equal(what: str, ours: int, theirs: int) -> None:
    """Raise unless both have as many."""
    if ours != theirs:
        raise SourceError(f"statistics of images with {ours} and with {theirs} {what} cannot be merged")


def check_any(samples: int) -> None:
    """Raise unless there are images."""
    if not samples:
        raise SourceError("there are no images to take statistics of: fit needs at least one")
