"""The numbers that are known about a set of images, and what follows from them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from daskaug.cards import GOOD, Described, Fact, State, number_list, one_line, shape_text
from daskaug.errors import SourceError
from daskaug.statistics import archive, encoding
from daskaug.statistics.content import Part
from daskaug.statistics.histogram import Histogram
from daskaug.statistics.interval import Interval
from daskaug.statistics.moments import IntegerMoments, Moments, is_exact
from daskaug.statistics.totals import WeightedTotals
from daskaug.statistics.whitening import Gram, IntegerGram, Whitening

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Numbers(Described):
    """The fields of :class:`daskaug.Statistics`, which says what each is; checked against each other."""

    image_shape: tuple[int, int, int]
    data_format: str
    dtype: str
    moments: Moments
    rescale: float | None = None
    whitening: Whitening | None = None
    histogram: Histogram | None = None
    gram: Gram | None = None
    seen: tuple[Part, ...] = ()
    range_is_bound: bool = False
    is_complete: bool = True
    interval: Interval | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        if self.data_format not in ("channels_last", "channels_first"):
            raise SourceError(f"data_format must be 'channels_last' or 'channels_first', not {self.data_format!r}")
        if len(self.image_shape) != 3 or min(self.image_shape) < 1:
            raise SourceError(f"image_shape must be three positive numbers, not {self.image_shape}")
        exact, weighted = isinstance(self.moments, IntegerMoments), isinstance(self.moments, WeightedTotals)
        if not weighted and is_exact(self.dtype) != exact:
            raise SourceError(f"{type(self.moments).__name__} are not the moments of {self.dtype} images")
        if self.moments.channels != self.channels:
            raise SourceError(
                f"images of shape {self.image_shape} ({self.data_format}) have {self.channels} channels, and the "
                f"moments are of {self.moments.channels}"
            )
        if self.moments.samples < 1 or self.moments.pixels * self.channels != self.samples * math.prod(
            self.image_shape
        ):
            raise SourceError(
                f"{self.moments.samples} images of shape {self.image_shape} cannot have "
                f"{self.moments.pixels} pixels in each channel"
            )
        if self.rescale is not None and not (np.isfinite(self.rescale) and self.rescale):
            raise SourceError(f"rescale must be None or a finite number other than 0, not {self.rescale}")
        if self.whitening is not None and self.whitening.features != math.prod(self.image_shape):
            raise SourceError(
                f"images of shape {self.image_shape} have {math.prod(self.image_shape)} values, and the whitening is "
                f"for {self.whitening.features}"
            )
        if self.gram is not None:
            self._check_gram(self.gram)

    def _check_gram(self, gram: Gram) -> None:
        """Check what can be told without looking at d × d numbers."""
        exact, weighted = isinstance(gram, IntegerGram), isinstance(self.moments, WeightedTotals)
        if weighted or is_exact(self.dtype) != exact:
            raise SourceError(
                f"a {type(gram).__name__} does not go with {type(self.moments).__name__} of {self.dtype} images"
            )
        features = math.prod(self.image_shape)
        matrix = gram.products if isinstance(gram, IntegerGram) else gram.scatter
        if (gram.rows, gram.means.shape, matrix.shape) != (self.samples, (features,), (features, features)):
            raise SourceError(
                f"the Gram matrix is of {gram.rows} images with {gram.features} values, and the moments are of "
                f"{self.samples} with {features}"
            )

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.image_shape[2 if self.data_format == "channels_last" else 0]

    @property
    def samples(self) -> int:
        """Number of images."""
        return self.moments.samples

    @property
    def pixels(self) -> int:
        """Number of pixels in each channel, over all images."""
        return self.moments.pixels

    @functools.cached_property
    def mean(self) -> Vector:
        """Mean of each channel of the rescaled images, (c,) float64, read-only."""
        return _readonly(self.moments.mean * self._factor)

    @functools.cached_property
    def std(self) -> Vector:
        """Population standard deviation of each channel of the rescaled images, (c,) float64, read-only."""
        return _readonly(np.sqrt(self.moments.variance) * abs(self._factor))

    @property
    def minimum(self) -> Vector:
        """Smallest value of each channel of the images as read, (c,) float64."""
        return np.array(self.moments.low, np.float64)

    @property
    def maximum(self) -> Vector:
        """Largest value of each channel of the images as read, (c,) float64."""
        return np.array(self.moments.high, np.float64)

    @property
    def mean_interval(self) -> Vector | None:
        """Confidence interval (95 %) of `mean`, (c, 2) float64; None where all images were read."""
        return None if self.interval is None else _around(self.mean, self.interval.mean * abs(self._factor))

    @property
    def std_interval(self) -> Vector | None:
        """Confidence interval (95 %) of `std`, (c, 2) float64; None where all images were read."""
        return None if self.interval is None else _around(self.std, self.interval.std * abs(self._factor))

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all numbers, 64 hexadecimal digits: the same on every machine, whatever file it came from."""
        return archive.digest(*encoding.encode(replace(self, seen=())))

    @property
    def _factor(self) -> float:
        return 1.0 if self.rescale is None else self.rescale

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Numbers) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def _card_facts(self) -> list[Fact]:
        counted = f"{self.samples:,} {{}}of {shape_text(self.image_shape)} {self.dtype}, {self.data_format}"
        facts = [Fact("fitted on", counted.format(""), counted.format("images "))]
        if self.rescale is not None:
            facts.append(Fact("rescaled", f"by {self.rescale:.6g}"))
        facts += [Fact("mean", number_list(self.mean)), Fact("std", number_list(self.std))]
        extremes = f"{number_list(self.minimum)} to {number_list(self.maximum)}, as read"
        facts.append(Fact("range", extremes + (", at most" if self.range_is_bound else ""), ""))
        if self.histogram is not None:
            facts.append(Fact("histogram", f"of {self.histogram.counts.shape[1]:,} values", ""))
        if self.whitening is not None:
            rank, features = self.whitening.rank, self.whitening.features
            ranked = f"of rank {rank:,} in {features:,}, epsilon {self.whitening.epsilon:.6g}"
            held = f"; {100 * self.whitening.captured:.4g} % of the variance, by the route {self.whitening.route!r}"
            facts.append(Fact("ZCA", ranked + held, f"ZCA {ranked}"))
        if self.gram is not None:
            facts.append(Fact("Gram matrix", "kept"))
        if self.range_is_bound:
            facts.append(Fact("minimum and maximum", "are bounds"))
        if not self.is_complete:
            facts.append(Fact("fitted", "on a part: fitting stopped within its tolerance", "fitted on a part"))
        return facts

    def _card_state(self) -> State:
        return State("complete", GOOD) if self.is_complete else State("of a part")

    def __repr__(self) -> str:
        return f"Statistics({one_line(self._card_facts(), '; ')})"


def _around(centre: Vector, half_width: Vector) -> Vector:
    return np.stack([centre - half_width, centre + half_width], axis=1)


def _readonly(values: Vector) -> Vector:
    values.flags.writeable = False
    return values
