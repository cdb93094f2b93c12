"""Recognising what somebody hands in."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.sources.base import Source
from daskaug.sources.numpy_array import NumpySource

ACCEPTED = "a NumPy array, a Zarr array, a dask array, or the path or URL of a Zarr array"


def open_images(
    x: Any,
    *,
    storage_options: dict[str, Any] | None = None,
    cache: str | os.PathLike[str] | None = None,
    cache_nbytes: int | None = None,
) -> Source:
    """Any array, path or URL as a source of images.

    Parameters
    ----------
    x : array, Zarr array or group, dask array, path, URL or Source
        Rank 4: the samples, then height, width and channels in either order.
    storage_options : dict, optional
        For a URL: what its file system needs (credentials, endpoint, ...).
    cache, cache_nbytes
        Where to keep what is read, and how much of it, as in :meth:`daskaug.ImageDataGenerator.flow`.

    Returns
    -------
    Source
        Nothing but the shape has been read of it.

    Raises
    ------
    SourceError
        For anything else, for another rank, or for values that are no real numbers.
    ConfigError
        For a cache that cannot be.
    """
    if cache is not None or cache_nbytes is not None:
        from daskaug.sources.cached import with_cache

        return with_cache(open_images(x, storage_options=storage_options), cache, cache_nbytes)
    if isinstance(x, Source):
        return x
    if callable(getattr(type(x), "as_source", None)):  # a materialised store
        return open_images(x.as_source())
    if isinstance(x, str | os.PathLike):
        from daskaug.sources.zarr_array import open_path

        x = open_path(os.fspath(x), storage_options)
    home = type(x).__module__.partition(".")[0]
    if home == "zarr" and hasattr(x, "arrays"):
        from daskaug.sources.zarr_array import images_of

        x = images_of(x, str(x.store_path))
    elif home not in ("dask", "zarr") or not isinstance(getattr(x, "shape", None), tuple):
        array = x if isinstance(x, np.ndarray) else _as_array(x)
        _check_images(array)
        return NumpySource(array)
    _check_images(x)
    if home == "dask":
        from daskaug.sources.dask_array import DaskSource, is_zarr_read

        store = is_zarr_read(x)
        if store is None:
            return DaskSource(x)
        x = store
    from daskaug.sources.zarr_array import ZarrSource

    return ZarrSource(x)


def open_column(values: Any, n: int, name: str, beside: Any = None) -> NDArray[Any]:
    """Labels, weights or further inputs, in memory.

    Parameters
    ----------
    values : array-like, Zarr array, dask array, path or URL
        One entry per image, of any rank from 1.
    n : int
        Number of images.
    name : str
        What the caller calls it, for messages.
    beside : optional
        The images, as they were handed in: where that is the path or URL of a group, `values` may be the name of an
        array in it.

    Returns
    -------
    (n, ...) array

    Raises
    ------
    SourceError
        Where the length is another, the entries differ in shape, or there is nothing at the path.
    """
    if isinstance(values, str | os.PathLike):
        group = os.fspath(beside).rstrip("/") if isinstance(beside, str | os.PathLike) else None
        values = _open_column_path(os.fspath(values), name, group)
    home = type(values).__module__.partition(".")[0]
    if home == "dask":
        values = values.compute()
    elif home == "zarr":
        values = values[:]
    try:
        column = np.asarray(values)
    except ValueError as error:
        raise SourceError(f"The entries of `{name}` must have one shape: {error}.") from error
    if column.ndim == 0 or len(column) != n:
        raise SourceError(
            f"`x` (images) and `{name}` should have the same length. Found: {n} images, {name} of shape {column.shape}."
        )
    return column


def _open_column_path(path: str, name: str, group: str | None) -> Any:
    import zarr

    is_name = group is not None and "://" not in path and not os.path.isabs(path)
    for address in (f"{group}/{path}", path) if is_name else (path,):
        with contextlib.suppress(FileNotFoundError, ValueError):
            return zarr.open_array(address, mode="r")
    there = ""
    if group is not None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            arrays = sorted(zarr.open_group(group, mode="r").arrays())
            there = f", nor one of that name in {group}, which has {', '.join(found for found, _ in arrays) or 'none'}"
    raise SourceError(f"There is no Zarr array for `{name}` at {path!r}{there}.")


def _as_array(x: Any) -> NDArray[Any]:
    if getattr(x, "chunks", None) is not None or type(x).__module__.startswith("h5py."):
        # An array on disk: NumPy would load all of it, however large it is.
        raise SourceError(
            f"Images must be {ACCEPTED}; found {type(x).__name__}, which may be larger than memory. Wrap it: "
            "dask.array.from_array(x)."
        )
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
    dtype = np.dtype(x.dtype)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise SourceError(
            f"Images must be real numbers (bool, integer or float) of at most 64 bits. Found dtype {dtype}."
        )
    if isinstance(x, np.ma.MaskedArray):
        raise SourceError("Images must have a value everywhere. Found a masked array; fill it: x.filled(0).")
    if 0 in tuple(x.shape)[1:]:
        raise SourceError(f"Images must have at least one pixel and one channel. Found shape {tuple(x.shape)}.")
