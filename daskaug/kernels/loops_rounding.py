"""Floats to integers, for machine code; imported only by :mod:`daskaug.kernels.rounding`."""

from __future__ import annotations

from typing import Any

import numpy as np


def round_flat(values: Any, low: Any, high: Any, limits: Any, out: Any) -> None:
    """Round half to even, saturate, and make NaN 0.

    values, out : flat.  limits : (2,) of the type of `out`, its range.  low, high : the same as floats, where the
    upper one of a wide integer is its successor, a power of two: every float below it fits.
    """
    kind = out.dtype.type
    for e in range(values.shape[0]):
        value = values[e]
        if value >= high:
            out[e] = limits[1]
        elif value > low:
            out[e] = kind(np.rint(value))
        elif value <= low:
            out[e] = limits[0]
        else:
            out[e] = 0
