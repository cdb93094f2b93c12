"""Affine matrices in numba; imported only by :mod:`daskaug.kernels.matrices`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

# Coefficients of the polynomials for sine and cosine on [-pi/4, pi/4]: Taylor's, whose next term is below 2**-53.
_SINE = (
    -1 / 6,
    1 / 120,
    -1 / 5040,
    1 / 362880,
    -1 / 39916800,
    1 / 6227020800,
    -1 / 1307674368000,
    1 / 355687428096000,
)
_COSINE = (
    -1 / 2,
    1 / 24,
    -1 / 720,
    1 / 40320,
    -1 / 3628800,
    1 / 479001600,
    -1 / 87178291200,
    1 / 20922789888000,
)
_RADIANS = np.pi / 180.0


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _sine_cosine(degrees: Any) -> Any:
    """Sine and cosine of an angle in degrees, with the same bits on every machine.

    The C library's sine has other last bits where the processor offers fused multiply-add. Here every step is one
    correctly rounded operation. Multiples of 90 degrees are exact; the rest is within 2 units in the last place of 1.
    """
    quarter = np.rint(degrees / 90.0)
    x = (degrees - quarter * 90.0) * _RADIANS
    square = x * x
    sine, cosine = _SINE[-1], _COSINE[-1]
    for i in range(len(_SINE) - 2, -1, -1):
        sine = sine * square + _SINE[i]
        cosine = cosine * square + _COSINE[i]
    sine, cosine = x + x * (square * sine), 1.0 + square * cosine
    turn = quarter - 4.0 * np.floor(quarter / 4.0)
    if turn == 1.0 or turn == 3.0:
        sine, cosine = cosine, sine
    return -sine if turn >= 2.0 else sine, -cosine if turn == 1.0 or turn == 2.0 else cosine


def affine(theta: Any, tx: Any, ty: Any, shear: Any, zx: Any, zy: Any, centre_x: Any, centre_y: Any, out: Any) -> Any:
    """Fill `out`, (b, 2, 3) float64; whether any sample moves. `transforms/affine.py` has the formula."""
    moved = False
    for i in range(out.shape[0]):
        if theta[i] == 0 and tx[i] == 0 and ty[i] == 0 and shear[i] == 0 and zx[i] == 1 and zy[i] == 1:
            # Exactly the identity, whatever rounding would have done to the offsets.
            out[i, 0, 0], out[i, 0, 1], out[i, 0, 2] = 1.0, 0.0, 0.0
            out[i, 1, 0], out[i, 1, 1], out[i, 1, 2] = 0.0, 1.0, 0.0
            continue
        moved = True
        sin_theta, cos_theta = _sine_cosine(theta[i])
        sin_shear, cos_shear = _sine_cosine(shear[i])
        xx = cos_theta * zx[i]
        xy = -(cos_theta * sin_shear + sin_theta * cos_shear) * zy[i]
        yx = sin_theta * zx[i]
        yy = (cos_theta * cos_shear - sin_theta * sin_shear) * zy[i]
        shift_x = cos_theta * tx[i] - sin_theta * ty[i]
        shift_y = sin_theta * tx[i] + cos_theta * ty[i]
        out[i, 0, 0], out[i, 0, 1] = yy, yx
        out[i, 0, 2] = centre_y + shift_y - (yx * centre_x + yy * centre_y)
        out[i, 1, 0], out[i, 1, 1] = xy, xx
        out[i, 1, 2] = centre_x + shift_x - (xx * centre_x + xy * centre_y)
    return moved
