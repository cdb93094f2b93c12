"""Opening a materialised store as a source of training data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from daskaug import seeding
from daskaug.cards import BAD, GOOD, Described, Drawing, Fact, State, one_line, shape_text
from daskaug.config import Config
from daskaug.errors import IncompleteStoreError, NotFittedError, StoreError
from daskaug.iterators import BatchIterator, Columns, Masks, SourceIterator
from daskaug.materialize.facts import origin_facts, work_facts
from daskaug.materialize.joined import JoinedSource
from daskaug.materialize.layout import (
    ARRAYS,
    CLASS_INDICES,
    DIGEST,
    EXTRA,
    MANIFEST,
    NBYTES,
    READABLE_VERSIONS,
    STATISTICS,
    STORED_STATISTICS,
    ZCA_DIRECTIONS,
    ZCA_SCALE,
    joined_hash,
)
from daskaug.materialize.place import Place, StoreLike, sizes_of
from daskaug.materialize.shard_task import array_of, object_key
from daskaug.planning.order import Shuffle
from daskaug.sources import Source, open_images
from daskaug.sources.fingerprint import content_digest
from daskaug.statistics.whitening.plan import STORED_NBYTES
from daskaug.statistics.whitening.stored import DIGEST as DIRECTIONS_DIGEST
from daskaug.statistics.whitening.stored import StoredDirections
from daskaug.transforms.block import BlockTransform, FittedArrays
from daskaug.transforms.whitening import Factors


class MaterializedIterator(SourceIterator):
    """Batches from a materialised store: epoch e shows the copies of epoch e, and starts over after the last.

    Parameters
    ----------
    source, transform, columns
        As for :class:`daskaug.iterators.SourceIterator`.
    copies : int
        Epochs in the store.
    sizes : sequence of int
        Rows of an epoch in each of the parts that the store consists of.
    columns_by_epoch : bool
        Whether the rows of an epoch are others than those of the next, so that columns have one entry per stored row.
    class_indices : dict, optional
        Names of the classes and their numbers.
    **options
        As for :class:`daskaug.iterators.SourceIterator`.
    """

    def __init__(
        self,
        source: Source,
        transform: Any,
        columns: Columns,
        *,
        copies: int,
        sizes: Sequence[int],
        columns_by_epoch: bool,
        class_indices: dict[str, int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(source, transform, columns, **options)
        self.class_indices = class_indices
        self._copies, self._by_epoch = copies, columns_by_epoch
        self._sizes = np.array(sizes, np.int64)
        self._starts = np.cumsum(self._sizes) - self._sizes

    def _rows_read(self, rows: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        part = np.searchsorted(self._starts, rows, side="right") - 1
        # The epochs of a part lie one after the other, and then those of the next part.
        earlier = self._starts[part] * (self._copies - 1)
        return np.asarray(rows + earlier + self._sizes[part] * (epoch % self._copies))

    def _entries(self, rows: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        return self._rows_read(rows, epoch) if self._by_epoch else rows

    def _take_seed(self, seed: int) -> None:
        BatchIterator._take_seed(self, seed)  # of the order alone: the pixels are made already


class MaterializedStore(Described):
    """A finished store: images, labels and weights, and what made them.

    It is made by :func:`daskaug.open_materialized`.

    Attributes
    ----------
    images : Source
        All copies, (epochs · n, ...).
    n : int
        Images of one epoch: those of the source, or more where classes were balanced.
    epochs : int
        Copies.
    masks : Source or None
        All copies of the masks.
    labels, sample_weight : (n, ...) array or None
        Of the first epoch; where classes were balanced, of all epochs one after the other, (epochs · n, ...).
    class_indices : dict or None
        Names of the classes and their numbers, where the images came from files or `materialize` was told them.
    parts : tuple of MaterializedStore
        What was appended. Images, labels and so on are those of the store itself and then of each part.
    config : Config
        Of the generator.
    manifest : dict
        Everything the store says of itself.
    """

    def __init__(
        self, place: Place, group: zarr.Group, manifest: dict[str, Any], parts: tuple[MaterializedStore, ...] = ()
    ) -> None:
        self.place, self.parts = place, parts
        self.store = place.address
        self.manifest = manifest
        self._group = group
        self._contract = manifest["contract"]
        self._sizes: list[int] = [int(self._contract["layout"]["n"]), *(part.n for part in parts)]
        self._is_balanced = "balance" in self._contract
        self.n: int = sum(self._sizes)
        self.epochs = int(self._contract["layout"]["epochs"])
        images: list[Source] = [open_images(group["images"]), *(part.images for part in parts)]
        self.images: Source = images[0] if len(images) == 1 else JoinedSource(images)
        self.masks = open_images(group["masks"]) if "masks" in self._contract else None
        self.labels = self._column("y")
        self.sample_weight = self._column("sample_weight")
        self.class_indices: dict[str, int] | None = manifest.get(CLASS_INDICES)

    @property
    def store_hash(self) -> str:
        """Equal for equal stores; it covers what was appended."""
        own = str(self.manifest["store_hash"])
        return joined_hash([own, *(part.store_hash for part in self.parts)]) if self.parts else own

    @property
    def config(self) -> Config:
        """The generator's options."""
        return Config.from_dict(self._contract["config"])

    @property
    def fitted(self) -> FittedArrays:
        """The statistics that the generator had.

        Raises
        ------
        StoreError
            Others lie there now.
        """
        statistics = self._group[STATISTICS]
        assert isinstance(statistics, zarr.Group)
        arrays = dict(statistics.arrays())
        directions = arrays.pop(ZCA_DIRECTIONS, None)
        stored = {name: np.asarray(array[...]) for name, array in arrays.items()}
        if directions is None and content_digest(stored).hex() != self._contract["statistics_digest"]:
            raise StoreError(
                f"The statistics in {self.store} are not those that it was made with; batches would be standardised "
                "with wrong numbers. Run the same materialize() again, which writes them anew."
            )
        fitted = FittedArrays(**{ours: stored.get(theirs) for ours, theirs in STORED_STATISTICS.items()})
        if directions is None:
            return fitted
        plain = self.place.plain
        kept: NDArray[Any] | StoredDirections
        if plain is not None and 4 * directions.size > STORED_NBYTES:
            digest, shape = str(directions.attrs[DIRECTIONS_DIGEST]), (directions.shape[0], directions.shape[1])
            kept = StoredDirections(f"{plain}/{STATISTICS}/{ZCA_DIRECTIONS}", digest, shape)
        else:
            kept = np.asarray(directions[...])
        return dataclasses.replace(fitted, whitening=Factors(kept, stored[ZCA_SCALE]))

    def flow(
        self,
        batch_size: int = 32,
        shuffle: bool | str = True,
        seed: int | None = None,
        *,
        statistics: FittedArrays | None = None,
        preprocessing_function: Any = None,
        shuffle_unit: int | None = None,
        shuffle_mix: int | None = None,
        shard: tuple[int, int] | None = None,
        drop_last: bool = False,
        with_ids: bool = False,
        cache: str | Path | None = None,
        cache_nbytes: int | None = None,
        memory_budget: int | None = None,
        transform_on: str | None = None,
    ) -> MaterializedIterator:
        """Batches for training; images are standardised with the stored statistics unless they already are.

        Parameters
        ----------
        batch_size : int
        shuffle : bool or {"global", "block", "none"}
            As in :meth:`daskaug.ImageDataGenerator.flow`.
        seed : int, optional
            Of the order.
        statistics : FittedArrays, optional
            To standardise with, in place of the stored ones.
        preprocessing_function : callable, optional
            The generator's, where it cannot be imported by its name.
        shuffle_unit, shuffle_mix, shard, drop_last, with_ids, cache, cache_nbytes, memory_budget, transform_on
            As in :meth:`daskaug.ImageDataGenerator.flow`.

        Returns
        -------
        MaterializedIterator
            Epoch e shows copy ``e % epochs``.

        Raises
        ------
        NotFittedError
            Where the generator had no statistics when it wrote the store.
        """
        standardizes = not self._contract["standardized"]
        functions = {"preprocessing_function": preprocessing_function} if standardizes else {}
        options = dict(self._contract["config"])
        if not standardizes:
            options |= {"preprocessing_function": None}
        config = Config.from_dict(options, **functions)
        seed_used = seeding.fresh_seed() if seed is None else seeding.check_seed(seed)
        fitted = statistics or self.fitted
        if standardizes and config.needs_statistics and fitted.mean is None and fitted.whitening is None:
            raise NotFittedError(
                f"The generator that wrote {self.store} had not been fitted, so that there is nothing to standardise "
                "with. Fit a generator with datagen.fit(store) and stream with datagen.flow(store.images), or pass "
                "statistics=."
            )
        transform = BlockTransform(config, fitted, self._contract["seed"], augment=False, standardize=standardizes)
        columns = Columns(
            ids=self._required("sample_id"),
            y=self.labels,
            sample_weight=self.sample_weight,
            extras=self._extras(),
        )
        return MaterializedIterator(
            self.images,
            transform,
            columns,
            copies=self.epochs,
            sizes=self._sizes,
            columns_by_epoch=self._is_balanced,
            class_indices=self.class_indices,
            rows=(0, self.n),
            batch_size=batch_size,
            shuffle=Shuffle.of(shuffle, random_access=False, unit=shuffle_unit, mix=shuffle_mix),
            seed=seed,
            seed_used=seed_used,
            dtype=config.dtype,
            masks=None if self.masks is None else Masks(self.masks),
            shard=shard,
            drop_last=drop_last,
            with_ids=with_ids,
            cache=cache,
            cache_nbytes=cache_nbytes,
            memory_budget=memory_budget,
            transform_on=transform_on,
        )

    def _column(self, name: str) -> NDArray[Any] | None:
        array = self._group.get(name)
        if not isinstance(array, zarr.Array):
            if name in self._contract["columns"]:
                raise StoreError(f"{self.store} has lost its array {name!r}: see `daskaug verify`, and restore it.")
            return None
        own = np.asarray(array[:] if self._is_balanced else array[: self._sizes[0]])
        return np.concatenate([own, *(part._required(name) for part in self.parts)]) if self.parts else own

    def _required(self, name: str) -> NDArray[Any]:
        column = self._column(name)
        if column is None:
            raise StoreError(f"{self.store} has no array {name!r}; it is damaged.")
        return column

    def _extras(self) -> tuple[NDArray[Any], ...]:
        names = sorted(
            (n for n in self._contract["columns"] if n.startswith(EXTRA)), key=lambda n: int(n[len(EXTRA) :])
        )
        return tuple(self._required(name) for name in names)

    def as_source(self) -> Source:
        """All copies of the images: what ``fit``, ``flow`` and the like take the store for.

        Returns
        -------
        Source
            Of epochs · n images.
        """
        return self.images

    def __len__(self) -> int:
        return self.n * self.epochs

    def _card_facts(self) -> list[Fact]:
        shape, dtype = shape_text(self.images.shape[1:]), self.images.dtype
        columns = {"labels": self.labels, "weights": self.sample_weight}
        beside = [
            Fact(name, f"{values.dtype} of shape {values.shape}", "")
            for name, values in columns.items()
            if values is not None
        ]
        if self.masks is not None:
            beside.append(Fact("masks", f"{shape_text(self.masks.shape)} {self.masks.dtype}", ""))
        told = [*work_facts(self.manifest), *origin_facts(self.manifest)]
        return [
            Fact("images", f"{self.n:,} × {self.epochs} copies", f"{self.n} images × {self.epochs} copies"),
            Fact("each", f"{shape} {dtype}", f"{shape} {dtype}"),
            *(dataclasses.replace(fact, in_line="") for fact in self.images._card_facts() if fact.name == "stored"),
            *beside,
            *(Fact(fact.name.strip(), fact.text, "") for fact in told),
            Fact("at", self.store, ""),
            Fact("hash", self.store_hash, f"hash {self.store_hash[:12]}"),
        ]

    def _card_state(self) -> State:
        return State("complete", GOOD) if self.manifest["complete"] else State("incomplete", BAD)

    def _card_drawing(self) -> Drawing | None:
        return self.images._card_drawing()

    def __repr__(self) -> str:
        return f"<MaterializedStore {self.store}: {one_line(self._card_facts())}>"


