"""Counter-based random bits: row i of a table that nobody has to store."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.kernels.compile import compiled


@functools.cache
def _kernel() -> Callable[..., Any]:
    from numba import types

    from daskaug.kernels import loops_philox

    ids = types.Array(types.uint64, 1, "A", readonly=True)
    return compiled(loops_philox.philox_rows, types.uint64, types.uint64, ids, types.Array(types.uint64, 2, "C"))


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
    _kernel()(np.uint64(key[0]), np.uint64(key[1]), ids, out)
    return out
