"""What belongs to the rows beside the images, and the checks of what is handed to ``flow``."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daskaug.config import Config
from daskaug.errors import ConfigError, SourceError
from daskaug.sources import Source, open_column, open_images

MASKS = "masks"
"""What masks are called among the outputs in a dict."""


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """What belongs to the rows beside the images; everything in memory and of the same length.

    Attributes
    ----------
    ids : (n,) integers, or RowIds
        Sample ids, which key the draws.
    y, sample_weight : array, dict or list of arrays, or None
        Several for several outputs of a model.
    extras : tuple of arrays
        Further model inputs.
    inputs : tuple of str or None
        Names of the inputs, the images first, where batches have a dict of them.
    """

    ids: Any
    y: Any = None
    sample_weight: Any = None
    extras: tuple[NDArray[Any], ...] = ()
    inputs: tuple[str, ...] | None = None

    def pack(self, images: NDArray[Any], rows: NDArray[np.int64], masks: NDArray[Any] | None = None) -> Any:
        """A batch as Keras hands it out: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``; `x` may be a list or a dict.

        Masks take the place of `y`, or stand beside it: ``[y, masks]``; among several outputs they are one more, in a
        dict by the name ``"masks"``.
        """
        x: Any = [images, *(extra[rows] for extra in self.extras)] if self.extras else images
        if self.inputs is not None:
            x = dict(zip(self.inputs, x if self.extras else [x], strict=True))
        y = self.targets(images, rows)
        if masks is not None:
            y = _with_masks(y, masks)
        if y is None:
            return x
        return (x, y) if self.sample_weight is None else (x, y, pick(self.sample_weight, rows))

    def targets(self, images: NDArray[Any], rows: NDArray[np.int64]) -> Any:
        """What the model is to learn about the rows; `images` are what it is shown."""
        return pick(self.y, rows)

    def by_name(self) -> dict[str, NDArray[Any]]:
        """All arrays but the ids, each by a name of its own."""
        found: dict[str, NDArray[Any]] = {}
        for name, column in (("y", self.y), ("sample_weight", self.sample_weight), ("x", self.extras)):
            if isinstance(column, dict):
                found |= {f"{name}[{key!r}]": values for key, values in column.items()}
            elif isinstance(column, list | tuple):
                found |= {f"{name}[{i}]": values for i, values in enumerate(column)}
            elif column is not None:
                found[name] = column
        return found

    def stored(self) -> Columns:
        """The columns as arrays, for a store."""
        return self


def pick(column: Any, rows: Any) -> Any:
    """Some rows of a column: of an array, or of each in a dict or a list."""
    if isinstance(column, np.ndarray):
        return column[rows]
    if isinstance(column, dict):
        return {name: values[rows] for name, values in column.items()}
    return None if column is None else [values[rows] for values in column]


def _with_masks(y: Any, masks: NDArray[Any]) -> Any:
    if y is None:
        return masks
    if isinstance(y, dict):
        return {**y, MASKS: masks}
    return [*y, masks] if isinstance(y, list) else [y, masks]


def open_input(x: Any, y: Any, sample_weight: Any, ids: ArrayLike | None) -> tuple[Source, Columns]:
    """What was handed in as a source and its columns.

    Parameters
    ----------
    x : images, or a tuple (images, extra) or (images, [extra, ...]), or a dict, or an iterator made by ``flow``
        Of a dict, the first array of rank 4 (without one, the first path) are the images. An iterator stands for all
        that it iterates over: its images, labels, weights and ids.
    y, sample_weight : array-like, path, or a dict or list of them, optional
        An iterator's own by default. Beside images in a Zarr group, the name of an array in it will do.
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
    inputs: tuple[str, ...] | None = None
    if isinstance(x, Mapping):
        inputs, x, extras = _from_names(x)
    is_pair = isinstance(x, tuple | list) and len(x) == 2
    if is_pair and _is_images(x[0]):
        x, extra = x
        extras = tuple(extra) if isinstance(extra, list | tuple) else (extra,)
    source, beside = open_images(x), x
    n = source.shape[0]
    names = [f"x[{name!r}]" for name in inputs[1:]] if inputs else [f"x[1][{i}]" for i in range(len(extras))]
    return source, Columns(
        ids=sample_ids(ids, n),
        y=_open_outputs(y, n, "y", beside),
        sample_weight=_open_outputs(sample_weight, n, "sample_weight", beside),
        extras=tuple(open_column(extra, n, name, beside) for extra, name in zip(extras, names, strict=True)),
        inputs=inputs,
    )


def _from_names(x: Mapping[str, Any]) -> tuple[tuple[str, ...], Any, tuple[Any, ...]]:
    """Names of the inputs of a model, the images and the other inputs."""
    candidates = [name for name, values in x.items() if _is_images(values)]
    if not candidates:
        raise SourceError(
            "A dict of inputs must hold images: an array of rank 4, or the path of one. Found: "
            f"{', '.join(map(str, x)) or 'nothing'}."
        )
    arrays = [name for name in candidates if len(getattr(x[name], "shape", ())) == 4]
    image_name = (arrays or candidates)[0]
    others = {name: values for name, values in x.items() if name != image_name}
    return (image_name, *others), x[image_name], tuple(others.values())


def _is_images(values: Any) -> bool:
    return isinstance(values, str | os.PathLike | Source) or len(getattr(values, "shape", ())) == 4


def _open_outputs(values: Any, n: int, name: str, beside: Any = None) -> Any:
    """A column of one output, or of each of several: those of a dict, or of a list of arrays with an entry per image.

    A list of as many entries as there are images is one column, as in Keras, whatever the entries are.
    """
    if values is None:
        return None
    if isinstance(values, Mapping):
        return {key: open_column(each, n, f"{name}[{key!r}]", beside) for key, each in values.items()}
    if isinstance(values, list | tuple) and len(values) != n:
        lengths = [(getattr(each, "shape", None) or (-1,))[0] for each in values]
        if n in lengths and -1 not in lengths:
            return [open_column(each, n, f"{name}[{i}]", beside) for i, each in enumerate(values)]
    return open_column(values, n, name, beside)


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
        "y": _open_outputs(y, n, "y"),
        "sample_weight": _open_outputs(sample_weight, n, "sample_weight"),
        "ids": None if ids is None else sample_ids(ids, n),
    }
    kept = iterator.columns if given["y"] is not None else iterator.columns.stored()
    if given["y"] is not None:
        kept = Columns(kept.ids, None, kept.sample_weight, kept.extras, kept.inputs)
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
    """Rows that are their own ids, not stored: an array of them would travel with every task.

    Parameters
    ----------
    n : int
    first : int
        What the first of them is called.
    """

    dtype = np.dtype(np.int64)

    def __init__(self, n: int, first: int = 0) -> None:
        self._n, self._first = n, first

    @property
    def shape(self) -> tuple[int]:
        """As of an array."""
        return (self._n,)

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, rows: Any) -> NDArray[np.int64]:
        if isinstance(rows, slice):
            return np.arange(*rows.indices(self._n)) + self._first
        return np.asarray(rows) + self._first if self._first else np.asarray(rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.arange(self._first, self._first + self._n, dtype=dtype)


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


def check_class_split(y: Any, cut: int) -> None:
    """Refuse a split whose parts hold different classes, in any of several outputs.

    Raises
    ------
    SourceError
        As Keras does; ``ignore_class_split=True`` in ``flow`` switches the check off.
    """
    if isinstance(y, dict | list):
        for each in y.values() if isinstance(y, dict) else y:
            check_class_split(each, cut)
        return
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
