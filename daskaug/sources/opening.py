"""Recognising what somebody hands in."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.sources.base import Source
from daskaug.sources.numpy_array import NumpySource

ACCEPTED = "a NumPy array, a Zarr array, a dask array, or the path or URL of a Zarr array"


def open_images(x: Any, *, storage_options: dict[str, Any] | None = None) -> Source:
    """Any array, path or URL as a source of images.

    Parameters
    ----------
    x : array, Zarr array, dask array, path, URL or Source
        Rank 4: the samples, then height, width and channels in either order.
    storage_options : dict, optional
        For a URL: what its file system needs (credentials, endpoint, ...).

    Returns
    -------
    Source

    Raises
    ------
    SourceError
        For anything else, for another rank, or for values that are no real numbers.
    """
    if isinstance(x, Source):
        return x
    if isinstance(x, str | os.PathLike):
        from daskaug.sources.zarr_array import open_path

        x = open_path(os.fspath(x), storage_options)
    _check_images(x if hasattr(x, "dtype") and hasattr(x, "shape") else (x := _as_array(x)))
    home = type(x).__module__.partition(".")[0]
    if home == "dask":
        from daskaug.sources.dask_array import DaskSource, is_zarr_read

        store = is_zarr_read(x)
        if store is None:
            return DaskSource(x)
        x, home = store, "zarr"
    if home == "zarr":
        from daskaug.sources.zarr_array import ZarrSource

        return ZarrSource(x)
    return NumpySource(x if isinstance(x, np.ndarray) else _as_array(x))


def open_column(values: Any, n: int, name: str) -> NDArray[Any]:
    """Labels, weights or further inputs, in memory.

    Parameters
    ----------
    values : array-like, Zarr array, dask array, path or URL
        One entry per image, of any rank from 1.
    n : int
        Number of images.
    name : str
        What the caller calls it, for messages.

    Returns
    -------
    (n, ...) array

    Raises
    ------
    SourceError
        Where the length is another.
    """
    if isinstance(values, str | os.PathLike):
        values = _open_column_path(os.fspath(values), name)
    home = type(values).__module__.partition(".")[0]
    if home == "dask":
        values = values.compute()
    elif home == "zarr":
        values = values[:]
    column = np.asarray(values)
    if column.ndim == 0 or len(column) != n:
        raise SourceError(
            f"`x` (images) and `{name}` should have the same length. Found: {n} images, {name} of shape {column.shape}."
        )
    return column


def _open_column_path(path: str, name: str) -> Any:
    import zarr

    try:
        return zarr.open_array(path, mode="r")
    except (FileNotFoundError, ValueError) as error:
        raise SourceError(f"There is no Zarr array for `{name}` at {path!r}.") from error


def _as_array(x: Any) -> NDArray[Any]:
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise SourceError(f"Images must be {ACCEPTED}; found {type(x).__name__}: {error}.") from error
    if array.dtype == object:
        raise SourceError(f"Images must be {ACCEPTED}; found {type(x).__name__}.")
    return array


def _check_images(x: Any) -> None:
    if len(x.shape) != 4:
        hint = " For grey images add the channels: x[..., np.newaxis]." if len(x.shape) == 3 else ""
        raise SourceError(
            "Images must have rank 4: (samples, height, width, channels), or channels before height and width. Found "
            f"shape {tuple(x.shape)}.{hint}"
        )
    if np.dtype(x.dtype).kind not in "biuf":
        raise SourceError(f"Images must be real numbers (bool, integer or float). Found dtype {x.dtype}.")
    if 0 in tuple(x.shape)[1:]:
        raise SourceError(f"Images must have at least one pixel and one channel. Found shape {tuple(x.shape)}.")
