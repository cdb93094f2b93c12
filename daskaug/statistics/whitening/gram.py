"""ZCA whitening through the Gram matrix of the features (d × d, d = h · w · c)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.statistics.moments import is_exact
from daskaug.statistics.whitening.factors import Matrix, Vector, Whitening, kept_directions, scale_of, share, spread

# A float32 sum of 1,024 products of values up to 128 stays within 2^24, so every step of the product is exact.
TILE_ROWS = 1024

# What an integer pixel is lowered by so that its magnitude is at most half the range of the dtype.
_SHIFTS = {"bool": 0, "int8": 0, "uint8": 128, "int16": 0, "uint16": 32768}


@dataclass(frozen=True, eq=False)
class IntegerGram:
    """Sums over the rows of integer images, each flattened in its own memory layout, about a constant.

    Exact while they stay below 2^53 (5·10^11 images of 8 bits, 8 million of 16), so merging is exact as well.

    Parameters
    ----------
    rows : int
        Images seen.
    shift : int
        The constant that every pixel is lowered by.
    sums : (d,) float64
        Σ (x − shift).
    products : (d, d) float64
        Σ (x − shift)(x − shift)ᵀ.
    """

    rows: int
    shift: int
    sums: Vector
    products: Matrix

    @classmethod
    def partial(cls, block: NDArray[Any]) -> IntegerGram:
        """Sums of one block (b, ...) bool, int8, uint8, int16 or uint16, in tiles of a fixed number of rows."""
        features = math.prod(block.shape[1:])
        shift = _SHIFTS[block.dtype.name]
        dtype: type[np.float32 | np.float64] = np.float32 if block.dtype.itemsize == 1 else np.float64
        sums, products = np.zeros(features), np.zeros((features, features))
        for start in range(0, len(block), TILE_ROWS):
            tile: NDArray[Any] = block[start : start + TILE_ROWS].astype(dtype, order="C").reshape(-1, features)
            tile -= dtype(shift)
            sums += tile.sum(axis=0, dtype=np.float64)
            # NumPy sees that both factors are one array and computes half of the product (BLAS syrk).
            products += tile.T @ tile
        return cls(len(block), shift, sums, products)

    def merge(self, other: IntegerGram) -> IntegerGram:
        """Sums over the images of both."""
        return IntegerGram(self.rows + other.rows, self.shift, self.sums + other.sums, self.products + other.products)

    def withdraw(self, other: IntegerGram) -> IntegerGram:
        """Sums over the images of this without those of `other`; exact, as merging is.

        Raises
        ------
        SourceError
            Those of `other` cannot have been among these.
        """
        left = IntegerGram(self.rows - other.rows, self.shift, self.sums - other.sums, self.products - other.products)
        _check_left(left, self.products)
        return left

    @property
    def features(self) -> int:
        """Length d of a flattened image."""
        return self.sums.size

    @property
    def means(self) -> Vector:
        """Mean of each feature, (d,) float64."""
        return np.asarray(self.shift + self.sums / self.rows, np.float64)

    @property
    def spreads(self) -> Vector:
        """Sum of the squared deviations of each feature from its mean, (d,) float64."""
        return np.asarray(np.diagonal(self.products) - self.sums * (self.sums / self.rows), np.float64)

    def about(self, centre: Vector) -> Matrix:
        """Σ (x − centre)(x − centre)ᵀ, (d, d) float64."""
        # First to the nearest integers, which rounds nothing, so that no digits cancel in the second step.
        whole = np.round(centre) - self.shift
        sums = self.sums - whole * self.rows
        near = _moved(self.products, self.sums, whole, self.rows)
        return _moved(near, sums, centre - self.shift - whole, self.rows)


def _moved(products: Matrix, sums: Vector, offset: Vector, rows: int) -> Matrix:
    """Σ (y − o)(y − o)ᵀ from Σ y·yᵀ and Σ y: subtracts o·sᵀ + s·oᵀ − n·o·oᵀ as an outer product and its transpose."""
    half = np.outer(offset, sums - offset * (rows / 2))
    moved = products - half
    moved -= half.T
    return moved


@dataclass(frozen=True, eq=False)
class FloatGram:
    """Scatter of float images about their own mean, each flattened in its own memory layout.

    Summed and merged in float64, without cancellation however far the pixels are from zero. The bits depend on the
    blocks and on the BLAS: relative to the largest entry, expect differences of some 1e-15 · √rows.

    Parameters
    ----------
    rows : int
        Images seen.
    mean : (d,) float64
        Mean of each feature.
    scatter : (d, d) float64
        Σ (x − mean)(x − mean)ᵀ.
    """

    rows: int
    mean: Vector
    scatter: Matrix

    @classmethod
    def partial(cls, block: NDArray[Any]) -> FloatGram:
        """Scatter of one block (b, ...) of any real dtype, at least one image."""
        features = math.prod(block.shape[1:])
        # NaN and infinite pixels are for the moments to report, which see them first.
        with np.errstate(over="ignore", invalid="ignore"):
            mean = block.mean(axis=0, dtype=np.float64).reshape(features)
            drift, scatter = np.zeros(features), np.zeros((features, features))
            for start in range(0, len(block), TILE_ROWS):
                tile = block[start : start + TILE_ROWS].astype(np.float64, order="C").reshape(-1, features)
                tile -= mean
                drift += tile.sum(axis=0)
                scatter += tile.T @ tile
            drift /= len(block)
            scatter -= np.outer(drift, drift * len(block))
        return cls(len(block), mean + drift, scatter)

    def merge(self, other: FloatGram) -> FloatGram:
        """Scatter over the images of both, by Chan's formula."""
        rows = self.rows + other.rows
        with np.errstate(over="ignore", invalid="ignore"):
            delta = other.mean - self.mean
            scatter = np.outer(delta, delta * (self.rows * (other.rows / rows)))
            scatter += self.scatter
            scatter += other.scatter
            return FloatGram(rows, self.mean + delta * (other.rows / rows), scatter)

    def withdraw(self, other: FloatGram) -> FloatGram:
        """Scatter over the images of this without those of `other`: Chan's formula, solved for one of its parts.

        Raises
        ------
        SourceError
            Those of `other` cannot have been among these.
        """
        rows = self.rows - other.rows
        mean = self.mean + (self.mean - other.mean) * (other.rows / rows)
        delta = other.mean - mean
        scatter = self.scatter - other.scatter
        scatter -= np.outer(delta, delta * (rows * (other.rows / self.rows)))
        left = FloatGram(rows, mean, scatter)
        _check_left(left, self.scatter)
        return left

    @property
    def features(self) -> int:
        """Length d of a flattened image."""
        return self.mean.size

    @property
    def means(self) -> Vector:
        """Mean of each feature, (d,) float64."""
        return self.mean

    @property
    def spreads(self) -> Vector:
        """Sum of the squared deviations of each feature from its mean, (d,) float64."""
        return np.asarray(np.diagonal(self.scatter), np.float64)

    def about(self, centre: Vector) -> Matrix:
        """Σ (x − centre)(x − centre)ᵀ, (d, d) float64."""
        offset = self.mean - centre
        return self.scatter + np.outer(offset, offset * self.rows)


