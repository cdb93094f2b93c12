"""Rows of a dataframe that name image files: which of them count, and what their labels are."""

from __future__ import annotations

import collections
import dataclasses
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import ColumnTypeError, ConfigError
from daskaug.planning.order import split_rows
from daskaug.sources.file_facts import describe_missing, look_at

NO_CLASSES = ("input", "multi_output", "raw", None)
"""Class modes without class names."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Which columns of a dataframe mean what.

    Attributes
    ----------
    directory : str
        Folder of relative file names; empty: the working directory.
    x_col : str
        File names.
    y_col : str or list of str
        Labels.
    weight_col : str or None
    classes : sequence of str or None
        Classes that count, in the order of their indices; the others' rows are left out.
    class_mode : str or None
    masks : str or None
        Files of masks.
    """

    directory: str
    x_col: str
    y_col: Any
    weight_col: str | None
    classes: Sequence[str] | None
    class_mode: str | None
    masks: str | None = None

    def check(self, dataframe: Any) -> None:
        """Check that the columns hold what the class mode asks for, as Keras does.

        Raises
        ------
        ConfigError
            For columns that are not there, or another number of classes than two for ``class_mode="binary"``.
        ColumnTypeError
            For values of the wrong type.

        Warns
        -----
        UserWarning
            Where `classes` is given and not used.
        """
        mode = self.class_mode
        if mode == "multi_output" and not isinstance(self.y_col, list):
            raise ColumnTypeError(
                f'If class_mode="{mode}", y_col must be a list. Received {type(self.y_col).__name__}.'
            )
        self._check_columns(dataframe)
        if not all(isinstance(name, str) for name in dataframe[self.x_col]):
            raise ColumnTypeError(f"All values in column x_col={self.x_col} must be strings.")
        if mode in ("binary", "sparse") and not all(isinstance(label, str) for label in dataframe[self.y_col]):
            raise ColumnTypeError(f'If class_mode="{mode}", y_col="{self.y_col}" column values must be strings.')
        if mode == "binary":
            given = set(self.classes) if self.classes else None
            count = len(given) if given else dataframe[self.y_col].nunique()
            if count != 2:
                found = f"{count} class/es were given." if given else f"Found {count} classes."
                raise ConfigError(f'If class_mode="binary" there must be 2 classes. {found}')
        if mode == "categorical" and not all(isinstance(v, str | list | tuple) for v in dataframe[self.y_col]):
            raise ColumnTypeError(
                f'If class_mode="{mode}", y_col="{self.y_col}" column values must be type string, list or tuple.'
            )
        if self.classes and mode in NO_CLASSES:
            _warn(f'`classes` will be ignored given the class_mode="{mode}"')
        if self.weight_col and not np.issubdtype(np.asarray(dataframe[self.weight_col]).dtype, np.number):
            raise ColumnTypeError(f"Column weight_col={self.weight_col} must be numeric.")

    def _check_columns(self, dataframe: Any) -> None:
        wanted = {"x_col": [self.x_col]}
        wanted |= {name: [column] for name in ("weight_col", "masks") if (column := getattr(self, name))}
        if self.class_mode not in ("input", None):
            wanted["y_col"] = self.y_col if isinstance(self.y_col, list) else [self.y_col]
        for argument, columns in wanted.items():
            for column in columns:
                if column not in dataframe.columns:
                    raise ConfigError(
                        f"{argument}={column!r} is no column of the dataframe; its columns are "
                        f"{', '.join(map(repr, dataframe.columns))}."
                    )

    def valid_rows(self, names: list[str], endings: tuple[str, ...]) -> NDArray[np.int64]:
        """The rows whose file is there and has one of the endings.

        Warns
        -----
        UserWarning
            Of the others: how many, why, and three of their paths.
        """
        faults = self.faults_of(names, endings)
        if any(faults):
            _warn(self._describe([os.path.join(self.directory, name) for name in names], faults))
        return np.array([row for row, fault in enumerate(faults) if fault is None], np.int64)

    def faults_of(self, names: list[str], endings: tuple[str, ...]) -> list[str | None]:
        """Why each file does not count, in a few words; None where it does."""
        return look_at(
            lambda name: _fault(os.path.join(self.directory, name), endings) if name else "there is no file name", names
        )

    def select(
        self, dataframe: Any, endings: tuple[str, ...] | None, validation_split: float, subset: str | None
    ) -> Selection:
        """The rows that count, with their labels: those with a valid file, then of a known class, then the subset.

        Parameters
        ----------
        dataframe : pandas.DataFrame
            Not changed.
        endings : tuple of str or None
            None: files are not looked for.
        validation_split, subset
            As in :func:`daskaug.planning.order.split_rows`.
        """
        names = list(dataframe[self.x_col])
        rows = np.arange(len(names)) if endings is None else self.valid_rows(names, endings)
        labels: list[Any] = []
        class_names: list[str] = []
        if self.class_mode not in NO_CLASSES:
            values = list(dataframe[self.y_col])
            class_names, labels = self.labels_of([values[row] for row in rows])
            rows = rows[np.array([label is not None for label in labels], bool)]
            labels = [label for label in labels if label is not None]
        part = slice(*split_rows(len(rows), validation_split, subset))
        rows, labels = rows[part], labels[part]
        chosen = dataframe.iloc[rows]
        selection = Selection(rows, [names[row] for row in rows], class_names)
        if self.weight_col:
            selection.sample_weight = np.asarray(chosen[self.weight_col].values)
        if self.masks:
            selection.masks = chosen[self.masks].tolist()
        if self.class_mode == "multi_output":
            selection.outputs = tuple(np.array(list(chosen[column])) for column in self.y_col)
        elif self.class_mode == "raw":
            selection.y = np.asarray(chosen[self.y_col].values)
        elif self.class_mode not in NO_CLASSES:
            selection.numbers, selection.y = indices_of(labels, class_names)
        return selection

    def _describe(self, paths: list[str], faults: list[str | None]) -> str:
        counts = collections.Counter(fault for fault in faults if fault is not None)
        bad = [path for path, fault in zip(paths, faults, strict=True) if fault is not None]
        reasons = "; ".join(f"{count} because {fault}" for fault, count in counts.most_common())
        message = (
            f'Found {len(bad)} invalid image filename(s) in x_col="{self.x_col}". These filename(s) will be ignored. '
            f"They are {len(bad)} of {len(paths)} rows, {reasons}. For example: {', '.join(map(repr, bad[:3]))}."
        )
        if len(bad) < len(paths):
            return message
        if self.directory and not os.path.isdir(self.directory):
            return f"{message} No row is left: there is no folder directory={self.directory!r}."
        return (
            f"{message} No row is left. Names are looked up in directory={self.directory!r} (empty: the working "
            f"directory, {os.getcwd()!r}) unless they are absolute, and need their ending."
        )

    def labels_of(self, values: Sequence[Any]) -> tuple[list[str], list[Any]]:
        """Class names, and the labels of each row: a name, a list of names, or None where no class of it counts."""
        if not self.classes:
            names = {name for value in values for name in _several(value)}
            return sorted(names), [list(v) if isinstance(v, list | tuple) else v for v in values]
        wanted = list(dict.fromkeys(self.classes))
        known = set(wanted)
        kept: list[Any] = []
        for value in values:
            labels = [name for name in _several(value) if name in known]
            kept.append((labels if isinstance(value, list | tuple) else labels[0]) if labels else None)
        return wanted, kept


