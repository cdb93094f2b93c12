"""Floats to integers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from daskaug.kernels.compile import compiled


@functools.cache
def _rounding_kernel(values: np.dtype[Any], out: np.dtype[Any]) -> Callable[..., None]:
    from numba import from_dtype, types

    from daskaug.kernels import loops_rounding

    kind, result = from_dtype(values), from_dtype(out)
    return compiled(
        loops_rounding.round_flat,
        types.Array(kind, 1, "C", readonly=True),
        kind,
        kind,
        types.Array(result, 1, "C", readonly=True),
        types.Array(result, 1, "C"),
    )


def round_to_integer(block_float: NDArray[Any], dtype: DTypeLike, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Round to an integer dtype: half to even, saturating, NaN to 0.

    Parameters
    ----------
    block_float : array of float32 or float64
        Any shape and strides.
    dtype : dtype
        Any integer dtype.
    out : array, optional
        Of this dtype and the shape of `block_float`; made if it is not given, in the memory order of `block_float`.

    Returns
    -------
    array of `dtype`
        `out`.

    Raises
    ------
    ValueError
        `dtype` is not an integer dtype, `block_float` is not of floats, or `out` does not fit.
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "iu" or block_float.dtype.name not in ("float32", "float64"):
        raise ValueError(f"only float32 and float64 are rounded, and only to integers: {block_float.dtype} to {dtype}")
    if out is None:
        out = np.empty_like(block_float, dtype, subok=False)
    if out.shape != block_float.shape or out.dtype != dtype:
        raise ValueError(f"out must be {dtype} of shape {block_float.shape}, not {out.dtype} of shape {out.shape}")
    # Where both are the same permutation of contiguous axes, both are flat memory.
    axes = sorted(range(out.ndim), key=lambda axis: -out.strides[axis])
    values, memory = block_float.transpose(axes), out.transpose(axes)
    direct = memory.flags.c_contiguous and memory.flags.aligned and dtype.isnative
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    target = memory if direct else np.empty(memory.shape, dtype.newbyteorder("="))
    limits = np.array((np.iinfo(dtype).min, np.iinfo(dtype).max), target.dtype)
    kind = values.dtype.type
    kernel = _rounding_kernel(values.dtype, target.dtype)
    kernel(values.reshape(-1), kind(limits[0]), kind(limits[1]), limits, target.reshape(-1))
    if target is not memory:
        memory[...] = target
    return out
