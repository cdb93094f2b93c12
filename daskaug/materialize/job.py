"""What is to be written: checked, but nothing of it done."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding
from daskaug.config import Config
from daskaug.errors import ConfigError, SourceError
from daskaug.iterators import Columns, Masks
from daskaug.iterators.columns import RowIds
from daskaug.materialize.copies import Balanced, Copies, Piece, Uniform, classes_of
from daskaug.materialize.layout import (
    DRAW_EPOCH,
    EXTRA,
    SOURCE_HASH,
    STORED_STATISTICS,
    ZCA_DIRECTIONS,
    ZCA_SCALE,
    Cut,
    Layout,
)
from daskaug.materialize.persistence import PersistentReader
from daskaug.materialize.place import Place
from daskaug.materialize.shard_task import WriteShard
from daskaug.overrides import PerImageTransform
from daskaug.seeding import SEEDING_VERSION
from daskaug.sources import BlockReader, Source, join_readers
from daskaug.sources.fingerprint import content_digest, sample_digest
from daskaug.transforms.block import BlockTransform, FittedArrays
from daskaug.transforms.masks import PairTransform
from daskaug.transforms.whitening import Factors


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
    cut : Cut
        Shapes of chunks and shards.
    balance : bool
        Whether rare classes get more copies.
    first_row : int
        Number of the first row of `source` in the whole data set.
    class_indices : mapping of str to int or None
        Names of the classes.

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
    cut: Cut = dataclasses.field(default_factory=Cut)
    balance: bool = False
    first_row: int = 0
    class_indices: Mapping[str, int] | None = None

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
        _check_class_indices(self.class_indices, self.columns.y)
        self.transform.check_images(self.source.shape[1:])
        if self.transform.standardize:
            self.transform.check_fitted()
        if self.balance and int(epochs) * self.copies.most > seeding.SEED_LIMIT:
            raise ConfigError(
                f"epochs={epochs} with up to {self.copies.most} copies of an image in each are more than the "
                f"{seeding.SEED_LIMIT} epochs that draws can be told apart by. Lower `epochs`."
            )

    @functools.cached_property
    def copies(self) -> Copies:
        """Which rows an epoch has."""
        if not self.balance:
            return Uniform(self.source.shape[0])
        return Balanced(classes_of(self.columns.y), np.asarray(self.columns.ids), self.transform.seed)

    @functools.cached_property
    def layout(self) -> Layout:
        """How the rows are cut."""
        dtype = np.dtype(self.transform.config.dtype)
        return Layout.of(self.copies.epoch_rows, int(self.epochs), self.source.shape[1:], dtype, self.cut)

    @functools.cached_property
    def table(self) -> dict[str, Any]:
        """What is stored beside the images, per row of the source; numbers of rows are not all written down here."""
        columns, n = self.columns, self.source.shape[0]
        ids = columns.ids if isinstance(columns.ids, RowIds) else np.asarray(columns.ids)
        table: dict[str, Any] = {"sample_id": ids, "source_row": RowIds(n, self.first_row)}
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
    def stored_columns(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """The arrays beside the images: dtype and shape of one row."""
        stored = {name: (values.dtype, values.shape[1:]) for name, values in self.table.items()}
        stored |= {"epoch": (np.dtype(np.int32), ()), SOURCE_HASH: (np.dtype(np.uint64), (2,))}
        return stored | ({DRAW_EPOCH: (np.dtype(np.int64), ())} if self.balance else {})

    @property
    def arrays(self) -> list[str]:
        """Names of all arrays with a row per stored image, sorted."""
        return sorted([*self.pictures, *self.stored_columns])

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
        if isinstance(self.transform, PerImageTransform):
            contract["overridden"] = list(self.transform.overridden)
        if isinstance(self.copies, Balanced):
            contract["balance"] = self.copies.facts
        if self.first_row:
            contract["first_row"] = self.first_row
        return contract

    def task(self, place: Place) -> WriteShard:
        """What each task does."""
        masks = self.masks
        transform = self.transform if masks is None else PairTransform(self.transform, masks.order, masks.cval)
        return WriteShard(place, transform, self.layout.dtype)

    def inputs(self, numbers: NDArray[np.intp]) -> Iterator[tuple[BlockReader, tuple[Any, ...]]]:
        """What the task of each of these shards works on."""
        sources = [self.source] if self.masks is None else [self.source, self.masks.source]
        for number in map(int, numbers):
            pieces = [self.copies.piece(*piece) for piece in self.layout.pieces(number)]
            rows = np.concatenate([piece.rows for piece in pieces])
            columns = {name: values[rows] for name, values in self.table.items()}
            columns["epoch"] = np.concatenate([np.full(len(piece.rows), piece.epoch, np.int32) for piece in pieces])
            if self.balance:
                drawn = [piece.epoch * self.copies.most + _copy(piece) for piece in pieces]
                columns[DRAW_EPOCH] = np.concatenate(drawn)
            readers = [source.reader(piece.start, piece.stop) for source in sources for piece in pieces]
            picks = [piece.pick for piece in pieces]
            reader = join_readers(readers)
            if any(source.is_far for source in sources):
                reader = PersistentReader(reader)
            yield reader, (number, self.layout.shard(number)[0], columns, picks)


def _check_class_indices(given: Any, y: Any) -> None:
    if given is None:
        return

    def is_number(value: Any) -> bool:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)

    is_whole = isinstance(given, Mapping) and all(isinstance(k, str) and is_number(v) for k, v in given.items())
    if not is_whole or len(set(given.values())) < len(given):
        raise ConfigError(
            "`class_indices` must be a dict of class names and their numbers, as {'cat': 0, 'dog': 1}. Received: "
            f"class_indices={given!r}."
        )
    if y is None:
        raise ConfigError("`class_indices` names the classes in `y`, and there is none. Pass `y` too.")


def _copy(piece: Piece) -> NDArray[np.int64]:
    return np.zeros(len(piece.rows), np.int64) if piece.copy is None else piece.copy
