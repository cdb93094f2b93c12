"""One stored image, from its key alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.config import Config
from daskaug.errors import ConfigError, DaskaugError, SourceError, StoreError
from daskaug.kernels.content import row_hashes
from daskaug.materialize.inspecting import told
from daskaug.materialize.layout import SOURCE_HASH
from daskaug.materialize.place import StoreLike
from daskaug.materialize.recomputing import Keys, Part, differing, open_parts, recompute
from daskaug.materialize.resuming import UNREADABLE
from daskaug.pictures.sheet import Band, draw_sheet
from daskaug.sources import Source
from daskaug.transforms.block import BlockTransform

TILE = 256
"""Pixels of a side of each of the three pictures."""


@dataclasses.dataclass(frozen=True, eq=False)
class Replay:
    """What made a stored image; its text says it in words.

    Attributes
    ----------
    store : str
    row : int
        Of the store.
    source_row : int
        Row of the source that it was made from.
    seed, epoch, sample_id : int
        The key: with the options, all that the parameters hang on.
    copy : int
        Which copy of the source row it is, from 0.
    parameters : dict
        Drawn from the key, by Keras' names: ``theta`` and ``shear`` in degrees, ``tx`` and ``ty`` in pixels, ``zx`` and
        ``zy`` factors, ``flip_horizontal``, ``flip_vertical``, ``channel_shift_intensity`` in grey levels or None,
        ``brightness`` a factor or None.
    columns : dict
        Labels and the like of the row, by the names of their arrays.
    data_format : str
    stored : (h, w, c) or (c, h, w) array
        Pixels as they are stored.
    before, after : (h, w, c) or (c, h, w) array, or None
        The raw image, and what its key makes of it; None where the source cannot be opened.
    agrees : bool or None
        Whether the stored pixels are those; None where that is not known.
    note : str
        Why not, or empty.
    """

    store: str
    row: int
    source_row: int
    seed: int
    epoch: int
    sample_id: int
    copy: int
    parameters: dict[str, Any]
    columns: dict[str, Any]
    data_format: str
    stored: NDArray[Any]
    before: NDArray[Any] | None
    after: NDArray[Any] | None
    agrees: bool | None
    note: str

    @property
    def _lines(self) -> list[str]:
        columns = ", ".join(f"{name} {_brief(value)}" for name, value in self.columns.items())
        lines = [
            f"row {self.row} of {self.store}: copy {self.copy} of source row {self.source_row}"
            + (f"; {columns}" if columns else ""),
            f"key   seed {self.seed}, epoch {self.epoch}, sample id {self.sample_id}",
        ]
        moved = ("theta", "shear", "tx", "ty", "zx", "zy")
        others = tuple(name for name in self.parameters if name not in moved)
        lines += [
            "      " + "  ".join(f"{name} {_brief(self.parameters[name])}" for name in names)
            for names in (moved, others)
        ]
        if self.agrees is None:
            lines.append(f"pixels are not made again: {self.note}")
        else:
            lines.append(f"stored pixels {'are' if self.agrees else 'are NOT'} those that the key makes")
        return lines

    def __str__(self) -> str:
        return "\n".join(self._lines)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {'; '.join(self._lines[:2])}>"

    def draw(self) -> Any:
        """Before, after and stored side by side, with the parameters beneath.

        Returns
        -------
        PIL.Image.Image
        """
        named = [("before", self.before), ("after", self.after), ("stored", self.stored)]
        there = [(name, self._channels_last(image)) for name, image in named if image is not None]
        captions, images = zip(*there, strict=True)
        band = Band("", images, captions, alike=False)  # before and after may be of different ranges
        return draw_sheet([band], tile=TILE, columns=len(images), side=8, lines=self._lines)

    def save(self, path: str | Path) -> None:
        """Write what :meth:`draw` draws to a picture file.

        Parameters
        ----------
        path : path
            Its ending says of which format.
        """
        self.draw().save(path)

    def _channels_last(self, image: NDArray[Any]) -> NDArray[Any]:
        return image if self.data_format == "channels_last" else np.moveaxis(image, 0, -1)


def replay(
    store: StoreLike,
    i: int,
    *,
    source: Any = None,
    preprocessing_function: Callable[..., Any] | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Replay:
    """What made row `i` of a store: its key, the parameters drawn from it, and the image before and after.

    The parameters need nothing but the store's manifest. The pixels are made again where the source can be opened.

    Parameters
    ----------
    store : path, URL or Zarr store
    i : int
        Row of the store; after the rows of a first run come those that were appended.
    source : array, Zarr array, dask array, path, URL or iterator made by a `flow` method, optional
        The images that the store was made from. By default those that the manifest names, if they can be opened.
    preprocessing_function : callable, optional
        The generator's, where the store is standardised and it cannot be imported by its name.
    storage_options : dict, optional
        For URLs.

    Returns
    -------
    Replay

    Raises
    ------
    StoreError
        Where there is no store, or it has no such arrays; where the row is not written yet, or cannot be read.
    ConfigError
        Where there is no such row; for a preprocessing function that has to be handed in.
    SourceError
        Where `source` was given and cannot be opened, or holds other images.
    """
    parts = open_parts(store, storage_options)
    part, row = _find(parts, i, parts[0].address)
    keys, stored, columns, copy = _read(part, row, int(i))
    before = after = agrees = None
    note = ""
    try:
        before = _raw(part, row, keys, part.open_source(source, storage_options))
    except (DaskaugError, OSError, ImportError, IndexError) as error:
        if source is not None:
            raise
        note = str(error)
    if part.overridden:
        note = f"the generator's class overrides {part.overridden}"
    elif before is not None:
        images, _ = recompute(part.transform(preprocessing_function), [before[np.newaxis]], keys)
        after = images[0]
        agrees = not differing(stored[np.newaxis], images, part.is_exact)[0]
    return Replay(
        store=parts[0].address,
        row=int(i),
        source_row=int(keys.source_row[0]),
        seed=int(part.contract["seed"]),
        epoch=int(keys.epoch[0]),
        sample_id=int(keys.sample_id[0]),
        copy=copy,
        parameters=_parameters(part, keys),
        columns=columns,
        data_format=str(part.contract["config"]["data_format"]),
        stored=stored,
        before=before,
        after=after,
        agrees=agrees,
        note=note,
    )


def _read(part: Part, row: int, i: int) -> tuple[Keys, NDArray[Any], dict[str, Any], int]:
    """Key, pixels, columns and copy of a row of a part; `i` is its number for people."""
    number = row // part.layout.shard_rows
    where = f"Row {i} of {part.address} is in shard {number}"
    if not part.manifest.get("complete") and not part.is_committed(number):
        raise StoreError(
            f"{where}, which is not written yet: the run that makes the store has not finished. Run the same "
            "materialize() again, or choose a row of a shard that is there."
        )
    names = [name for name in part.contract["columns"] if name not in ("sample_id", "source_row")]
    try:
        keys = part.keys(slice(row, row + 1))
        stored = np.asarray(part.array("images")[row])
        columns = {name: _plain(part.array(name)[row]) for name in sorted(names)}
        return keys, stored, columns, int(np.asarray(part.array("epoch")[row]))
    except UNREADABLE as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"{where}, which cannot be read: {told(error)}. verify() says what else is damaged; the same "
            "materialize() again, with `recheck`, writes such shards anew."
        ) from error


def _raw(part: Part, row: int, keys: Keys, source: Source) -> NDArray[Any]:
    """The image of the source that a row was made from.

    Raises
    ------
    SourceError
        Where there is another one in its place, as in a folder where files were added before it.
    """
    block = source.take(part.rows_in(source, keys.source_row))
    stored = _source_hash(part, row)
    if stored is not None and (row_hashes(block, keys.source_row)[0] != stored).any():
        raise SourceError(
            f"Row {keys.source_row[0]} of {source.locator} is another image now than the one that this was made from: "
            "it has changed, or rows were added or removed before it. Pass the images as they were, as `source`; for "
            "files, read as they were then."
        )
    return np.asarray(block[0])


def _source_hash(part: Part, row: int) -> NDArray[np.uint64] | None:
    """Of the raw image that a row was made from; None where the store does not say, or that is damaged or lost."""
    try:
        found = np.asarray(part.array(SOURCE_HASH)[row]) if part.has(SOURCE_HASH) else None
    except UNREADABLE:
        return None
    return found if found is not None and found.any() else None


def _find(parts: list[Part], i: int, store: str) -> tuple[Part, int]:
    rows = sum(part.rows for part in parts)
    if not isinstance(i, int | np.integer) or isinstance(i, bool) or not 0 <= i < rows:
        raise ConfigError(f"`i` must be a row of {store}, 0 to {rows - 1}. Received: i={i!r}.")
    left = int(i)
    for part in parts:
        if left < part.rows:
            break
        left -= part.rows
    return part, left


def _parameters(part: Part, keys: Keys) -> dict[str, Any]:
    """The draws alone, for which nothing but options and key is needed."""
    options = part.contract["config"] | {"preprocessing_function": None}
    config = Config.from_dict(options)
    transform = BlockTransform(config, seed=int(part.contract["seed"]), standardize=False)
    return transform.draws_of(part.layout.image_shape, keys.sample_id, int(keys.epoch[0])).row(0)


def _plain(value: Any) -> Any:
    array = np.asarray(value)
    return array.item() if array.ndim == 0 else array


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, np.ndarray):
        return f"of shape {value.shape}"
    return str(value)