@dataclasses.dataclass
class Selection:
    """Rows of a dataframe, and what stands in them.

    Attributes
    ----------
    rows : (n,) int64
        Their positions in the whole dataframe.
    filenames : list of str
    class_names : list of str
    numbers : list
        Labels as class indices, in Keras' form.
    y : array or None
        The same as an array, or what `y_col` holds.
    sample_weight : (n,) array or None
    outputs : tuple of arrays
        What several `y_col` hold.
    masks : list or None
        Files of masks.
    """

    rows: NDArray[np.int64]
    filenames: list[str]
    class_names: list[str]
    numbers: list[Any] = dataclasses.field(default_factory=list)
    y: NDArray[Any] | None = None
    sample_weight: NDArray[Any] | None = None
    outputs: tuple[NDArray[Any], ...] = ()
    masks: list[Any] | None = None


def indices_of(labels: Sequence[Any], class_names: Sequence[str]) -> tuple[list[Any], NDArray[Any]]:
    """Labels as class indices: in Keras' form, and as an array.

    Returns
    -------
    list
        An int, or a list of ints, for each label.
    (n,) int32 or (n, classes) uint8 array
        The second, of zeros and ones, if there is a list among them.
    """
    index = {name: number for number, name in enumerate(class_names)}
    as_lists = [[index[name] for name in _several(label)] for label in labels]
    numbers = [found if isinstance(v, list) else found[0] for v, found in zip(labels, as_lists, strict=True)]
    if not any(isinstance(label, list) for label in labels):
        return numbers, np.array(numbers, np.int32)
    hot = np.zeros((len(labels), len(class_names)), np.uint8)
    for row, found in enumerate(as_lists):
        hot[row, found] = 1
    return numbers, hot


def _several(value: Any) -> Sequence[str]:
    return value if isinstance(value, list | tuple) else (value,)


def _fault(path: str, endings: tuple[str, ...]) -> str | None:
    if not path.lower().endswith(endings):
        return f"the name ends in none of {', '.join(endings)}"
    return describe_missing(path)


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=5)
