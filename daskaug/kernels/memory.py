"""Arrays of any strides as flat memory, for kernels that count elements themselves.

One compiled signature then serves every layout, and a kernel sees when channels lie side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def strides_fit(array: NDArray[Any]) -> bool:
    """Whether the elements lie on a grid of whole elements, where the kernel can count."""
    return bool(array.flags.aligned) and all(stride % array.itemsize == 0 for stride in array.strides)


def flat(array: NDArray[Any]) -> tuple[NDArray[Any], tuple[int, ...]]:
    """The memory under a non-empty array as one flat array.

    Returns
    -------
    memory : (m,) array
        Everything from the first to the last element in memory, writable if `array` is.
    layout : tuple of int
        Position of the first element, and the steps along each axis, in elements.
    """
    steps = tuple(stride // array.itemsize for stride in array.strides)
    if array.flags.c_contiguous:
        return array.reshape(-1), (0, *steps)
    backwards = [step < 0 for step in steps]
    lowest = array[tuple(slice(None, None, -1 if back else 1) for back in backwards)]
    reach = [abs(step) * (size - 1) for step, size in zip(steps, array.shape, strict=True)]
    # Everything between the ends belongs to the same allocation, whatever else lies there.
    memory = np.lib.stride_tricks.as_strided(
        lowest, (sum(reach) + 1,), (array.itemsize,), writeable=array.flags.writeable
    )
    return memory, (sum(r for r, back in zip(reach, backwards, strict=True) if back), *steps)