def open_materialized(
    store: StoreLike | Place, *, storage_options: dict[str, Any] | None = None, allow_incomplete: bool = False
) -> MaterializedStore:
    """Open a store that :meth:`daskaug.ImageDataGenerator.materialize` wrote.

    Parameters
    ----------
    store : path, URL or Zarr store
    storage_options : dict, optional
        For a URL: what its file system needs (credentials, endpoint, ...).
    allow_incomplete : bool
        Open it although it is not finished; missing images read as zeros.

    Returns
    -------
    MaterializedStore
        Of images, nothing has been read.

    Raises
    ------
    FileNotFoundError
        Where there is nothing.
    StoreError
        Where it is something else, or cannot be reached.
    IncompleteStoreError
        Where a run has not finished.
    """
    place = Place.of(store, storage_options)
    group = place.open_group()
    manifest: Any = group.attrs.get(MANIFEST)
    if not isinstance(manifest, dict):
        raise StoreError(f"{place} is no materialised store: its attributes have no {MANIFEST!r}.")
    if manifest["format"] not in READABLE_VERSIONS:
        raise StoreError(
            f"{place} has the format {manifest['format']}; this version of daskaug reads the formats "
            f"{', '.join(map(str, READABLE_VERSIONS))}. Use the version that wrote it."
        )
    if not manifest["complete"]:
        if not allow_incomplete:
            digests = group.get(DIGEST)
            found = np.asarray(digests[:]) if isinstance(digests, zarr.Array) else np.zeros((0, 32), np.uint8)
            raise IncompleteStoreError(
                f"{place} is not complete: {found.any(axis=1).sum()} of {len(found)} shards are there. Run the same "
                "materialize(), or `daskaug ingest`, again to finish it, or pass allow_incomplete=True."
            )
        manifest = manifest | {"store_hash": "incomplete"}
    elif not allow_incomplete:
        _refuse_lost(place, group)
    parts = [open_materialized(place.within(part["path"])) for part in manifest.get("parts", ())]
    return MaterializedStore(place, group, manifest, tuple(parts))


def _refuse_lost(place: Place, group: zarr.Group) -> None:
    """Refuse a finished store of which objects are gone: Zarr would read black images in their place.

    Raises
    ------
    StoreError
    """
    records = group.get(NBYTES)
    if not isinstance(records, zarr.Array):  # of format 1
        return
    names: Any = records.attrs[ARRAYS]
    objects = [(name, number) for name in names for number in range(records.shape[0])]
    arrays = {name: array_of(group, name) for name in names}
    sizes = sizes_of(group, [object_key(arrays[name], number) for name, number in objects])
    lost = [where for where, size in zip(objects, sizes, strict=True) if size < 0]
    if lost:
        name, number = lost[0]
        raise StoreError(
            f"{place} has lost {len(lost)} of its {len(objects)} objects, the first is shard {number} of {name!r}. Run "
            "the same materialize(), or `daskaug ingest`, again, which makes them anew, or pass allow_incomplete=True."
        )
