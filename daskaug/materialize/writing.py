"""Writing a materialised store, shard by shard."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from daskaug.config import Config
from daskaug.errors import ConfigError, StoreError
from daskaug.execution import current_executor, run_ordered
from daskaug.iterators import Columns, Masks
from daskaug.materialize.layout import (
    DIGEST,
    EXTRA,
    FORMAT_VERSION,
    MANIFEST,
    STATISTICS,
    Layout,
    content_digest,
    store_digest,
)
from daskaug.seeding import SEEDING_VERSION
from daskaug.sources import BlockReader, Source, join_readers
from daskaug.transforms.block import BlockTransform
from daskaug.transforms.masks import PairTransform


@dataclasses.dataclass(frozen=True)
class Report:
    """What :meth:`daskaug.ImageDataGenerator.materialize` did.

    Attributes
    ----------
    store : str
        Where it wrote.
    rows : int
        Images in the store.
    rows_written : int
        Of these, the ones that this call computed.
    nbytes : int
        Decoded bytes of the images.
    seconds : float
    store_hash : str
        Equal for equal stores.
    """

    store: str
    rows: int
    rows_written: int
    nbytes: int
    seconds: float
    store_hash: str


@dataclasses.dataclass(frozen=True, eq=False)
class _WriteShard:
    """Task: from the raw images of a shard to the shard. Doing it twice leaves the same store."""

    store: str
    transform: BlockTransform | PairTransform
    dtype: str

    @property
    def uses_blas(self) -> bool:
        return self.transform.uses_blas

    def __call__(
        self, blocks: list[NDArray[Any]], number: int, start: int, columns: dict[str, NDArray[Any]]
    ) -> tuple[int, NDArray[np.uint8]]:
        """blocks: raw images, one array per run of consecutive source rows, then masks.  start: row in the store."""
        made: dict[str, list[NDArray[Any]]] = {"images": [], "masks": []}
        runs = len(blocks) // 2 if isinstance(self.transform, PairTransform) else len(blocks)
        position = 0
        for run, block in enumerate(blocks[:runs]):
            ids = columns["sample_id"][position : position + len(block)]
            epoch = int(columns["epoch"][position])
            if isinstance(self.transform, PairTransform):
                images, masks = self.transform([block, blocks[runs + run]], ids, epoch)
                made["masks"].append(masks)
            else:
                images = self.transform(block, ids, epoch)
            made["images"].append(images.astype(self.dtype, copy=False))
            position += len(block)
        content = {name: np.concatenate(parts) for name, parts in made.items() if parts} | columns
        group = zarr.open_group(self.store, mode="r+")
        for name, values in content.items():
            # A chunk of zeros is content like any other: left out, it could not be told from one never written.
            _array(group, name).with_config({"write_empty_chunks": True})[start : start + len(values)] = values
        digest = np.frombuffer(content_digest(content), np.uint8)
        _array(group, DIGEST)[number] = digest
        return number, digest


def materialize(
    source: Source,
    transform: BlockTransform,
    columns: Columns,
    store: str | Path,
    *,
    masks: Masks | None = None,
    config: Config,
    epochs: int,
    seed: int,
    standardized: bool,
    dtype: np.dtype[Any],
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Write `epochs` transformed copies of a source; see :meth:`daskaug.ImageDataGenerator.materialize`.

    Parameters
    ----------
    source : Source
    transform : BlockTransform
        From raw images to stored ones; its `seed` is `seed`.
    columns : Columns
        What belongs to the rows of the source.
    store : path or URL
    masks : Masks, optional
        Moved like the images and stored beside them.
    config : Config
        Of the generator, with all that a reader needs for standardising.
    epochs, seed : int
    standardized : bool
        Whether `transform` standardises.
    dtype : dtype
        Of the stored images.
    progress : callable, optional
        ``progress(rows done, rows in all)``.
    """
    if not isinstance(epochs, int | np.integer) or isinstance(epochs, bool) or epochs < 1:
        raise ConfigError(f"`epochs` must be an integer, 1 or more. Received: epochs={epochs!r}.")
    began = time.perf_counter()
    layout = Layout.of(source.shape[0], int(epochs), source.shape[1:], dtype)
    table = _table(columns, layout)
    contract = _contract(config, transform, layout, table, seed, standardized)
    if masks is not None:
        contract["masks"] = {
            "dtype": masks.source.dtype.name,
            "shape": list(masks.source.shape[1:]),
            "order": masks.order,
            "cval": masks.cval,
        }
    group = _open_or_create(str(store), layout, contract, table, source, transform)
    digests = np.asarray(_array(group, DIGEST)[:])
    missing = np.flatnonzero(~digests.any(axis=1))
    executor = current_executor()
    results = run_ordered(
        executor,
        _WriteShard(
            str(store), transform if masks is None else PairTransform(transform, masks.order, masks.cval), dtype.name
        ),
        _tasks([source] if masks is None else [source, masks.source], layout, table, missing),
        name="daskaug-materialize",
        window=executor.parallelism + 1,
    )
    done = layout.rows - sum(stop - start for start, stop in map(layout.shard, missing.tolist()))
    before = done
    for number, digest in results:
        digests[number] = digest
        start, stop = layout.shard(number)
        done += stop - start
        if progress is not None:
            progress(done, layout.rows)
    store_hash = store_digest(contract, digests)
    group.attrs[MANIFEST] = _manifest(group) | {"complete": True, "store_hash": store_hash}
    return Report(str(store), layout.rows, layout.rows - before, layout.nbytes, time.perf_counter() - began, store_hash)


