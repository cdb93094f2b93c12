"""Randomised ZCA whitening: the strongest directions of many large images.

Subspace iteration from random signs, with a Rayleigh–Ritz step at the end.

References
----------
N. Halko, P.-G. Martinsson, J. A. Tropp, "Finding structure with randomness: probabilistic algorithms for constructing
approximate matrix decompositions", SIAM Review 53 (2011), algorithm 4.4.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskaug.seeding import random_signs
from daskaug.statistics.whitening.factors import Matrix, Vector
from daskaug.statistics.whitening.samples import BAND_FEATURES, Centre

POWER_PASSES = 3
"""Times that the data are multiplied by before the pass that measures the directions."""

CHOLESKY_VALUES = 2**20
SMALLEST_PIVOT = 1e-6


class Applied(NamedTuple):
    """Xᵀ·X·Q of some images, and the Gram matrix of their coordinates where it was asked for.

    Attributes
    ----------
    moved : (d, l) float
    coordinates : (l, l) float64 or None
        Qᵀ·Xᵀ·X·Q, summed in float64.
    """

    moved: NDArray[Any]
    coordinates: Matrix | None

    def merge(self, other: Applied) -> Applied:
        """That of the images of both; `self` is used up."""
        self.moved.__iadd__(other.moved)
        if self.coordinates is None or other.coordinates is None:
            return self
        return Applied(self.moved, self.coordinates + other.coordinates)


def first_basis(seed: int, features: int, columns: int, dtype: str) -> NDArray[Any]:
    """Random signs, (d, l)."""
    return random_signs(seed, features, columns).astype(dtype)


def orthonormal(moved: NDArray[Any]) -> NDArray[Any]:
    """An orthonormal basis of what the columns span, (d, l); `moved` is used up."""
    from scipy.linalg import LinAlgError, qr

    if moved.size > CHOLESKY_VALUES:
        try:
            return _by_cholesky(_by_cholesky(moved))
        except LinAlgError:  # nearly dependent columns: of images that vary in fewer directions, for instance
            pass
    basis: NDArray[Any] = qr(moved, mode="economic", overwrite_a=True, check_finite=False)[0]
    return basis


def _by_cholesky(moved: NDArray[Any]) -> NDArray[Any]:
    """Orthonormal columns, to as many digits as the condition of theirs leaves; done twice, to all.

    Householder's reflections take ten times longer on a tall matrix.

    References
    ----------
    T. Fukaya et al., "CholeskyQR2", ScalA 2014.
    """
    from scipy.linalg import LinAlgError, cholesky, solve_triangular

    bands = [slice(start, start + BAND_FEATURES) for start in range(0, len(moved), BAND_FEATURES)]
    gram = np.zeros((moved.shape[1], moved.shape[1]))
    for band in bands:
        rows = moved[band].astype(np.float64)
        gram += rows.T @ rows
    root = cholesky(gram)
    diagonal = np.abs(np.diag(root))
    if diagonal.min() < SMALLEST_PIVOT * diagonal.max():
        raise LinAlgError("columns are nearly dependent")
    inverse = solve_triangular(root, np.eye(len(root)))
    basis = np.empty_like(moved)
    for band in bands:
        basis[band] = moved[band].astype(np.float64) @ inverse
    return basis


def apply_to_basis(block: NDArray[Any], basis: NDArray[Any], centre: Centre, *, last: bool) -> Applied:
    """Multiply a basis by the second moment of a block about the channel mean.

    Parameters
    ----------
    block : (b, ...) array
    basis : (d, l) float32 or float64
    centre : Centre
    last : bool
        Take coordinates too, and in float64.
    """
    flat, mean, dtype = block.reshape(len(block), -1), centre.spread, basis.dtype
    inner = np.float64 if last else dtype
    coordinates = np.zeros((len(flat), basis.shape[1]), inner)
    bands = [slice(start, start + BAND_FEATURES) for start in range(0, flat.shape[1], BAND_FEATURES)]
    for band in bands:
        centred = flat[:, band].astype(inner)
        centred -= mean[band].astype(inner)
        coordinates += centred @ basis[band].astype(inner, copy=False)
    rounded = coordinates.astype(dtype, copy=False)
    moved = np.empty(basis.shape, dtype)
    for band in bands:
        centred = flat[:, band].astype(dtype)
        centred -= mean[band].astype(dtype)
        moved[band] = centred.T @ rounded
    return Applied(moved, coordinates.T @ coordinates if last else None)


class Ritz(NamedTuple):
    """The directions within a basis.

    Attributes
    ----------
    variances : (l,) float64
        n times the variance along each, descending.
    rotation : (l, l) float64
        U = Q · rotation.
    """

    variances: Vector
    rotation: Matrix


def directions_within(applied: Applied) -> Ritz:
    """Decompose what the last pass measured."""
    from scipy.linalg import eigh

    assert applied.coordinates is not None
    eigenvalues, vectors = eigh(applied.coordinates, check_finite=False)
    return Ritz(eigenvalues[::-1], np.ascontiguousarray(vectors[:, ::-1]))


def relative_residuals(applied: Applied, basis: NDArray[Any], ritz: Ritz, kept: int) -> Vector:
    """‖XᵀX·u − s²·u‖ / s² of the kept directions: some variance of the data lies so close, relatively, to each."""
    rotation, variances = ritz.rotation[:, :kept], ritz.variances[:kept]
    squares = np.zeros(kept)
    for start in range(0, len(basis), BAND_FEATURES):
        band = slice(start, start + BAND_FEATURES)
        left = applied.moved[band].astype(np.float64) @ rotation
        left -= (basis[band].astype(np.float64) @ rotation) * variances
        squares += np.einsum("ij,ij->j", left, left)
    return np.asarray(np.sqrt(squares) / variances, np.float64)
