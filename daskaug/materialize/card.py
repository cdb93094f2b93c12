"""A store on one page."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from daskaug.cards import Fact, lines
from daskaug.materialize.facts import hash_facts, image_facts, needs_statistics, origin_facts, work_facts
from daskaug.materialize.inspecting import object_sizes, told
from daskaug.materialize.layout import CLASS_INDICES, DIGEST
from daskaug.materialize.place import StoreLike
from daskaug.materialize.recomputing import Part, hash_of, open_parts
from daskaug.materialize.resuming import UNREADABLE, read_records

CLASSES = 20
"""Most classes that are counted one by one."""

_WIDTH = 12


def info(store: StoreLike, *, storage_options: dict[str, Any] | None = None) -> str:
    """What a materialised store holds and what made it, as text.

    Sizes of objects are asked for, labels are read; no image is.

    Parameters
    ----------
    store : path, URL or Zarr store
    storage_options : dict, optional
        For URLs.

    Returns
    -------
    str

    Raises
    ------
    StoreError
        Where there is no such store, or what describes it is damaged.
    """
    parts = open_parts(store, storage_options)
    blocks = [_card(part, part.name or part.address) for part in parts]
    if len(parts) > 1:
        rows = sum(part.rows for part in parts)
        about = f"{parts[0].address}: {rows:,} images in {len(parts)} parts"
        blocks[:0] = lines([Fact("store", about), Fact("hash", f"{hash_of(parts)} (of all parts)")], _WIDTH)
    return "\n".join(blocks)


def _card(part: Part, name: str) -> str:
    facts = [
        Fact("store", name),
        Fact("state", _state(part)),
        *hash_facts(part.manifest),
        *image_facts(part.manifest),
        *_arrays(part),
        *_labels(part),
        *work_facts(part.manifest),
        *_statistics(part),
        *origin_facts(part.manifest),
    ]
    return "\n".join(lines(facts, _WIDTH))


def _statistics(part: Part) -> list[Fact]:
    try:
        statistics = part.statistics
    except UNREADABLE as error:
        return [Fact("statistics", _unreadable(error))]
    facts = []
    for name, value in statistics.items():
        shown = np.array2string(np.ravel(value), precision=6, separator=", ", threshold=8)
        facts.append(Fact(name, shown if value.size <= 8 else f"{value.dtype} of shape {value.shape}"))
    if not facts and needs_statistics(part.manifest):
        facts.append(Fact("statistics", "none, and its options need some: the generator had not been fitted"))
    return facts


def _state(part: Part) -> str:
    count = part.layout.shards
    committed, damaged = _committed(part)
    state = "complete" if part.manifest.get("complete") else "NOT complete: run the same materialize() again"
    told = f"; {damaged:,} commit records cannot be read: see verify" if damaged else ""
    return f"{state}; {int(committed.sum()):,} of {count:,} shards{told}"


def _committed(part: Part) -> tuple[NDArray[np.bool_], int]:
    """Which shards are committed, and how many commit records cannot be read."""
    if not part.has(DIGEST):
        return np.zeros(part.layout.shards, np.bool_), 0
    records, damaged = read_records(part.array(DIGEST))
    return np.asarray(records.any(axis=1)), int(damaged.sum())


def _unreadable(error: Exception) -> str:
    return f"cannot be read: {told(error)}; verify says what is damaged"


def _arrays(part: Part) -> list[Fact]:
    """Of each array: what is in it, how it is cut and packed, and what it takes."""
    arrays = {name: array for name, array in sorted(part.group.arrays()) if isinstance(array, zarr.Array)}
    facts = []
    for name, sizes in object_sizes(part.group, arrays).items():
        array = arrays[name]
        shape = "×".join(map(str, array.shape))
        cut = f"chunks of {array.chunks[0]:,}" if array.ndim else "a single value"
        if array.shards:
            cut += f", shards of {array.shards[0]:,}"
        decoded = f"{_mb(array.nbytes)} in " if array.dtype.kind not in "OT" else ""
        stored = _mb(sum(size for size in sizes if size is not None))
        facts.append(Fact(f"  {name}", f"{shape} {array.dtype}, {cut}; {_packing(array)}; {decoded}{stored} stored"))
    return facts


def _packing(array: zarr.Array[Any]) -> str:
    """Names of the codecs between pixels and bytes."""
    names = []
    for codec in array.compressors:
        plain: Any = codec.to_dict() if hasattr(codec, "to_dict") else {"name": type(codec).__name__}
        configuration = plain.get("configuration", {})
        inner = configuration.get("cname") if isinstance(configuration, dict) else None
        level = configuration.get("clevel", configuration.get("level")) if isinstance(configuration, dict) else None
        name = str(plain.get("name"))
        names.append(" ".join(str(each) for each in (name, inner, level) if each is not None))
    return " + ".join(names) or "not compressed"


def _labels(part: Part) -> list[Fact]:
    """How many images of each class, where labels are few whole numbers."""
    if not part.has("y"):
        return []
    try:
        labels = np.asarray(part.array("y")[:])
    except UNREADABLE as error:
        return [Fact("labels", _unreadable(error))]
    so_far = ""
    if not part.manifest.get("complete"):  # what is not written yet reads as zeros
        labels = labels[np.repeat(_committed(part)[0], part.layout.shard_rows)[: len(labels)]]
        so_far = f" (of {len(labels):,} images that are written)"
        if not len(labels):
            return []
    if labels.ndim == 2 and labels.shape[1] > 1 and ((labels == 0) | (labels == 1)).all():
        found, counts = np.arange(labels.shape[1]), labels.sum(axis=0).astype(int)
    elif labels.ndim == 1 and labels.dtype.kind in "biu":
        found, counts = np.unique(labels, return_counts=True)
    else:
        return [Fact("labels", f"{labels.dtype} of shape {labels.shape[1:] or '()'}")]
    if len(found) > CLASSES:
        return [Fact("labels", f"{len(found):,} classes of {counts.min():,} to {counts.max():,} images{so_far}")]
    named = [f"{_name(part, int(label))}: {count:,}" for label, count in zip(found, counts, strict=True)]
    return [Fact("labels", ", ".join(named) + so_far)]


def _name(part: Part, label: int) -> str:
    for name, number in part.manifest.get(CLASS_INDICES, {}).items():
        if number == label:
            return str(name)
    names = part.group.get("class_name")
    if isinstance(names, zarr.Array) and 0 <= label < names.shape[0]:
        with contextlib.suppress(*UNREADABLE):  # damaged: the number will do
            return str(np.asarray(names[label]).item())
    return str(label)


def _mb(nbytes: int) -> str:
    return f"{nbytes / 1e6:,.2f} MB" if nbytes < 1e8 else f"{nbytes / 1e9:,.2f} GB"