Gram = IntegerGram | FloatGram


def gram_of(block: NDArray[Any]) -> Gram | None:
    """Gram partial of the kind that fits the dtype of a block (b, ...); None for a block without images."""
    if not len(block):
        return None
    return IntegerGram.partial(block) if is_exact(block.dtype.name) else FloatGram.partial(block)


def merge_grams(a: Gram | None, b: Gram | None) -> Gram | None:
    """Gram of the images of both, where None stands for no image.

    Raises
    ------
    SourceError
        They come from images of different kinds or sizes.
    """
    if a is None or b is None:
        return b if a is None else a
    return _both("merge", a, b)


def withdraw_gram(whole: Gram, part: Gram) -> Gram:
    """Gram of the images of `whole` without those of `part`, of which at least one is left.

    Raises
    ------
    SourceError
        They come from images of different kinds or sizes, or those of `part` cannot have been among the others.
    """
    return _both("withdraw", whole, part)


def _both(verb: str, a: Gram, b: Gram) -> Gram:
    """``a.merge(b)`` or ``a.withdraw(b)`` of sums over images of one kind and size."""
    if type(a) is not type(b) or a.features != b.features or getattr(a, "shift", 0) != getattr(b, "shift", 0):
        raise SourceError("Gram matrices of images that differ in dtype or size cannot be combined")
    combined: Gram = getattr(a, verb)(b)
    return combined


