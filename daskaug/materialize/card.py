"""A store on one page."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from daskaug.config import Config
from daskaug.materialize.inspecting import object_sizes, told
from daskaug.materialize.layout import DIGEST
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
        blocks.insert(0, _line("hash", f"{hash_of(parts)} (of all parts)"))
        blocks.insert(0, _line("store", f"{parts[0].address}: {rows:,} images in {len(parts)} parts"))
    return "\n".join(blocks)


def _card(part: Part, name: str) -> str:
    manifest, contract, layout = part.manifest, part.contract, part.layout
    lines = [_line("store", name), _line("state", _state(part))]
    if manifest.get("complete"):
        lines.append(_line("hash", str(manifest.get("store_hash"))))
    size = "×".join(map(str, layout.image_shape))
    copies = f"{part.source_rows:,} of the source × {layout.epochs} copies"
    if layout.n != part.source_rows:
        copies = f"made from {part.source_rows:,} of the source, {layout.epochs} epochs of {layout.n:,}"
    lines.append(_line("images", f"{part.rows:,} of {size} {layout.dtype}, {copies}"))
    lines += _arrays(part)
    lines += _labels(part)
    pixels = "standardised" if contract["standardized"] else "augmented, to be standardised by the reader"
    lines.append(_line("pixels", pixels))
    lines.append(_line("seed", f"{contract['seed']} (seeding version {contract['seeding_version']})"))
    lines.append(_line("options", ", ".join(_options(contract["config"])) or "all at their defaults"))
    try:
        statistics = part.statistics
    except UNREADABLE as error:
        statistics = {}
        lines.append(_line("statistics", _unreadable(error)))
    for statistic, value in statistics.items():
        shown = np.array2string(np.ravel(value), precision=6, separator=", ", threshold=8)
        lines.append(_line(statistic, shown if value.size <= 8 else f"{value.dtype} of shape {value.shape}"))
    lines += _source(part)
    lines.append(_line("versions", ", ".join(f"{k} {v}" for k, v in manifest.get("versions", {}).items())))
    return "\n".join(lines)


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


def _arrays(part: Part) -> list[str]:
    """A line for each array: what is in it, how it is cut and packed, and what it takes."""
    arrays = {name: array for name, array in sorted(part.group.arrays()) if isinstance(array, zarr.Array)}
    lines = []
    for name, sizes in object_sizes(part.group, arrays).items():
        array = arrays[name]
        shape = "×".join(map(str, array.shape))
        cut = f"chunks of {array.chunks[0]:,}" if array.ndim else "a single value"
        if array.shards:
            cut += f", shards of {array.shards[0]:,}"
        decoded = f"{_mb(array.nbytes)} in " if array.dtype.kind not in "OT" else ""
        stored = _mb(sum(size for size in sizes if size is not None))
        lines.append(_line(f"  {name}", f"{shape} {array.dtype}, {cut}; {_packing(array)}; {decoded}{stored} stored"))
    return lines


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


def _labels(part: Part) -> list[str]:
    """How many images of each class, where labels are few whole numbers."""
    if not part.has("y"):
        return []
    try:
        labels = np.asarray(part.array("y")[:])
    except UNREADABLE as error:
        return [_line("labels", _unreadable(error))]
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
        return [_line("labels", f"{labels.dtype} of shape {labels.shape[1:] or '()'}")]
    if len(found) > CLASSES:
        return [_line("labels", f"{len(found):,} classes of {counts.min():,} to {counts.max():,} images{so_far}")]
    named = [f"{_name(part, int(label))}: {count:,}" for label, count in zip(found, counts, strict=True)]
    return [_line("labels", ", ".join(named) + so_far)]


def _name(part: Part, label: int) -> str:
    names = part.group.get("class_name")
    if isinstance(names, zarr.Array) and 0 <= label < names.shape[0]:
        with contextlib.suppress(*UNREADABLE):  # damaged: the number will do
            return str(np.asarray(names[label]).item())
    return str(label)


def _options(config: dict[str, Any]) -> list[str]:
    """What differs from the defaults; a function by its name."""
    function = config.get("preprocessing_function")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one option overrides another: said when it was made
        made = Config.from_dict(config | {"preprocessing_function": None})
    shown = repr(made).removeprefix("Config(").removesuffix(")")
    named = [shown] if shown else []
    if isinstance(function, dict):
        named.append(f"preprocessing_function={function['module']}.{function['qualname']}")
    return named


def _source(part: Part) -> list[str]:
    stated = part.manifest["source"]
    size = "×".join(map(str, stated["shape"][1:]))
    content = f"{part.contract['source_sample']} (of some rows)"
    if "content" in stated:
        content = f"{stated['content']} ({stated['rows_hashed']:,} rows)"
    return [
        _line("source", f"{stated['locator']}: {stated['shape'][0]:,} of {size} {np.dtype(stated['dtype'])}"),
        _line("  content", content),
    ]


def _line(name: str, text: str) -> str:
    return f"{name:{_WIDTH}} {text}"


def _mb(nbytes: int) -> str:
    return f"{nbytes / 1e6:,.2f} MB" if nbytes < 1e8 else f"{nbytes / 1e9:,.2f} GB"
