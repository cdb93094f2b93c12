"""What a fit has to know on every worker: how to reduce a block, merge two results and finish."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.statistics.content import Content, Part
from daskaug.statistics.histogram import Histogram
from daskaug.statistics.moments import FloatMoments, IntegerMoments, Vector, is_exact
from daskaug.statistics.state import Statistics
from daskaug.statistics.whitening import Gram, gram_of, merge_grams


@dataclass(frozen=True, eq=False)
class Partial:
    """What is known about some of the images.

    Parameters
    ----------
    moments : IntegerMoments or FloatMoments
        A few kilobytes.
    gram : IntegerGram, FloatGram or None
        One d × d matrix of float64 where the recipe asks for it and an image was seen.
    histogram : Histogram or None
        Where the recipe asks for it.
    content : Content or None
        What was seen, where somebody hashed it: the images as they are stored, which those of the recipe may be
        made of.
    """

    moments: IntegerMoments | FloatMoments
    gram: Gram | None = None
    histogram: Histogram | None = None
    content: Content | None = None

    @property
    def samples(self) -> int:
        """Number of images seen."""
        return self.moments.samples

    @property
    def gram_nbytes(self) -> int:
        """Bytes of the Gram matrix, without which a partial takes a few kilobytes."""
        return 0 if self.gram is None else 8 * self.gram.features**2


@dataclass(frozen=True)
class StatisticsRecipe:
    """How to take statistics of images of one kind; pickles in a few bytes.

    Parameters
    ----------
    image_shape : tuple of int
        Shape of an image as stored: (h, w, c) or (c, h, w).
    data_format : str
        ``"channels_last"`` or ``"channels_first"``.
    dtype : str
        dtype of the blocks.
    gram : bool
        Whether to collect what whitening needs.
    histogram : bool
        Whether to count the values of each channel; for integer images of 8 or 16 bits.
    omit_nonfinite : bool
        Leave out NaN and infinite pixels, each in its channel. Otherwise :meth:`finalise` reports them.
    weighted : bool
        Whether images have weights.

    Notes
    -----
    Moments of bool, int8, uint8, int16 and uint16 are exact. Those of other dtypes are summed in float64 along a tree
    over the indices of the samples, and so are all where images have weights. Neither depends on the blocks or on the
    order of merging.

    Raises
    ------
    SourceError
        A histogram is asked for of other images than integers of 8 or 16 bits.
    """

    image_shape: tuple[int, int, int]
    data_format: str
    dtype: str
    gram: bool = False
    histogram: bool = False
    omit_nonfinite: bool = False
    weighted: bool = False

    def __post_init__(self) -> None:
        """Check what can be counted."""
        if self.histogram and not is_exact(self.dtype):
            raise SourceError(
                f"a histogram counts the values of integer images of 8 or 16 bits, and these are reduced as "
                f"{self.dtype}. Fit without histogram, or without what makes floats of the images (a preprocessing "
                "function, samplewise options, augment)"
            )

    @property
    def is_exact(self) -> bool:
        """Whether sums are exact integers."""
        return is_exact(self.dtype) and not self.weighted

    @property
    def features(self) -> int:
        """Length of a flattened image."""
        return math.prod(self.image_shape)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.image_shape[2 if self.data_format == "channels_last" else 0]

    def identity(self) -> Partial:
        """What is known about no image."""
        histogram = Histogram.identity(self.channels) if self.histogram else None
        if self.is_exact:
            return Partial(IntegerMoments.identity(self.channels), None, histogram)
        return Partial(FloatMoments.identity(self.channels, self.features // self.channels), None, histogram)

    def partial(self, block: NDArray[Any], start: int, weights: Vector | None = None) -> Partial:
        """Reduce one block.

        Parameters
        ----------
        block : (b, ...) array
            Images of the shape and dtype of the recipe; any strides; not written to.
        start : int
            Index of its first image in the whole data set.
        weights : (b,) float64, optional
            What each image weighs, where the recipe is weighted; 1 by default.

        Raises
        ------
        SourceError
            The block is of another shape or dtype, or `start` is negative.
        """
        if block.shape[1:] != self.image_shape or block.dtype.name != np.dtype(self.dtype).name:
            raise SourceError(
                f"statistics are being taken of {self.dtype} images of shape {self.image_shape}, and a block came as "
                f"{block.dtype} of shape {block.shape}"
            )
        if start < 0:
            raise SourceError(f"the index of the first image of a block must be at least 0, not {start}")
        images = block if self.data_format == "channels_last" else block.transpose(0, 2, 3, 1)
        gram = gram_of(block) if self.gram else None
        histogram = Histogram.partial(images) if self.histogram else None
        if not self.is_exact:
            if self.weighted and weights is None:
                weights = np.ones(len(block))
            moments = FloatMoments.partial(images, start, omit=self.omit_nonfinite, weights=weights)
            return Partial(moments, gram, histogram)
        if histogram is not None and block.dtype.itemsize == 1 and len(block):
            # The sums follow from the counts, which saves reading the pixels a second time.
            return Partial(histogram.moments(len(block)), gram, histogram)
        return Partial(IntegerMoments.partial(images, start), gram, histogram)

    def merge(self, a: Partial, b: Partial) -> Partial:
        """What is known about the images of both.

        Raises
        ------
        SourceError
            They are partials of different kinds of images, or (for floats) share an image.
        """
        gram = merge_grams(a.gram, b.gram)
        histogram = b.histogram if a.histogram is None else a.histogram
        if a.histogram is not None and b.histogram is not None:
            histogram = a.histogram.merge(b.histogram)
        content = b.content if a.content is None else a.content
        if a.content is not None and b.content is not None:
            content = a.content.merge(b.content)
        if isinstance(a.moments, IntegerMoments) and isinstance(b.moments, IntegerMoments):
            return Partial(a.moments.merge(b.moments), gram, histogram, content)
        if isinstance(a.moments, FloatMoments) and isinstance(b.moments, FloatMoments):
            return Partial(a.moments.merge(b.moments), gram, histogram, content)
        raise SourceError("partial statistics of integer and of float images cannot be merged")

    def finalise(self, p: Partial, *, rescale: float | None = None) -> Statistics:
        """Turn what is known into statistics.

        Parameters
        ----------
        p : Partial
            Of all images.
        rescale : float, optional
            Factor that images will be multiplied by before they are standardised: mean and standard deviation are
            those of the rescaled images. None and 0 mean no rescaling, as in Keras.

        Raises
        ------
        SourceError
            There are no images, or pixels are NaN or infinite.
        """
        totals = p.moments.finalise()
        seen: tuple[Part, ...] = ()
        if p.content is not None:
            seen = (Part(p.content, tuple(totals.low), tuple(totals.high)),)
        return Statistics(
            self.image_shape,
            self.data_format,
            np.dtype(self.dtype).name,
            totals,
            rescale or None,
            histogram=p.histogram,
            gram=p.gram,
            seen=seen,
        )
