"""What a task does: from the raw images of a shard to the shard."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from daskaug.errors import StoreError
from daskaug.kernels.content import row_hashes
from daskaug.materialize.layout import ARRAYS, DIGEST, DRAW_EPOCH, NBYTES, SOURCE_HASH
from daskaug.materialize.persistence import PersistentStore
from daskaug.materialize.place import Place
from daskaug.sources.fingerprint import content_digest
from daskaug.transforms.block import BlockTransform
from daskaug.transforms.masks import PairTransform


@dataclasses.dataclass(frozen=True, eq=False)
class WriteShard:
    """Task: from the raw images of a shard to the shard. Doing it twice leaves the same store.

    Attributes
    ----------
    place : Place
        Of the store.
    transform : BlockTransform or PairTransform
    dtype : str
        Of the stored images.
    """

    place: Place
    transform: BlockTransform | PairTransform
    dtype: str

    @property
    def uses_blas(self) -> bool:
        """Asked by the executor."""
        return self.transform.uses_blas

    def __call__(
        self,
        blocks: list[NDArray[Any]],
        number: int,
        start: int,
        columns: dict[str, NDArray[Any]],
        picks: list[NDArray[np.int64] | None],
    ) -> tuple[int, NDArray[np.uint8]]:
        """Make and write the shard.

        Parameters
        ----------
        blocks : list of arrays
            Raw images, one array per run of consecutive source rows, then masks.
        number : int
            Of the shard.
        start : int
            Its first row in the store.
        columns : dict of (b, ...) arrays
            What belongs to its rows.
        picks : list of (b,) int64 or None
            For each run, which of its images each stored row is made of: see :class:`daskaug.materialize.copies.Piece`.
        """
        group = open_to_write(self.place)  # a store that is gone costs no work
        content = self.content(blocks, columns, picks)
        # A chunk of zeros is content like any other: left out, it could not be told from one never written.
        arrays = {name: array_of(group, name).with_config({"write_empty_chunks": True}) for name in content}
        keys = {name: object_key(array, number) for name, array in arrays.items()}
        store_of(group).replaced |= set(keys.values())
        for name, values in content.items():
            arrays[name][start : start + len(values)] = values
        digest = np.frombuffer(content_digest(content), np.uint8)
        self._commit(group, number, {name: store_of(group).written[key] for name, key in keys.items()}, digest)
        return number, digest

    def content(
        self, blocks: list[NDArray[Any]], columns: dict[str, NDArray[Any]], picks: list[NDArray[np.int64] | None]
    ) -> dict[str, NDArray[Any]]:
        """The decoded arrays of a shard."""
        made: dict[str, list[NDArray[Any]]] = {"images": [], "masks": []}
        hashes = []
        position = 0
        for run, pick in enumerate(picks):
            own = blocks[run :: len(picks)]
            length = len(own[0]) if pick is None else len(pick)
            part = {name: values[position : position + length] for name, values in columns.items()}
            hashes.append(_hashes(own[0], part["source_row"], pick))
            made["images"].append(self._transformed(own, part, pick, made["masks"]))
            position += length
        arrays = {name: np.concatenate(parts) for name, parts in made.items() if parts}
        return arrays | columns | {SOURCE_HASH: np.concatenate(hashes)}

    def _transformed(
        self,
        blocks: list[NDArray[Any]],
        columns: dict[str, NDArray[Any]],
        pick: NDArray[np.int64] | None,
        masks: list[NDArray[Any]],
    ) -> NDArray[Any]:
        """The images of a run; their masks are added to `masks`."""
        ids = columns["sample_id"]
        if pick is None:
            images, moved = self._apply(blocks, ids, int(columns["epoch"][0]))
        else:
            images, moved = np.empty((len(pick), *blocks[0].shape[1:]), self.dtype), None
            if len(blocks) > 1:
                moved = np.empty((len(pick), *blocks[1].shape[1:]), blocks[1].dtype)
            for epoch in np.unique(columns[DRAW_EPOCH]):
                chosen = np.flatnonzero(columns[DRAW_EPOCH] == epoch)
                raw = [block[pick[chosen]] for block in blocks]
                images[chosen], some = self._apply(raw, ids[chosen], int(epoch))
                if moved is not None:
                    moved[chosen] = some
        if moved is not None:
            masks.append(moved)
        return images

    def _apply(
        self, blocks: list[NDArray[Any]], ids: NDArray[Any], epoch: int
    ) -> tuple[NDArray[Any], NDArray[Any] | None]:
        if isinstance(self.transform, PairTransform):
            images, masks = self.transform(blocks, ids, epoch)
            return images.astype(self.dtype, copy=False), masks
        return self.transform(blocks[0], ids, epoch).astype(self.dtype, copy=False), None

    def _commit(self, group: zarr.Group, number: int, sizes: dict[str, int], digest: NDArray[np.uint8]) -> None:
        """Write down that the shard is there: the sizes of its objects, and last its digest."""
        records = array_of(group, NBYTES)
        names: Any = records.attrs[ARRAYS]
        records[number] = [sizes[name] for name in names]
        array_of(group, DIGEST)[number] = digest


def _hashes(block: NDArray[Any], source_rows: NDArray[np.int64], pick: NDArray[np.int64] | None) -> NDArray[np.uint64]:
    """Of each stored row, the hash of the raw image that it was made of."""
    if pick is None:
        return row_hashes(block, source_rows)
    start = int(source_rows[0] - pick[0])
    return row_hashes(block, np.arange(start, start + len(block)))[pick]


def open_to_write(place: Place) -> zarr.Group:
    """The group, which must be there.

    Raises
    ------
    StoreError
        Where it is not, any more or on this machine.
    """
    try:
        return place.open_group("r+")
    except FileNotFoundError as error:
        raise StoreError(
            f"{place} is not there (any more). If it was moved or removed during the run, call again with the place "
            "where it is now; on a cluster, every worker must see it."
        ) from error


def store_of(group: zarr.Group) -> PersistentStore:
    """The store of a group that a place has opened."""
    assert isinstance(group.store, PersistentStore)
    return group.store


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array of a store.

    Raises
    ------
    StoreError
        Where there is none.
    """
    found = group.get(name)
    if not isinstance(found, zarr.Array):
        raise StoreError(
            f"{group.store_path}: there is no array {name!r}. The store is damaged: restore it, or materialise into "
            "another place."
        )
    return found


def object_key(array: zarr.Array[Any], number: int) -> str:
    """Key of the object that holds a shard's rows of an array."""
    place = (number, *(0 for _ in array.shape[1:]))
    return f"{array.path}/{array.metadata.encode_chunk_key(place)}"
