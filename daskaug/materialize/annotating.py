"""What is known about the rows of a store and is no training data: names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from daskaug.errors import StoreError
from daskaug.materialize.layout import MANIFEST


def refuse_existing(store: str | Path, attribute: str) -> None:
    """Refuse a store that is there, unless it is one that an interrupted run left behind.

    Parameters
    ----------
    store : path or URL
    attribute : str
        Name of the attribute that :func:`annotate` writes last.

    Raises
    ------
    StoreError
    """
    try:
        group = zarr.open_group(str(store), mode="r")
    except FileNotFoundError:
        if "://" not in str(store) and os.path.lexists(store):
            raise StoreError(f"{store} exists already and is no Zarr group. Choose another place.") from None
        return
    if MANIFEST not in group.attrs or attribute in group.attrs:
        raise StoreError(f"{store} exists already. Choose another place, or remove it yourself.")


def annotate(store: str | Path, names: Mapping[str, list[str]], attribute: str, facts: dict[str, Any]) -> None:
    """Add arrays of strings to a store, and then an attribute that says where its rows come from.

    Parameters
    ----------
    store : path or URL
    names : mapping of str to list of str
        Name of an array, and what it holds.
    attribute : str
    facts : dict
        JSON values.
    """
    group = zarr.open_group(str(store), mode="r+")
    for name, values in names.items():
        array = group.create_array(
            name, shape=(len(values),), dtype="string", chunks=(max(1, min(len(values), 2**16)),), overwrite=True
        )
        array.with_config({"write_empty_chunks": True})[:] = np.array(values, object)
    group.attrs[attribute] = facts
