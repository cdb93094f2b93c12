"""What a fit has to know on every worker: how to reduce a block, merge two results and finish."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.statistics.moments import FloatMoments, IntegerMoments, is_exact
from daskaug.statistics.state import Statistics
from daskaug.statistics.whitening import Gram, gram_of, merge_grams, whitening_from_gram


@dataclass(frozen=True, eq=False)
class Partial:
    """What is known about some of the images.

    Parameters
    ----------
    moments : IntegerMoments or FloatMoments
        A few kilobytes.
    gram : IntegerGram, FloatGram or None
        One d × d matrix of float64 where the recipe asks for it and an image was seen.
    """

    moments: IntegerMoments | FloatMoments
    gram: Gram | None = None

    @property
    def samples(self) -> int:
        """Number of images seen."""
        return self.moments.samples


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

    Notes
    -----
    Moments of bool, int8, uint8, int16 and uint16 are exact. Those of other dtypes are summed in float64 along a tree
    over the indices of the samples. Neither depends on the blocks or on the order of merging.
    """

    image_shape: tuple[int, int, int]
    data_format: str
    dtype: str
    gram: bool = False

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
        if is_exact(self.dtype):
            return Partial(IntegerMoments.identity(self.channels))
        return Partial(FloatMoments.identity(self.channels, self.features // self.channels))

    def partial(self, block: NDArray[Any], start: int) -> Partial:
        """Reduce one block.

        Parameters
        ----------
        block : (b, ...) array
            Images of the shape and dtype of the recipe; any strides; not written to.
        start : int
            Index of its first image in the whole data set.

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
        kind = IntegerMoments if is_exact(self.dtype) else FloatMoments
        return Partial(kind.partial(images, start), gram_of(block) if self.gram else None)

    def merge(self, a: Partial, b: Partial) -> Partial:
        """What is known about the images of both.

        Raises
        ------
        SourceError
            They are partials of different kinds of images, or (for floats) share an image.
        """
        gram = merge_grams(a.gram, b.gram)
        if isinstance(a.moments, IntegerMoments) and isinstance(b.moments, IntegerMoments):
            return Partial(a.moments.merge(b.moments), gram)
        if isinstance(a.moments, FloatMoments) and isinstance(b.moments, FloatMoments):
            return Partial(a.moments.merge(b.moments), gram)
        raise SourceError("partial statistics of integer and of float images cannot be merged")

    def finalise(self, p: Partial, *, rescale: float | None = None, zca_epsilon: float = 1e-6) -> Statistics:
        """Turn what is known into statistics.

        Parameters
        ----------
        p : Partial
            Of all images.
        rescale : float, optional
            Factor that images will be multiplied by before they are standardised: mean, standard deviation and
            whitening are those of the rescaled images. None and 0 mean no rescaling, as in Keras.
        zca_epsilon : float
            ε of the whitening.

        Raises
        ------
        SourceError
            There are no images, or pixels are NaN or infinite.
        """
        totals = p.moments.finalise()
        whitening = None
        if p.gram is not None:
            whitening = whitening_from_gram(
                p.gram, totals.mean, self.image_shape, self.data_format, epsilon=zca_epsilon, rescale=rescale or 1.0
            )
        dtype = np.dtype(self.dtype).name
        return Statistics(self.image_shape, self.data_format, dtype, totals, rescale or None, whitening)
