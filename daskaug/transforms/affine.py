"""From drawn parameters to the matrix that says where each output pixel comes from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daskaug.kernels.matrices import affine_matrices
from daskaug.transforms.draws import Draws


def matrices(draws: Draws, size: tuple[int, int]) -> NDArray[np.float64] | None:
    """Where each output pixel of each sample is read.

    Keras composes rotation, shift, shear and zoom (in this order) in coordinates (x, y) around the centre, and then
    exchanges the two axes::

        A = R(theta) S(shear) Z(zx, zy)      t = R(theta) (tx, ty)
        offset = o + t - A o                 o = (height / 2 - 1/2, width / 2 - 1/2)

    so that `tx`, drawn from ``height_shift_range``, moves columns, and for images that are not square the centre lies
    at (width / 2, height / 2). That is kept: pixels agree with Keras'.

    Parameters
    ----------
    draws : Draws
        Of b samples.
    size : (height, width)

    Returns
    -------
    (b, 2, 3) float64 or None
        ``row = m[0, 0] * out_row + m[0, 1] * out_col + m[0, 2]`` and likewise the column with ``m[1]``. None where
        no sample is moved at all.

    References
    ----------
    Keras 3.15, ``apply_affine_transform``.
    """
    centre = size[0] / 2 - 0.5, size[1] / 2 - 0.5
    return affine_matrices(draws.theta, draws.tx, draws.ty, draws.shear, draws.zx, draws.zy, centre)