def _table(columns: Columns, layout: Layout) -> dict[str, NDArray[Any]]:
    """What is stored beside the images, per row of the source."""
    table = {"sample_id": np.asarray(columns.ids), "source_row": np.arange(layout.n)}
    if columns.y is not None:
        table["y"] = columns.y
    if columns.sample_weight is not None:
        table["sample_weight"] = columns.sample_weight
    return table | {f"{EXTRA}{i}": extra for i, extra in enumerate(columns.extras)}


def _contract(
    config: Config,
    transform: BlockTransform,
    layout: Layout,
    table: dict[str, NDArray[Any]],
    seed: int,
    standardized: bool,
) -> dict[str, Any]:
    """What is made, as JSON values: with the content of the source it decides every byte of the decoded store."""
    fitted = {name: value for name, value in vars(transform.fitted).items() if value is not None}
    return {
        "config": config.to_dict(),
        "layout": dataclasses.asdict(layout) | {"image_shape": list(layout.image_shape)},
        "columns": {name: [values.dtype.str, list(values.shape)] for name, values in sorted(table.items())},
        "seed": seed,
        "seeding_version": SEEDING_VERSION,
        "standardized": standardized,
        "statistics_digest": content_digest(fitted).hex() if fitted else None,
        "columns_digest": hashlib.sha256(content_digest(table)).hexdigest(),
    }


def _open_or_create(
    store: str,
    layout: Layout,
    contract: dict[str, Any],
    table: dict[str, NDArray[Any]],
    source: Source,
    transform: BlockTransform,
) -> zarr.Group:
    """The group to write into: a fresh one, or one that an earlier run of the same work left unfinished."""
    try:
        group = zarr.open_group(store, mode="r+")
    except FileNotFoundError:
        return _create(store, layout, contract, table, source, transform)
    manifest = _manifest(group)
    if not manifest:
        raise StoreError(
            f"{store} exists and is no materialised store (its attributes have no {MANIFEST!r}). Nothing was written. "
            "Choose another place, or remove it yourself."
        )
    different = [name for name in contract if manifest["contract"].get(name) != contract[name]]
    if different:
        lines = "".join(
            f"\n  {name}: {_difference(manifest['contract'].get(name), contract[name])}" for name in different
        )
        raise StoreError(
            f"{store} was made with something else; there, and now:{lines}\nNothing was written. Choose another place "
            "for the new store, or remove the old one yourself."
        )
    return group


def _difference(there: Any, now: Any) -> str:
    if isinstance(there, dict) and isinstance(now, dict):
        keys = sorted(key for key in there.keys() | now.keys() if there.get(key) != now.get(key))
        return ", ".join(f"{key} {there.get(key)!r} → {now.get(key)!r}" for key in keys)
    return f"{there!r} → {now!r}"


def _create(
    store: str,
    layout: Layout,
    contract: dict[str, Any],
    table: dict[str, NDArray[Any]],
    source: Source,
    transform: BlockTransform,
) -> zarr.Group:
    """Make the group and its empty arrays; the manifest comes last, so half a layout is no store."""
    group = zarr.create_group(store, zarr_format=3)
    pictures = {"images": (layout.dtype, layout.image_shape)}
    if "masks" in contract:
        pictures["masks"] = (contract["masks"]["dtype"], tuple(contract["masks"]["shape"]))
    for name, (dtype, shape) in pictures.items():
        group.create_array(
            name,
            shape=(layout.rows, *shape),
            dtype=dtype,
            chunks=(layout.chunk_rows, *shape),
            shards=(layout.shard_rows, *shape),
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
        )
    for name, values in (table | {"epoch": np.empty(0, np.int32)}).items():
        group.create_array(
            name,
            shape=(layout.rows, *values.shape[1:]),
            dtype=values.dtype,
            chunks=(layout.shard_rows, *values.shape[1:]),
        )
    group.create_array(DIGEST, shape=(layout.shards, 32), dtype=np.uint8, chunks=(1, 32), fill_value=0)
    statistics = group.create_group(STATISTICS)
    for name, value in vars(transform.fitted).items():
        if value is not None:
            statistics.create_array(name, data=np.asarray(value))
    group.attrs[MANIFEST] = {
        "format": FORMAT_VERSION,
        "complete": False,
        "contract": contract,
        "source": {"locator": source.locator, "shape": list(source.shape), "dtype": source.dtype.str},
        "versions": {name: importlib.metadata.version(name) for name in ("daskaug", "numpy", "scipy", "zarr")},
    }
    return group


def _tasks(
    sources: list[Source], layout: Layout, table: dict[str, NDArray[Any]], numbers: NDArray[np.intp]
) -> Iterator[tuple[BlockReader, tuple[Any, ...]]]:
    for number in map(int, numbers):
        pieces = list(layout.pieces(number))
        rows = np.concatenate([np.arange(start, stop) for _, start, stop in pieces])
        epochs = np.concatenate([np.full(stop - start, epoch, np.int32) for epoch, start, stop in pieces])
        columns = {name: values[rows] for name, values in table.items()} | {"epoch": epochs}
        reader = join_readers([source.reader(start, stop) for source in sources for _, start, stop in pieces])
        yield reader, (number, layout.shard(number)[0], columns)


def _manifest(group: zarr.Group) -> dict[str, Any]:
    found: Any = group.attrs.get(MANIFEST)
    return dict(found) if isinstance(found, dict) else {}


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise StoreError(f"{group.store}: {name!r} should be an array and is a group. The store is damaged.")
    return found
