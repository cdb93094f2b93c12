"""What belongs to the rows beside the images, and the checks of what is handed to ``flow``."""

from __future__ import annotations

import dataclasses
import os
import warnings
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daskaug.config import Config
from daskaug.errors import ConfigError, SourceError
from daskaug.sources import Source, open_column, open_images


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """What belongs to the rows beside the images; everything in memory and of the same length.

    Attributes
    ----------
    ids : (n,) integers, or RowIds
        Sample ids, which key the draws.
    y, sample_weight : array or None
    extras : tuple of arrays
        Further model inputs.
    """

    ids: Any
    y: NDArray[Any] | None = None
    sample_weight: NDArray[Any] | None = None
    extras: tuple[NDArray[Any], ...] = ()

    def pack(self, images: NDArray[Any], rows: NDArray[np.int64], masks: NDArray[Any] | None = None) -> Any:
        """A batch as Keras hands it out: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``; `x` may be a list.

        Masks take the place of `y`, or stand beside it: ``[y, masks]``.
        """
        x: Any = [images, *(extra[rows] for extra in self.extras)] if self.extras else images
        y = self.targets(images, rows)
        if masks is not None:
            y = masks if y is None else [y, masks]
        if y is None:
            return x
        return (x, y) if self.sample_weight is None else (x, y, self.sample_weight[rows])

    def targets(self, images: NDArray[Any], rows: NDArray[np.int64]) -> Any:
        """What the model is to learn about the rows; `images` are what it is shown."""
        return None if self.y is None else self.y[rows]

    def stored(self) -> Columns:
        """The columns as arrays, for a store."""
        return self


def open_input(x: Any, y: Any, sample_weight: Any, ids: ArrayLike | None) -> tuple[Source, Columns]:
    """What was handed in as a source and its columns.

    Parameters
    ----------
    x : images, or a tuple (images, extra) or (images, [extra, ...]), or an iterator made by ``flow``
        An iterator stands for all that it iterates over: its images, labels, weights and ids.
    y, sample_weight : array-like, optional
        An iterator's own by default.
    ids : (n,) integers, optional
        By default an iterator's own, or the row.

    Raises
    ------
    SourceError
        For the wrong rank, dtype or length.
    """
    if isinstance(x, _HasColumns):
        return x.source, _replaced(x, y, sample_weight, ids)
    extras: tuple[Any, ...] = ()
    is_pair = isinstance(x, tuple | list) and len(x) == 2
    if is_pair and (isinstance(x[0], str | os.PathLike | Source) or len(getattr(x[0], "shape", ())) == 4):
        x, extra = x
        extras = tuple(extra) if isinstance(extra, list | tuple) else (extra,)
    source = open_images(x)
    n = source.shape[0]
    return source, Columns(
        ids=sample_ids(ids, n),
        y=None if y is None else open_column(y, n, "y"),
        sample_weight=None if sample_weight is None else open_column(sample_weight, n, "sample_weight"),
        extras=tuple(open_column(extra, n, f"x[1][{i}]") for i, extra in enumerate(extras)),
    )


@runtime_checkable
class _HasColumns(Protocol):
    """An iterator over a source."""

    n: int
    source: Source
    columns: Columns


def _replaced(iterator: _HasColumns, y: Any, sample_weight: Any, ids: ArrayLike | None) -> Columns:
    """The columns of an iterator, with those that were given in place of its own."""
    n = iterator.source.shape[0]
    if iterator.n != n:
        raise SourceError(
            f"The iterator goes over {iterator.n} of the {n} images of its source. Pass those images themselves: "
            "x[start:stop]."
        )
    given: dict[str, Any] = {
        "y": None if y is None else open_column(y, n, "y"),
        "sample_weight": None if sample_weight is None else open_column(sample_weight, n, "sample_weight"),
        "ids": None if ids is None else sample_ids(ids, n),
    }
    kept = iterator.columns if given["y"] is not None else iterator.columns.stored()
    if given["y"] is not None:
        kept = Columns(kept.ids, None, kept.sample_weight, kept.extras)
    return dataclasses.replace(kept, **{name: value for name, value in given.items() if value is not None})


