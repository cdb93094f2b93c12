"""What is known about the rows of a store and is no training data: names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from daskaug.errors import StoreError
from daskaug.materialize.codecs import column_codecs
from daskaug.materialize.layout import MANIFEST
from daskaug.materialize.place import Place, StoreLike


def refuse_existing(store: StoreLike | Place, *, storage_options: dict[str, Any] | None = None) -> None:
    """Refuse a place that holds something else than a materialised store: what an earlier run has made of it.

    Parameters
    ----------
    store : path, URL or Zarr store
    storage_options : dict, optional
        For a URL: what its file system needs.

    Raises
    ------
    StoreError
    """
    place = Place.of(store, storage_options)
    try:
        group = place.open_group()
    except FileNotFoundError:
        if place.plain is not None and os.path.lexists(place.plain):
            raise StoreError(f"{place} exists already and is no Zarr group. Choose another place.") from None
        return
    if MANIFEST not in group.attrs:
        raise StoreError(f"{place} exists already, and was not made of files. Choose another place.")


def annotate(
    store: StoreLike | Place,
    names: Mapping[str, list[str]],
    attribute: str,
    facts: dict[str, Any],
    *,
    storage_options: dict[str, Any] | None = None,
) -> None:
    """Add arrays of strings to a store, and then an attribute that says where its rows come from.

    Parameters
    ----------
    store : path, URL or Zarr store
    names : mapping of str to list of str
        Name of an array, and what it holds.
    attribute : str
    facts : dict
        JSON values.
    storage_options : dict, optional
        For a URL: what its file system needs.
    """
    group = Place.of(store, storage_options).open_group("r+")
    for name, values in names.items():
        array = group.create_array(
            name,
            shape=(len(values),),
            dtype="string",
            chunks=(max(1, min(len(values), 2**16)),),
            compressors=column_codecs(),
            overwrite=True,
        )
        array.with_config({"write_empty_chunks": True})[:] = np.array(values, object)
    group.attrs[attribute] = facts
