"""What a task does: from the raw images of a shard to the shard."""

from __future__ import annotations

import dataclasses
import functools
import sys
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from daskaug import stopping
from daskaug.errors import StoreError
from daskaug.kernels.content import row_hashes
from daskaug.materialize.layout import ARRAYS, DIGEST, DRAW_EPOCH, MANIFEST, NBYTES, SOURCE_HASH, contract_digest
from daskaug.materialize.persistence import PersistentStore
from daskaug.materialize.place import Place
from daskaug.sources.fingerprint import content_digest
from daskaug.stages import stage
from daskaug.transforms.block import BlockTransform
from daskaug.transforms.masks import PairTransform

WORK_NBYTES = 16 * 2**20
"""What images are computed in, float32 or float64, of those that are transformed together."""


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
    contract : str or None
        Digest of the contract of the store that the shard is for; None where nobody else can write to it.
    """

    place: Place
    transform: BlockTransform | PairTransform
    dtype: str
    contract: str | None = None

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
            Raw images, one array per run of consecutive source rows, then masks. Emptied when they are not needed any
            more, for encoding takes memory of its own.
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
        self._check_contract(group)
        content = self.content(blocks, columns, picks)
        blocks.clear()
        # A chunk of zeros is content like any other: left out, it could not be told from one never written.
        arrays = {name: array_of(group, name).with_config({"write_empty_chunks": True}) for name in content}
        keys = {name: object_key(array, number) for name, array in arrays.items()}
        store_of(group).replaced |= set(keys.values())
        with stage("write", len(content["source_row"]), content["images"].nbytes):
            for name, values in content.items():
                stopping.check()  # what is written so far has no commit record, and is written over by the next run
                arrays[name][start : start + len(values)] = values
            digest = np.frombuffer(content_digest(content), np.uint8)
            for name, spare in self._spare.items():
                if name in content:
                    spare.append(content[name])
            self._commit(group, number, {name: store_of(group).written[key] for name, key in keys.items()}, digest)
        return number, digest

    def _check_contract(self, group: zarr.Group) -> None:
        """A task of a run that was given up may come late, when there is another store in the same place."""
        manifest: Any = group.attrs.get(MANIFEST)
        if self.contract is None or contract_digest(manifest["contract"]) == self.contract:
            return
        raise StoreError(
            f"{self.place} is not the store any more that this run began: another one has taken its place. Nothing of "
            "this shard was written. Choose another place for one of them."
        )

    def content(
        self, blocks: list[NDArray[Any]], columns: dict[str, NDArray[Any]], picks: list[NDArray[np.int64] | None]
    ) -> dict[str, NDArray[Any]]:
        """The decoded arrays of a shard; images and masks may lie where those of an earlier shard did."""
        rows = len(columns["source_row"])
        arrays = {"images": self._empty("images", (rows, *blocks[0].shape[1:]), np.dtype(self.dtype))}
        if isinstance(self.transform, PairTransform):
            masks = blocks[len(picks)]
            arrays["masks"] = self._empty("masks", (rows, *masks.shape[1:]), masks.dtype)
        hashes = np.empty((rows, 2), np.uint64)
        position = 0
        for run, pick in enumerate(picks):
            own = blocks[run :: len(picks)]
            length = len(own[0]) if pick is None else len(pick)
            part = slice(position, position + length)
            described = {name: values[part] for name, values in columns.items()}
            hashes[part] = _hashes(own[0], described["source_row"], pick)
            self._transform(own, described, pick, [made[part] for made in arrays.values()])
            position += length
        return arrays | columns | {SOURCE_HASH: hashes}

    @functools.cached_property
    def _spare(self) -> dict[str, list[NDArray[Any]]]:
        """Arrays of shards that are written: fresh memory of this size takes up to a tenth of a shard's time to get."""
        return {"images": [], "masks": []}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_spare"}

    def _empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array with anything in it."""
        try:
            array = self._spare[name].pop()
        except IndexError:
            return np.empty(shape, dtype)
        return array[: shape[0]] if len(array) >= shape[0] else np.empty(shape, dtype)

    def _transform(
        self,
        blocks: list[NDArray[Any]],
        columns: dict[str, NDArray[Any]],
        pick: NDArray[np.int64] | None,
        made: list[NDArray[Any]],
    ) -> None:
        """Fill `made`, the images of a run and their masks."""
        ids, step = columns["sample_id"], self._rows_at_a_time(blocks[0].shape[1:])
        epochs = columns["epoch" if pick is None else DRAW_EPOCH]
        for epoch in np.unique(epochs):
            chosen = np.flatnonzero(epochs == epoch)
            for start in range(0, len(chosen), step):
                stopping.check()
                piece = chosen[start : start + step]
                if pick is None:  # one epoch, and all of its rows: nothing has to be gathered
                    part: Any = slice(int(piece[0]), int(piece[-1]) + 1)
                    raw = [block[part] for block in blocks]
                else:
                    part, raw = piece, [block[pick[piece]] for block in blocks]
                for array, values in zip(made, self._apply(raw, ids[part], int(epoch)), strict=True):
                    array[part] = values

    def _rows_at_a_time(self, image_shape: tuple[int, ...]) -> int:
        """How many images are transformed together.

        Those of a whole shard would be computed in hundreds of megabytes of fresh memory, which takes as long to get
        as the arithmetic does. Products of large matrices stay whole: their last bits depend on how they are cut.
        """
        transform = self.transform.images if isinstance(self.transform, PairTransform) else self.transform
        row_nbytes = int(np.prod(image_shape)) * transform.work_dtype.itemsize
        return sys.maxsize if self.uses_blas else max(1, WORK_NBYTES // row_nbytes)

    def _apply(self, blocks: list[NDArray[Any]], ids: NDArray[Any], epoch: int) -> tuple[NDArray[Any], ...]:
        if isinstance(self.transform, PairTransform):
            return self.transform(blocks, ids, epoch)
        return (self.transform(blocks[0], ids, epoch),)

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
