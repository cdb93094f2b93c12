"""Affine matrices from the parameters of each sample."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from daskaug.kernels.compile import compiled

Floats = NDArray[np.float64]


@functools.cache
def _kernel() -> Callable[..., bool]:
    from numba import types

    from daskaug.kernels import loops_matrices

    values = types.Array(types.float64, 1, "A", readonly=True)
    out = types.Array(types.float64, 3, "C")
    return compiled(loops_matrices.affine, *[values] * 6, types.float64, types.float64, out)


def warm() -> None:
    """Compile, or load from the cache on disk."""
    _kernel()


def affine_matrices(
    theta: Floats, tx: Floats, ty: Floats, shear: Floats, zx: Floats, zy: Floats, centre: tuple[float, float]
) -> Floats | None:
    """Rotation, shift, shear and zoom about a centre, with the same bits on every machine.

    Parameters
    ----------
    theta, shear : (b,) float64
        Degrees.
    tx, ty : (b,) float64
        Pixels.
    zx, zy : (b,) float64
        Factors.
    centre : (x, y)
        The point about which is turned, in pixels.

    Returns
    -------
    (b, 2, 3) float64 or None
        As :func:`daskaug.transforms.affine.matrices` describes them. Parameters that move nothing give the identity
        exactly; None where no sample is moved at all.
    """
    out = np.empty((len(theta), 2, 3))
    return out if _kernel()(theta, tx, ty, shear, zx, zy, *centre, out) else None
