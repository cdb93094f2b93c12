"""Counter-based random bits: row i of a table that nobody has to store."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.kernels.compile import compiled


@functools.cache
def _rows_kernel() -> Callable[..., Any]:
    from numba import types

    from daskaug.kernels import loops_philox

    ids = types.Array(types.uint64, 1, "A", readonly=True)
    return compiled(loops_philox.philox_rows, types.uint64, types.uint64, ids, types.Array(types.uint64, 2, "C"))


@functools.cache
def _doubles_kernel() -> Callable[..., Any]:
    from numba import types

    from daskaug.kernels import loops_philox

    keys = types.Array(types.uint64, 2, "C", readonly=True)
    ids = types.Array(types.uint64, 1, "A", readonly=True)
    return compiled(loops_philox.philox_doubles, keys, ids, types.Array(types.float64, 3, "C"))


def warm() -> None:
    """Compile both kernels, or load them from the cache on disk."""
    _rows_kernel()
    _doubles_kernel()


def philox_rows(key: tuple[int, int], ids: NDArray[np.uint64], width: int) -> NDArray[np.uint64]:
    """Raw outputs of Philox4x64-10 for each id.

    Parameters
    ----------
    key : pair of int
        The 128-bit key as two 64-bit words, low word first.
    ids : (b,) uint64
        Rows asked for, in any order.
    width : int
        Outputs per row, a multiple of 4.

    Returns
    -------
    (b, width) uint64
        Row i holds outputs ``ids[i] * width`` to ``(ids[i] + 1) * width`` of ``numpy.random.Philox(key=key)``.
    """
    out = np.empty((len(ids), width), np.uint64)
    _rows_kernel()(np.uint64(key[0]), np.uint64(key[1]), ids, out)
    return out


def philox_doubles(keys: NDArray[np.uint64], ids: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Rows of width 4 under several keys, as doubles.

    Parameters
    ----------
    keys : (o, 2) uint64
        As for :func:`philox_rows`.
    ids : (b,) uint64

    Returns
    -------
    (o, b, 4) float64
        The upper 53 bits of each output, times 2**-53: in [0, 1), and exact on every machine.
    """
    out = np.empty((len(keys), len(ids), 4))
    _doubles_kernel()(keys, ids, out)
    return out
