"""``daskaug ingest``: a folder or a table of image files becomes a Zarr store."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL

from daskaug.errors import SourceError
from daskaug.generator import ImageDataGenerator
from daskaug.iterators import DataFrameIterator, DirectoryIterator
from daskaug.materialize import Report, annotate, refuse_existing

ATTRIBUTE = "daskaug_files"
"""Attribute of the store that says where it comes from; written last."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """How files are found and read.

    Attributes
    ----------
    target_size : (height, width) or None
        None: the images' own size.
    color_mode, interpolation : str
    keep_aspect_ratio : bool
    on_error : {"raise", "skip", "replace"}
    x_col, y_col : str
        Columns of a table that hold file names and labels. Without a column `y_col` there are no labels.
    directory : path or None
        Folder of a table's file names; the table's own by default.
    """

    target_size: tuple[int, int] | None = None
    color_mode: str = "rgb"
    interpolation: str = "nearest"
    keep_aspect_ratio: bool = False
    on_error: str = "raise"
    x_col: str = "filename"
    y_col: str = "class"
    directory: Path | None = None

    def open(self, source: Path) -> DirectoryIterator | DataFrameIterator:
        """The files of a folder, or of a CSV table.

        Raises
        ------
        SourceError
            Where there are none, or `source` is neither.
        """
        options: dict[str, Any] = {
            "image_data_generator": None,
            "target_size": self.target_size,
            "color_mode": self.color_mode,
            "interpolation": self.interpolation,
            "keep_aspect_ratio": self.keep_aspect_ratio,
            "on_error": self.on_error,
            "shuffle": False,
            "data_format": "channels_last",
            "dtype": "float32",
        }
        if source.is_dir():
            if not any(entry.is_dir() for entry in source.iterdir()):
                return DirectoryIterator(source, classes=["."], class_mode=None, **options)
            return DirectoryIterator(source, class_mode="sparse", **options)
        table = read_table(source)
        directory = source.parent if self.directory is None else self.directory
        return DataFrameIterator(
            table, directory, x_col=self.x_col, y_col=self.y_col, class_mode=_class_mode(table, self.y_col), **options
        )


def read_table(path: Path) -> Any:
    """A CSV file as a dataframe.

    Raises
    ------
    SourceError
        Where it is not there, or no table.
    """
    import pandas as pd

    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' own errors are among the latter
        raise SourceError(f"{path} is neither a folder nor a CSV table: {error}") from error


def ingest(
    source: Path, store: str | Path, reading: Reading, progress: Callable[[int, int], None] | None = None
) -> tuple[Report, DirectoryIterator | DataFrameIterator]:
    """Decode image files into a sharded Zarr store that ``open_images`` and ``open_materialized`` open.

    Beside ``images`` it holds ``y`` (labels; classes as their indices), ``sample_id``, ``file_name`` and
    ``class_name`` (the name of each class index). An interrupted run is completed by the next one.

    Parameters
    ----------
    source : Path
        A folder with a subfolder for each class, a folder of images, or a CSV table.
    store : path or URL
        Must not exist.
    reading : Reading
    progress : callable, optional
        Called as ``progress(images done, images in all)`` after each shard.

    Returns
    -------
    Report
    DirectoryIterator or DataFrameIterator
        The files; its `bad_files` lists those that could not be read.

    Raises
    ------
    StoreError
        Where the store exists.
    SourceError
        For files that cannot be read, unless they are skipped or replaced.
    """
    refuse_existing(store, ATTRIBUTE)
    files = reading.open(source)
    report = ImageDataGenerator(data_format="channels_last", dtype="float32").materialize(
        files, store, progress=progress
    )
    names = {"file_name": files.filenames}
    if class_indices := getattr(files, "class_indices", None):
        names["class_name"] = list(class_indices)
    facts = {
        "source": os.path.abspath(source),
        "bad_files": [dataclasses.asdict(bad) for bad in files.bad_files],
        "on_error": reading.on_error,
        "target_size": list(files.target_size),
        "color_mode": files.color_mode,
        "interpolation": files.interpolation,
        "keep_aspect_ratio": files.keep_aspect_ratio,
        "decoder": f"Pillow {PIL.__version__}",
    }
    annotate(store, names, ATTRIBUTE, facts)
    return report, files


def _class_mode(table: Any, y_col: str) -> str | None:
    """Classes where the labels are text, numbers as they are, and nothing where there is no such column."""
    if y_col not in table.columns:
        return None
    return "sparse" if all(isinstance(label, str) for label in table[y_col]) else "raw"
