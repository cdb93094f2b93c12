"""Writing a materialised store, shard by shard."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec
from zarr.errors import ContainsArrayError

from daskaug.config import Config
from daskaug.errors import ConfigError, SourceError, StoreError
from daskaug.execution import current_executor, run_ordered
from daskaug.iterators import Columns, Masks
from daskaug.materialize.layout import (
    DIGEST,
    EXTRA,
    FORMAT_VERSION,
    MANIFEST,
    STATISTICS,
    STORED_STATISTICS,
    ZCA_DIRECTIONS,
    ZCA_SCALE,
    Layout,
    store_digest,
)
from daskaug.seeding import SEEDING_VERSION
from daskaug.sources import BlockReader, Source, join_readers
from daskaug.sources.fingerprint import content_digest, sample_digest
from daskaug.statistics.whitening.stored import DIGEST as DIRECTIONS_DIGEST
from daskaug.statistics.whitening.stored import digest_of
from daskaug.transforms.block import BlockTransform, FittedArrays
from daskaug.transforms.masks import PairTransform
from daskaug.transforms.whitening import Factors


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


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """What is to be written: checked, but nothing of it done.

    Attributes
    ----------
    source : Source
    columns : Columns
        What belongs to the rows of the source.
    transform : BlockTransform
        From raw images to stored ones.
    config : Config
        Of the generator, with all that a reader needs for standardising.
    fitted : FittedArrays
        Of the generator; stored for the same purpose.
    epochs : int
        Copies of each image.
    masks : Masks or None
        Moved like the images and stored beside them.

    Raises
    ------
    ConfigError
        For bad options, or statistics that do not fit the images.
    SourceError
        Where there are no images, or a column that Zarr cannot store portably.
    """

    source: Source
    columns: Columns
    transform: BlockTransform
    config: Config
    fitted: FittedArrays
    epochs: int
    masks: Masks | None

    def __post_init__(self) -> None:
        epochs = self.epochs
        if not isinstance(epochs, int | np.integer) or isinstance(epochs, bool) or epochs < 1:
            raise ConfigError(f"`epochs` must be an integer, 1 or more. Received: epochs={epochs!r}.")
        if self.source.shape[0] == 0:
            raise SourceError(f"There is nothing to materialise: `x` has shape {tuple(self.source.shape)}.")
        if self.columns.inputs is not None or any(isinstance(v, dict | list) for v in self.table.values()):
            raise SourceError(
                "A store has one array of labels and one of weights, and further inputs without names. Pass `x` as "
                "(images, [extra, ...]), and several outputs as further inputs or as the columns of one array."
            )
        for name, values in self.table.items():
            if values.dtype.kind not in "biuf":
                raise SourceError(
                    f"`{name}` is of dtype {values.dtype}; stored columns are numbers. Number the classes: "
                    "numpy.unique(labels, return_inverse=True)."
                )
        self.transform.check_images(self.source.shape[1:])

    @functools.cached_property
    def layout(self) -> Layout:
        """How the rows are cut."""
        return Layout.of(
            self.source.shape[0], int(self.epochs), self.source.shape[1:], np.dtype(self.transform.config.dtype)
        )

    @functools.cached_property
    def table(self) -> dict[str, NDArray[Any]]:
        """What is stored beside the images, per row of the source."""
        columns, n = self.columns, self.source.shape[0]
        table = {"sample_id": np.asarray(columns.ids), "source_row": np.arange(n)}
        if columns.y is not None:
            table["y"] = columns.y
        if columns.sample_weight is not None:
            table["sample_weight"] = columns.sample_weight
        return table | {f"{EXTRA}{i}": extra for i, extra in enumerate(columns.extras)}

    @functools.cached_property
    def statistics(self) -> dict[str, NDArray[Any]]:
        """The statistics that there are, by their names in the store."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, value in vars(self.fitted).items():
            if isinstance(value, Factors):
                arrays |= {ZCA_DIRECTIONS: value.load(), ZCA_SCALE: value.scale}
            elif value is not None:
                arrays[STORED_STATISTICS[name]] = np.asarray(value)
        return arrays

    @property
    def pictures(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The sharded arrays: dtype and shape of one image."""
        pictures = {"images": (self.layout.dtype, self.layout.image_shape)}
        if self.masks is not None:
            pictures["masks"] = (self.masks.source.dtype.name, self.masks.source.shape[1:])
        return pictures

    @functools.cached_property
    def contract(self) -> dict[str, Any]:
        """What is made, as JSON values: it decides every byte of the decoded store.

        The source is known by the content of a few of its rows. That tells another data set from the same one moved or
        cut otherwise, without reading all of it; each shard's digest covers what was made of the rest.
        """
        contract: dict[str, Any] = {
            "config": self.config.to_dict(),
            "layout": dataclasses.asdict(self.layout) | {"image_shape": list(self.layout.image_shape)},
            "columns": {name: [values.dtype.str, list(values.shape)] for name, values in sorted(self.table.items())},
            "seed": self.transform.seed,
            "seeding_version": SEEDING_VERSION,
            "standardized": self.transform.standardize,
            "statistics_digest": content_digest(self.statistics).hex(),
            "columns_digest": content_digest(self.table).hex(),
            "source_sample": sample_digest(self.source),
        }
        if self.masks is not None:
            contract["masks"] = {
                "dtype": self.masks.source.dtype.name,
                "shape": list(self.masks.source.shape[1:]),
                "order": self.masks.order,
                "cval": self.masks.cval,
                "source_sample": sample_digest(self.masks.source),
            }
        return contract

    def task(self, store: str) -> _WriteShard:
        """What each task does."""
        masks = self.masks
        transform = self.transform if masks is None else PairTransform(self.transform, masks.order, masks.cval)
        return _WriteShard(store, transform, self.layout.dtype)

    def inputs(self, numbers: NDArray[np.intp]) -> Iterator[tuple[BlockReader, tuple[Any, ...]]]:
        """What the task of each of these shards works on."""
        sources = [self.source] if self.masks is None else [self.source, self.masks.source]
        for number in map(int, numbers):
            pieces = list(self.layout.pieces(number))
            rows = np.concatenate([np.arange(start, stop) for _, start, stop in pieces])
            epochs = np.concatenate([np.full(stop - start, epoch, np.int32) for epoch, start, stop in pieces])
            columns = {name: values[rows] for name, values in self.table.items()} | {"epoch": epochs}
            reader = join_readers([source.reader(start, stop) for source in sources for _, start, stop in pieces])
            yield reader, (number, self.layout.shard(number)[0], columns)


def materialize(job: Job, store: str | Path, *, progress: Callable[[int, int], None] | None = None) -> Report:
    """Write what is not there yet; see :meth:`daskaug.ImageDataGenerator.materialize`.

    Parameters
    ----------
    job : Job
    store : path or URL
    progress : callable, optional
        ``progress(rows done, rows in all)``.

    Raises
    ------
    StoreError
        Where the store holds something else.
    """
    began = time.perf_counter()
    store, layout = str(store), job.layout
    group = _open_or_create(store, job)
    digests = np.asarray(_array(group, DIGEST)[:])
    missing = np.flatnonzero(~digests.any(axis=1))
    before = done = layout.rows - sum(stop - start for start, stop in map(layout.shard, missing.tolist()))
    executor = current_executor()
    results = run_ordered(
        executor, job.task(store), job.inputs(missing), name="daskaug-materialize", window=executor.parallelism + 1
    )
    for number, digest in results:
        digests[number] = digest
        start, stop = layout.shard(number)
        done += stop - start
        if progress is not None:
            progress(done, layout.rows)
    store_hash = store_digest(job.contract, digests)
    group.attrs[MANIFEST] = _manifest(group) | {"complete": True, "store_hash": store_hash}
    return Report(store, layout.rows, layout.rows - before, layout.nbytes, time.perf_counter() - began, store_hash)


def _open_or_create(store: str, job: Job) -> zarr.Group:
    """The group to write into: a fresh one, or one that an earlier run of the same work left unfinished."""
    try:
        group = zarr.open_group(store, mode="r+")
    except FileNotFoundError:
        return _create(store, job)
    except ContainsArrayError as error:
        raise StoreError(f"{store} is a Zarr array, not a place for a store. Choose another one.") from error
    manifest = _manifest(group)
    if not manifest:
        raise StoreError(
            f"{store} exists and is no materialised store (its attributes have no {MANIFEST!r}). Nothing was written. "
            "Choose another place, or remove it yourself."
        )
    there = manifest["contract"]
    different = [name for name in there.keys() | job.contract.keys() if there.get(name) != job.contract.get(name)]
    if different:
        lines = "".join(
            f"\n  {name}: {_difference(there.get(name), job.contract.get(name))}" for name in sorted(different)
        )
        raise StoreError(
            f"{store} was made with something else; there, and now:{lines}\nNothing was written. Choose another place "
            "for the new store, or remove the old one yourself."
        )
    return group if manifest["laid_out"] else _lay_out(group, job)


def _difference(there: Any, now: Any) -> str:
    if isinstance(there, dict) and isinstance(now, dict):
        keys = sorted(key for key in there.keys() | now.keys() if there.get(key) != now.get(key))
        return ", ".join(f"{key} {there.get(key)!r} → {now.get(key)!r}" for key in keys)
    return f"{there!r} → {now!r}"


def _create(store: str, job: Job) -> zarr.Group:
    """Make the group. The manifest comes first, so that what a broken attempt leaves behind is known for what it is."""
    contract = job.contract  # reads some images: what fails there must leave nothing behind
    try:
        group = zarr.create_group(store, zarr_format=3)
    except ContainsArrayError as error:
        raise StoreError(f"{store} lies inside of a Zarr array. Choose another place.") from error
    group.attrs[MANIFEST] = {
        "format": FORMAT_VERSION,
        "complete": False,
        "laid_out": False,
        "contract": contract,
        "source": {
            "locator": job.source.locator,
            "shape": list(job.source.shape),
            "dtype": job.source.dtype.str,
        },
        "versions": {name: importlib.metadata.version(name) for name in ("daskaug", "numpy", "scipy", "zarr")},
    }
    return _lay_out(group, job)


def _lay_out(group: zarr.Group, job: Job) -> zarr.Group:
    """Make the empty arrays."""
    layout = job.layout
    for name, (dtype, shape) in job.pictures.items():
        group.create_array(
            name,
            shape=(layout.rows, *shape),
            dtype=dtype,
            chunks=(layout.chunk_rows, *shape),
            shards=(layout.shard_rows, *shape),
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
            overwrite=True,
        )
    for name, values in (job.table | {"epoch": np.empty(0, np.int32)}).items():
        group.create_array(
            name,
            shape=(layout.rows, *values.shape[1:]),
            dtype=values.dtype,
            chunks=(layout.shard_rows, *values.shape[1:]),
            overwrite=True,
        )
    group.create_array(DIGEST, shape=(layout.shards, 32), dtype=np.uint8, chunks=(1, 32), fill_value=0, overwrite=True)
    statistics = group.require_group(STATISTICS)
    for name, value in job.statistics.items():
        array = statistics.create_array(name, data=value, overwrite=True)
        if name == ZCA_DIRECTIONS:
            array.attrs[DIRECTIONS_DIGEST] = digest_of(value)
    group.attrs[MANIFEST] = _manifest(group) | {"laid_out": True}
    return group


def _manifest(group: zarr.Group) -> dict[str, Any]:
    found: Any = group.attrs.get(MANIFEST)
    return dict(found) if isinstance(found, dict) else {}


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise StoreError(f"{group.store}: {name!r} should be an array and is a group. The store is damaged.")
    return found
