"""How well an order is shuffled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shuffle_quality(rows: NDArray[Any], n: int) -> float:
    """How far apart in storage the neighbours of an order lie, from 0 for the stored order to 1 for a random one.

    Parameters
    ----------
    rows : (k,) integers
        The order, or its beginning: which row comes when.
    n : int
        Rows that are ordered.

    Returns
    -------
    float
        ``(d - 1) / ((n + 1) / 3 - 1)``, at most 1, where `d` is the mean distance ``|rows[i + 1] - rows[i]|`` of
        neighbours. The stored order has ``d = 1``; in a uniformly random permutation the expected value of `d` is
        ``(n + 1) / 3``, and its standard deviation, as a share of that, about ``0.7 / sqrt(n)``. A block shuffle that
        mixes m of many units comes to about ``1 - 1 / m``: so often is the next row from another unit. Fewer than three
        rows cannot be told apart; they count as 0.
    """
    if n < 3 or len(rows) < 2:
        return 0.0
    distance = float(np.abs(np.diff(rows.astype(np.int64))).mean())
    return min(1.0, max(0.0, (distance - 1) / ((n + 1) / 3 - 1)))
