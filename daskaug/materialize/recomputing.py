"""What a store says about itself, as the means to make its rows again."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from daskaug.config import Config
from daskaug.errors import DaskaugError, SourceError, StoreError
from daskaug.materialize.facts import layout_of
from daskaug.materialize.inspecting import damaged_metadata, is_store, open_node
from daskaug.materialize.layout import (
    ARRAYS,
    DIGEST,
    DRAW_EPOCH,
    MANIFEST,
    NBYTES,
    READABLE_VERSIONS,
    STATISTICS,
    Layout,
    joined_hash,
)
from daskaug.materialize.place import Place, StoreLike
from daskaug.materialize.reading import MaterializedStore
from daskaug.materialize.resuming import UNREADABLE, look, read_records
from daskaug.sources import Source, open_images
from daskaug.transforms.block import BlockTransform, FittedArrays
from daskaug.transforms.masks import PairTransform

_AS_INGESTED = (
    "Of a folder or table of files, the options of reading (target size, colour mode) must be those that it was "
    "read with."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Keys:
    """What the pixels of some rows hang on, besides seed and options.

    Attributes
    ----------
    source_row, sample_id, epoch : (b,) integers
    """

    source_row: NDArray[np.int64]
    sample_id: NDArray[Any]
    epoch: NDArray[Any]

    def __getitem__(self, rows: Any) -> Keys:
        return Keys(self.source_row[rows], self.sample_id[rows], self.epoch[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A store, or the rows that were appended to one.

    Attributes
    ----------
    name : str
        Path within the store, empty for the store itself.
    place : Place
    group : zarr.Group
    manifest : dict
    """

    name: str
    place: Place
    group: zarr.Group
    manifest: dict[str, Any]

    @property
    def address(self) -> str:
        """For people."""
        return self.place.address

    @property
    def contract(self) -> dict[str, Any]:
        """What was to be made."""
        return dict(self.manifest["contract"])

    @functools.cached_property
    def layout(self) -> Layout:
        """How the rows are cut."""
        return layout_of(self.manifest)

    @property
    def rows(self) -> int:
        """Stored images."""
        return self.layout.rows

    @property
    def first_row(self) -> int:
        """Number of its first source row in the whole data set."""
        return int(self.contract.get("first_row", 0))

    @property
    def source_rows(self) -> int:
        """Images that they were made from."""
        return int(self.manifest["source"]["shape"][0])

    def array(self, name: str) -> zarr.Array[Any]:
        """One of the arrays.

        Raises
        ------
        StoreError
            Where it is not there, or what describes it is damaged.
        """
        found = self._member(name)
        if not isinstance(found, zarr.Array):
            raise StoreError(f"{self.address} has no array {name!r}; it is damaged.")
        return found

    def has(self, name: str) -> bool:
        """Whether there is such an array."""
        return isinstance(self._member(name), zarr.Array)

    def _member(self, name: str) -> Any:
        try:
            return self.group.get(name)
        except UNREADABLE as error:
            if isinstance(error, StoreError):
                raise
            raise damaged_metadata(f"{self.address}/{name}", error) from error

    def content_names(self) -> list[str]:
        """The arrays that have a row for each stored image, which the commit records cover."""
        if self.has(NBYTES):
            named: Any = self.array(NBYTES).attrs[ARRAYS]
            return list(named)
        masks = ["masks"] if "masks" in self.contract else []
        return ["images", *masks, *sorted(self.contract["columns"]), "epoch"]

    def commit_records(self) -> NDArray[np.uint8]:
        """The digest of each shard's content, (shards, 32); zeros where one is missing or damaged."""
        if self.has(NBYTES):
            return look(self.group, self.content_names(), self.layout).digests
        return read_records(self.array(DIGEST))[0]

    def is_committed(self, number: int) -> bool:
        """Whether a shard has a commit record that can be read."""
        try:
            return bool(np.asarray(self.array(DIGEST)[number]).any())
        except UNREADABLE as error:
            if isinstance(error, StoreError):
                raise
            return False

    def recorded_sizes(self) -> dict[str, NDArray[np.int64]]:
        """Bytes of each array's object per shard, as they were when the shards were committed; empty where unknown.

        All are 0 for a shard whose record is missing or damaged.
        """
        if not self.has(NBYTES):
            return {}
        table, _ = read_records(self.array(NBYTES))
        return {name: table[:, column] for column, name in enumerate(self.content_names())}

    def keys(self, rows: NDArray[np.int64] | slice) -> Keys:
        """The keys of some rows."""
        epoch = DRAW_EPOCH if self.has(DRAW_EPOCH) else "epoch"
        found = (np.asarray(self.array(name)[rows]) for name in ("source_row", "sample_id", epoch))
        return Keys(*found)

    def no_keys(self) -> Keys:
        """The keys of no rows."""
        return Keys(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))

    @functools.cached_property
    def statistics(self) -> dict[str, NDArray[Any]]:
        """The stored statistics by their names in the store."""
        found = self.group.get(STATISTICS)
        return {} if not isinstance(found, zarr.Group) else {n: np.asarray(a[...]) for n, a in found.arrays()}

    @property
    def overridden(self) -> str:
        """Methods that the generator's class replaced, which the options cannot say; empty where it did not."""
        return ", ".join(self.contract.get("overridden", ()))

    def transform(self, preprocessing_function: Callable[..., Any] | None = None) -> BlockTransform:
        """From raw images to stored ones.

        Raises
        ------
        ConfigError
            Where the preprocessing function cannot be imported and was not handed in.
        """
        contract = self.contract
        standardize = bool(contract["standardized"])
        options = dict(contract["config"])
        if not standardize:
            options["preprocessing_function"] = None  # is for readers
            preprocessing_function = None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*overrides setting of", UserWarning)  # said when it was made
            config = Config.from_dict(options, preprocessing_function=preprocessing_function)
            changes = {"dtype": self.layout.dtype} | ({} if standardize else config.without_standardizing())
            config = config.replace(**changes)
        fitted = FittedArrays()
        if standardize:
            fitted = MaterializedStore(self.place, self.group, self.manifest).fitted
        return BlockTransform(config, fitted, int(contract["seed"]), standardize=standardize)

    def pair_transform(self, transform: BlockTransform) -> PairTransform | None:
        """The same for images with their masks, where the store has masks."""
        masks = self.contract.get("masks")
        return None if masks is None else PairTransform(transform, int(masks["order"]), float(masks["cval"]))

    @property
    def is_exact(self) -> bool:
        """Whether recomputing gives the same bits on every machine: no spline and no product of matrices."""
        config = self.contract["config"]
        return config["interpolation_order"] <= 1 and not (self.contract["standardized"] and config["zca_whitening"])

    def open_source(self, source: Any = None, storage_options: dict[str, Any] | None = None) -> Source:
        """The images that it was made from.

        Parameters
        ----------
        source : anything that :func:`daskaug.open_images` takes, or an iterator made by a `flow` method, optional
            By default what the manifest names.
        storage_options : dict, optional
            Where `source` is a URL.

        Raises
        ------
        SourceError
            Where they cannot be opened, or are others.
        """
        stated = self.manifest["source"]
        locator = str(stated["locator"])
        if source is None:
            if "://" not in locator and not locator.startswith("/"):
                raise SourceError(f"The images came from {locator!r}, which has no address. Pass them as `source`.")
            is_local = locator.startswith("file://") or "://" not in locator
            try:
                found = open_images(
                    locator.removeprefix("file://"), storage_options=None if is_local else storage_options
                )
            except (DaskaugError, OSError, ImportError) as error:
                if is_local and Path(locator).is_dir() and not is_store(locator):
                    raise SourceError(
                        f"The images were made from files in {locator}, and the store does not say how those were "
                        f"read. Pass that folder or table as `source`. {_AS_INGESTED}"
                    ) from error
                raise SourceError(
                    f"The images at {locator} cannot be opened as a Zarr store: {str(error).rstrip('.')}. Pass them as "
                    f"`source`. {_AS_INGESTED}"
                ) from error
        elif isinstance(source, str) and "://" in source:
            found = open_images(source, storage_options=storage_options)
        else:
            found = open_images(getattr(source, "source", source))
        there = (list(found.shape[1:]), found.dtype.str)
        if there != (list(stated["shape"][1:]), stated["dtype"]) or found.shape[0] < self.source_rows:
            raise SourceError(
                f"The images at {found.locator} are {found.dtype} of shape {tuple(found.shape)}; the store was made "
                f"from {np.dtype(stated['dtype'])} of shape {tuple(stated['shape'])}. {_AS_INGESTED}"
            )
        return found

    def rows_in(self, source: Source, source_row: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where source rows, which count through the whole data set, lie in a source of all or of these images."""
        has_all = source.shape[0] >= self.first_row + self.source_rows
        return source_row if has_all else source_row - self.first_row


def open_parts(store: StoreLike, storage_options: dict[str, Any] | None = None) -> list[Part]:
    """A store and what was appended to it, finished or not.

    Raises
    ------
    StoreError
        Where there is nothing, something else, a format of another version, or what describes it is damaged.
    """
    place = Place.of(store, storage_options)
    try:
        found = open_node(place)
    except (FileNotFoundError, zarr.errors.NodeNotFoundError) as error:
        raise StoreError(f"There is no Zarr store at {place}.") from error
    manifest: Any = found.attrs.get(MANIFEST) if isinstance(found, zarr.Group) else None
    if not isinstance(found, zarr.Group) or not isinstance(manifest, dict):
        raise StoreError(f"{place} is no materialised store: its attributes have no {MANIFEST!r}.")
    if manifest.get("format") not in READABLE_VERSIONS:
        raise StoreError(
            f"{place} has the format {manifest.get('format')}; this version of daskaug reads the formats "
            f"{', '.join(map(str, READABLE_VERSIONS))}. Use the version that wrote it."
        )
    parts = [_part("", place, found, manifest)]
    for entry in manifest.get("parts", ()):
        path = str(entry["path"])
        group = found.get(path)
        its: Any = group.attrs.get(MANIFEST) if isinstance(group, zarr.Group) else None
        if isinstance(group, zarr.Group) and isinstance(its, dict):
            parts.append(_part(path, place.within(path), group, its))
    return parts


def _part(name: str, place: Place, group: zarr.Group, manifest: dict[str, Any]) -> Part:
    """A part whose manifest can be read."""
    part = Part(name, place, group, dict(manifest))
    try:
        _ = part.layout, part.source_rows, part.contract["columns"], part.contract["config"]
    except UNREADABLE as error:
        raise damaged_metadata(place.address, f"its {MANIFEST!r} lacks or spoils {error}") from error
    return part


def hash_of(parts: list[Part]) -> str | None:
    """The one line for a store with what was appended to it; None where one of them is not complete."""
    hashes = [part.manifest.get("store_hash") if part.manifest.get("complete") else None for part in parts]
    if None in hashes:
        return None
    return str(hashes[0]) if len(hashes) == 1 else joined_hash([str(each) for each in hashes])


def recompute(
    transform: BlockTransform | PairTransform, blocks: list[NDArray[Any]], keys: Keys
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Images, and masks where there are any, as they should be stored.

    Parameters
    ----------
    transform : BlockTransform or PairTransform
    blocks : [images] or [images, masks]
        (b, ...) each, raw.
    keys : Keys
        Of these b rows.
    """
    images: NDArray[Any] | None = None
    masks: NDArray[Any] | None = None
    for epoch in np.unique(keys.epoch):
        chosen = np.flatnonzero(keys.epoch == epoch)
        ids = keys.sample_id[chosen]
        if isinstance(transform, PairTransform):
            made, moved = transform([block[chosen] for block in blocks], ids, int(epoch))
            if masks is None:
                masks = np.empty((len(keys.epoch), *moved.shape[1:]), moved.dtype)
            masks[chosen] = moved
        else:
            made = transform(blocks[0][chosen], ids, int(epoch))
        if images is None:
            images = np.empty((len(keys.epoch), *made.shape[1:]), made.dtype)
        images[chosen] = made
    assert images is not None
    return images, masks


def differing(found: NDArray[Any], made: NDArray[Any], exact: bool) -> NDArray[np.bool_]:
    """Which rows differ: in any bit, or by more than the arithmetic of splines and matrices may."""
    b = len(found)
    if exact:
        found, made = (np.ascontiguousarray(a).reshape(b, -1) for a in (found, made))
        same: NDArray[np.bool_] = (found.view(np.uint8) == made.view(np.uint8)).all(axis=1)
        return ~same
    apart = np.abs(found.astype(np.float64) - made).reshape(b, -1).max(axis=1)
    largest = float(np.abs(made.astype(np.float64)).max(initial=0))
    wide: NDArray[np.bool_] = apart > (1 if found.dtype.kind in "iu" else 1e-3 * max(largest, 1e-30))
    return wide
