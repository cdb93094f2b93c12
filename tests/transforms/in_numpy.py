"""The affine matrices in NumPy: what the compiled ones must agree with, to the last bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daskaug.transforms.draws import Draws

Floats = NDArray[np.float64]

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


def sine_cosine(degrees: Floats) -> tuple[Floats, Floats]:
    """Sine and cosine of angles in degrees, with the same bits on every machine.

    The C library's sine has other last bits where the processor offers fused multiply-add. Here every step is one
    correctly rounded operation. Multiples of 90 degrees are exact.

    Parameters
    ----------
    degrees : (b,) float64

    Returns
    -------
    sine, cosine : (b,) float64
        Within 2 units in the last place of 1.
    """
    quarter = np.rint(degrees / 90.0)
    x = (degrees - quarter * 90.0) * (np.pi / 180.0)
    square = x * x
    sine = x + x * (square * _horner(_SINE, square))
    cosine = 1.0 + square * _horner(_COSINE, square)
    turn = np.mod(quarter, 4.0)
    swapped = (turn == 1) | (turn == 3)
    s, c = np.where(swapped, cosine, sine), np.where(swapped, sine, cosine)
    return np.where(turn >= 2, -s, s), np.where((turn == 1) | (turn == 2), -c, c)


def _horner(coefficients: tuple[float, ...], x: Floats) -> Floats:
    total = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def matrices(draws: Draws, size: tuple[int, int]) -> Floats | None:
    sin_theta, cos_theta = sine_cosine(draws.theta)
    sin_shear, cos_shear = sine_cosine(draws.shear)
    centre_x, centre_y = size[0] / 2 - 0.5, size[1] / 2 - 0.5
    xx = cos_theta * draws.zx
    xy = -(cos_theta * sin_shear + sin_theta * cos_shear) * draws.zy
    yx = sin_theta * draws.zx
    yy = (cos_theta * cos_shear - sin_theta * sin_shear) * draws.zy
    shift_x = cos_theta * draws.tx - sin_theta * draws.ty
    shift_y = sin_theta * draws.tx + cos_theta * draws.ty
    moves = (draws.theta != 0) | (draws.tx != 0) | (draws.ty != 0) | (draws.shear != 0)
    moves |= (draws.zx != 1) | (draws.zy != 1)
    if not moves.any():
        return None
    offset_x = centre_x + shift_x - (xx * centre_x + xy * centre_y)
    offset_y = centre_y + shift_y - (yx * centre_x + yy * centre_y)
    found = np.stack([yy, yx, offset_y, xy, xx, offset_x], axis=-1).reshape(-1, 2, 3)
    # Parameters that move nothing give the identity exactly, whatever rounding did to the offsets.
    found[~moves] = [[1, 0, 0], [0, 1, 0]]
    return found