def _check_left(left: Gram, whole: Matrix) -> None:
    """Raise unless what is left of these products can be a sum of squares."""
    if (left.spreads < -1e-9 * np.diagonal(whole)).any():
        raise SourceError(
            "images can be withdrawn that are among those seen: by their Gram matrix these cannot have been"
        )


def gram_nbytes(features: int, cores: int) -> int:
    """Bytes that a fit takes for Gram matrices of images with so many values at the peak.

    While reading: the sum, a partial for each task in flight and in the window, the next sum. While decomposing: the
    products, the moment, and what LAPACK takes.
    """
    return max(cores + 3, 5) * 8 * features * features


def channel_moments(gram: Gram, image_shape: tuple[int, int, int], data_format: str) -> tuple[Vector, Vector, Vector]:
    """What a Gram matrix knows about the channels, to compare it with their own sums.

    Returns
    -------
    mean, variance : (c,) float64
        Of each channel.
    scale : (c,) float64
        What a rounding error of the mean is relative to; one of the variance, to its square.
    """
    axes = (0, 1) if data_format == "channels_last" else (1, 2)
    means, spreads = (values.reshape(image_shape) for values in (gram.means, gram.spreads))
    mean = means.mean(axis=axes, keepdims=True)
    variance = (spreads / gram.rows + (means - mean) ** 2).mean(axis=axes)
    mean = mean.reshape(-1)
    return mean, variance, np.abs(mean) + abs(getattr(gram, "shift", 0)) + np.sqrt(np.maximum(variance, 0.0))


def whitening_from_gram(
    gram: Gram,
    channel_mean: Vector,
    image_shape: tuple[int, int, int],
    data_format: str,
    *,
    epsilon: float = 1e-6,
    rescale: float = 1.0,
    rank: int | None = None,
    fraction: float | None = None,
) -> Whitening:
    """ZCA whitening of the images that a Gram matrix has seen.

    Parameters
    ----------
    gram : IntegerGram or FloatGram
        Of d = h · w · c features.
    channel_mean : (c,) float64
        Mean of each channel of the images as the Gram matrix has seen them: Keras centres by it, not by the mean of
        each feature.
    image_shape : tuple of int
        (h, w, c) or (c, h, w), as `data_format` says.
    data_format : str
        ``"channels_last"`` or ``"channels_first"``.
    epsilon : float
        Added to the singular values, at least 0.
    rescale : float
        The whitening is for images multiplied by it, not 0.
    rank : int, optional
        Keep at most so many directions.
    fraction : float, optional
        Keep as few directions as hold this share of the variance.

    Returns
    -------
    Whitening
        For images that are rescaled and centred; it may have rank 0, when all images are constant.

    Notes
    -----
    Keras computes ``u, s, _ = svd(x.T)`` of the centred images and ``(u * sqrt(n) / (s + epsilon)) @ u.T``. Here s is
    the root of the eigenvalues of ``x.T @ x``; null directions are dropped, see :func:`kept_directions`.
    """
    # SciPy's linear algebra takes a while to import, and only whitening needs it.
    from scipy.linalg import eigh

    moment = gram.about(spread(channel_mean, image_shape, data_format))
    total = float(np.trace(moment))
    # LAPACK wants columns to be contiguous; the matrix is symmetric, so its transpose saves a copy.
    eigenvalues, vectors = eigh(moment.T, driver="evd", overwrite_a=True, check_finite=False)
    variances = eigenvalues[::-1]
    kept = kept_directions(variances, total, gram.rows, variances.size, rank=rank, fraction=fraction)
    return Whitening(
        np.ascontiguousarray(vectors[:, ::-1][:, :kept]),
        scale_of(variances[:kept], gram.rows, epsilon=epsilon, rescale=rescale),
        epsilon,
        captured=share(float(variances[:kept].sum()), total),
    )