@dataclasses.dataclass(frozen=True, eq=False)
class Masks:
    """Masks beside the images of a source.

    Attributes
    ----------
    source : Source
        As many rows as the images, of the same height and width, with channels of its own.
    order : int
    cval : float
    """

    source: Source
    order: int = 0
    cval: float = 0.0

    @classmethod
    def of(cls, masks: Any, images: Source, config: Config, order: int, cval: float) -> Masks | None:
        """Open and check what was handed in; None where there are none.

        Raises
        ------
        SourceError
            Where they do not fit the images.
        ConfigError
            For a bad order or cval.
        """
        if masks is None or isinstance(masks, Masks):
            return masks
        source = open_images(masks)
        for axis in (0, config.row_axis, config.col_axis):
            if source.shape[axis] != images.shape[axis]:
                raise SourceError(
                    f"`masks` must have as many rows, and the height and width, of the images, with channels of their "
                    f"own. Found: images of shape {images.shape}, masks of shape {source.shape}."
                )
        checked = config.replace(**config.without_standardizing(), interpolation_order=order, cval=cval)
        return cls(source, checked.interpolation_order, checked.cval)


class RowIds:
    """Rows that are their own ids, not stored: an array of them would travel with every task."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, rows: Any) -> NDArray[np.int64]:
        return np.arange(*rows.indices(self._n)) if isinstance(rows, slice) else np.asarray(rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.arange(self._n, dtype=dtype)


def sample_ids(ids: ArrayLike | None, n: int) -> Any:
    """The sample ids of n images, as an array or something to be sliced like one: as given, or their rows.

    Raises
    ------
    SourceError
        Unless there is one integer from 0 to 2**64 - 1 for each image.
    """
    if ids is None:
        return RowIds(n)
    array = np.asarray(ids)
    if array.shape != (n,) or array.dtype.kind not in "iu" or (array.size and array.min() < 0):
        raise SourceError(
            f"`ids` must be {n} integers, one per image, from 0 to 2**64 - 1; "
            f"found {array.dtype} of shape {array.shape}."
        )
    return array


def check_subset(subset: str | None, rows: tuple[int, int], config: Config) -> None:
    """Refuse a subset of data that are not split.

    Raises
    ------
    ConfigError
        Where `validation_split` is 0.
    """
    if subset is not None and not config.validation_split:
        raise ConfigError(
            f"`subset` is {subset!r}, which needs a split, and the generator's `validation_split` is 0. "
            "Set it: ImageDataGenerator(validation_split=0.2, ...)."
        )
    if subset is not None and rows[0] == rows[1]:
        warnings.warn(
            f"The subset {subset!r} is empty: validation_split={config.validation_split} leaves it no image.",
            UserWarning,
            stacklevel=3,
        )


def check_class_split(y: NDArray[Any], cut: int) -> None:
    """Refuse a split whose parts hold different classes.

    Raises
    ------
    SourceError
        As Keras does; ``ignore_class_split=True`` in ``flow`` switches the check off.
    """
    first, second = np.unique(y[:cut]), np.unique(y[cut:])
    if not np.array_equal(first, second):
        raise SourceError(
            "Training and validation subsets have different number of classes after the split "
            f"({len(second)} and {len(first)}). If your numpy arrays are sorted by the label, you might want to "
            "shuffle them, or pass ignore_class_split=True."
        )


def warn_about_channels(shape: tuple[int, ...], data_format: str, caller: str) -> None:
    """Warn where the channels seem to lie on the other axis; any number of channels is fine by itself."""
    axis, other = (3, 1) if data_format == "channels_last" else (1, 3)
    if shape[axis] not in (1, 3, 4) and shape[other] in (1, 3, 4):
        warnings.warn(
            f'{caller} uses the data format "{data_format}" (channels on axis {axis}), but was given an array of shape '
            f"{tuple(shape)}, with {shape[axis]} channels there. Are the channels on axis {other}? "
            f'Then pass data_format="{"channels_first" if axis == 3 else "channels_last"}" to the generator.',
            UserWarning,
            stacklevel=3,
        )
