"""Philox4x64-10 in numba; imported only by :mod:`daskaug.kernels.philox`.

The algorithm and its constants: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11.
``numpy.random.Philox`` is the oracle.
"""

from __future__ import annotations

from typing import Any

import numba
import numba.extending
import numpy as np
from llvmlite import ir
from numba import types

_ONE = np.uint64(1)
_UNUSED, _SPACING = np.uint64(11), 2.0**-53  # a double has 53 bits
_MULTIPLIER = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
_WEYL = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B))


@numba.extending.intrinsic  # type: ignore[untyped-decorator]
def _high_product(typing_context: Any, a: Any, b: Any) -> Any:
    """Upper 64 bits of the product of two uint64 numbers, for which processors have an instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        double = ir.IntType(128)
        first, second = (builder.zext(argument, double) for argument in arguments)
        return builder.trunc(builder.lshr(builder.mul(first, second), double(64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _four_outputs(key_0: Any, key_1: Any, row: Any, blocks: Any, j: Any) -> Any:
    """Block `j` of a row that is `blocks` long."""
    base = row * blocks
    # NumPy's generator counts before it generates: the first output belongs to counter 1.
    counter = base + j + _ONE
    c0, c1 = counter, _high_product(row, blocks) + (_ONE if counter <= base else np.uint64(0))
    c2, c3 = np.uint64(0), np.uint64(0)
    k0, k1 = key_0, key_1
    for _ in range(10):
        high_0, low_0 = _high_product(_MULTIPLIER[0], c0), _MULTIPLIER[0] * c0
        high_1, low_1 = _high_product(_MULTIPLIER[1], c2), _MULTIPLIER[1] * c2
        c0, c1, c2, c3 = high_1 ^ c1 ^ k0, low_1, high_0 ^ c3 ^ k1, low_0
        k0, k1 = k0 + _WEYL[0], k1 + _WEYL[1]
    return c0, c1, c2, c3


def philox_rows(key_0: Any, key_1: Any, ids: Any, out: Any) -> None:
    """Fill row i of `out` with the outputs that belong to id ``ids[i]``.

    key_0, key_1 : uint64.  ids : (b,) uint64.  out : (b, width) uint64, width a multiple of 4.
    """
    blocks = np.uint64(out.shape[1] // 4)
    for i in range(ids.shape[0]):
        for j in range(out.shape[1] // 4):
            c0, c1, c2, c3 = _four_outputs(key_0, key_1, ids[i], blocks, np.uint64(j))
            out[i, 4 * j] = c0
            out[i, 4 * j + 1] = c1
            out[i, 4 * j + 2] = c2
            out[i, 4 * j + 3] = c3


def philox_doubles(keys: Any, ids: Any, out: Any) -> None:
    """Fill ``out[o, i]`` with the outputs of key o that belong to id ``ids[i]``, as doubles in [0, 1).

    keys : (o, 2) uint64.  ids : (b,) uint64.  out : (o, b, 4) float64.
    """
    for o in range(keys.shape[0]):
        for i in range(ids.shape[0]):
            c0, c1, c2, c3 = _four_outputs(keys[o, 0], keys[o, 1], ids[i], _ONE, np.uint64(0))
            out[o, i, 0] = np.float64(c0 >> _UNUSED) * _SPACING
            out[o, i, 1] = np.float64(c1 >> _UNUSED) * _SPACING
            out[o, i, 2] = np.float64(c2 >> _UNUSED) * _SPACING
            out[o, i, 3] = np.float64(c3 >> _UNUSED) * _SPACING
