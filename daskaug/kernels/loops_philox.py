"""Philox4x64-10 in numba; imported only by :mod:`daskaug.kernels.philox`.

The algorithm and its constants: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11.
``numpy.random.Philox`` is the oracle.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ONE = np.uint64(1)
_MULTIPLIER = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
_WEYL = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B))


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _high_product(a: Any, b: Any) -> Any:
    """Upper 64 bits of the product of two uint64 numbers."""
    a_low, a_high = a & _LOW, a >> _HALF
    b_low, b_high = b & _LOW, b >> _HALF
    low = a_low * b_low
    middle = a_high * b_low + (low >> _HALF)
    carry = a_low * b_high + (middle & _LOW)
    return a_high * b_high + (middle >> _HALF) + (carry >> _HALF)


def philox_rows(key_0: Any, key_1: Any, ids: Any, out: Any) -> None:
    """Fill row i of `out` with the outputs that belong to id ``ids[i]``.

    key_0, key_1 : uint64.  ids : (b,) uint64.  out : (b, width) uint64, width a multiple of 4.
    """
    blocks = np.uint64(out.shape[1] // 4)
    for i in range(ids.shape[0]):
        base = ids[i] * blocks
        high = _high_product(ids[i], blocks)
        for j in range(out.shape[1] // 4):
            # NumPy's generator counts before it generates: the first output belongs to counter 1.
            counter = base + np.uint64(j) + _ONE
            c0, c1 = counter, high + (_ONE if counter <= base else np.uint64(0))
            c2, c3 = np.uint64(0), np.uint64(0)
            k0, k1 = key_0, key_1
            for _ in range(10):
                high_0, low_0 = _high_product(_MULTIPLIER[0], c0), _MULTIPLIER[0] * c0
                high_1, low_1 = _high_product(_MULTIPLIER[1], c2), _MULTIPLIER[1] * c2
                c0, c1, c2, c3 = high_1 ^ c1 ^ k0, low_1, high_0 ^ c3 ^ k1, low_0
                k0, k1 = k0 + _WEYL[0], k1 + _WEYL[1]
            out[i, 4 * j] = c0
            out[i, 4 * j + 1] = c1
            out[i, 4 * j + 2] = c2
            out[i, 4 * j + 3] = c3
