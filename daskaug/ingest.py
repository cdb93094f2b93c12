"""``daskaug ingest``: a folder or a table of image files becomes a Zarr store."""

from __future__ import annotations

import collections
import dataclasses
import os
from pathlib import Path
from typing import Any

import PIL

from daskaug.errors import SourceError
from daskaug.generator import ImageDataGenerator
from daskaug.iterators import BatchIterator, DataFrameIterator, DirectoryIterator, list_files
from daskaug.iterators.listing import list_subfolders
from daskaug.iterators.table import Table
from daskaug.materialize import Report, annotate, refuse_existing
from daskaug.progress import Progress, showing
from daskaug.sources import BadFile

ATTRIBUTE = "daskaug_files"
"""Attribute of the store that says where it comes from; written last."""

ENDINGS = BatchIterator.white_list_formats

ANY_ENDING = ("",)

BESIDE = "it lies beside the folders of the classes, in none of them"


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

        Hidden folders are left out. Of a table every row counts, whatever its file is called.

        Raises
        ------
        SourceError
            Where `source` is neither; for ``on_error="raise"`` where a table names files that are not there; for images
            beside the folders of classes, unless ``on_error="skip"`` leaves them out and lists them.
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
            found = FolderOfImages.look(source)
            if found.beside and self.on_error != "skip":
                raise SourceError(
                    f"{len(found.beside)} images lie in {source} beside the folders of its {len(found.classes)} "
                    f"classes, and in none of them: {_some(found.beside)}. Move them, or leave them out by "
                    "on_error='skip'."
                )
            mode = None if found.is_flat else "sparse"
            files = _VisibleFiles(source, classes=found.classes, class_mode=mode, **options)
            beside = [BadFile(-1, os.path.join(source, name), BESIDE) for name in found.beside]
            files.bad_files = (*beside, *files.bad_files)
            return files
        table = read_table(source, self.x_col)
        directory = source.parent if self.directory is None else self.directory
        if self.on_error == "raise":
            self._refuse_missing(table, str(directory))
        return DataFrameIterator(
            table,
            directory,
            x_col=self.x_col,
            y_col=self.y_col,
            class_mode=_class_mode(table, self.y_col),
            validate_filenames=False,
            **options,
        )

    def columns(self, directory: str | Path) -> Table:
        """Which column of a table holds the file names, below `directory`."""
        return Table(str(directory), self.x_col, self.y_col, None, None, None)

    def _refuse_missing(self, table: Any, directory: str) -> None:
        columns = self.columns(directory)
        columns.check(table)
        names = list(table[self.x_col])
        faults = enumerate(columns.faults_of(names, ANY_ENDING))
        missing = [f"{os.path.join(directory, names[row])} (row {row}): {why}" for row, why in faults if why]
        if missing:
            raise SourceError(
                f"{len(missing)} of {len(names)} rows name no file that is there: {_some(missing, '; ')}. Mend them, "
                "or pass on_error='skip' or on_error='replace'; `daskaug check` lists them all."
            )


class _VisibleFiles(DirectoryIterator):
    """Without what lies in hidden folders, where other programs keep copies."""

    skip_hidden = True


@dataclasses.dataclass(frozen=True)
class FolderOfImages:
    """What a folder is taken for.

    Attributes
    ----------
    classes : list of str
        Its subfolders that are not hidden. ``["."]`` for a folder of images without classes: where there are no such
        subfolders, or images beside them only.
    beside : list of str
        Image files beside the folders of classes, in none of them.
    """

    classes: list[str]
    beside: list[str]

    @property
    def is_flat(self) -> bool:
        """Whether there are no classes."""
        return self.classes == ["."]

    @classmethod
    def look(cls, folder: Path) -> FolderOfImages:
        """Look at a folder.

        Raises
        ------
        SourceError
            Where it cannot be read.
        """
        try:
            classes = sorted(name for name in list_subfolders(str(folder)) if not name.startswith("."))
            images = sorted(
                entry.name for entry in folder.iterdir() if entry.name.lower().endswith(ENDINGS) and not entry.is_dir()
            )
        except OSError as error:
            raise SourceError(f"The folder {str(folder)!r} cannot be listed: {error.strerror}.") from error
        if not classes or (images and not any(_listed(folder, name, ENDINGS) for name in classes)):
            return cls(["."], [])
        return cls(classes, images)

    def files(self, folder: Path, endings: tuple[str, ...]) -> list[str]:
        """The files of all classes that have one of the endings, in the order of the iterator."""
        return [os.path.normpath(os.path.join(c, name)) for c in self.classes for name in _listed(folder, c, endings)]


def _listed(folder: Path, name: str, endings: tuple[str, ...]) -> list[str]:
    return list_files(str(folder / name), endings, skip_hidden=True)


def other_endings(names: list[str]) -> str:
    """Files that are no images by their endings: how many have each of these; empty where there are none."""
    endings = (os.path.splitext(name)[1].lower() or "none" for name in names if not name.lower().endswith(ENDINGS))
    counts = collections.Counter(endings)
    return ", ".join(f"{count} {ending}" for ending, count in counts.most_common())


def _some(items: list[str], joint: str = ", ") -> str:
    return joint.join(items[:3]) + (f"{joint}..." if len(items) > 3 else "")


def read_table(path: Path, x_col: str) -> Any:
    """A CSV file as a dataframe; where there is no file name, it is empty.

    Raises
    ------
    SourceError
        Where it is not there, or no table.
    """
    import pandas as pd

    if not path.exists():
        raise SourceError(f"There is nothing at {str(path)!r}: no Zarr store, no folder of images and no CSV table.")
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' own errors are among the latter
        raise SourceError(f"{path} is neither a folder nor a CSV table: {error}") from error
    if x_col in table.columns:
        table[x_col] = table[x_col].astype(object).where(table[x_col].notna(), "")
    return table


def ingest(
    source: Path, store: str | Path, reading: Reading, progress: Progress = None
) -> tuple[Report, DirectoryIterator | DataFrameIterator]:
    """Decode image files into a sharded Zarr store that ``open_images`` and ``open_materialized`` open.

    Beside ``images`` it holds ``y`` (labels; classes as their indices), ``sample_id``, ``file_name`` and
    ``class_name`` (the name of each class index). An interrupted run is completed by the next one.

    Parameters
    ----------
    source : Path
        A folder with a subfolder for each class, a folder of images, or a CSV table. Hidden folders are left out.
    store : path or URL
        Where nothing is yet, or what the same call has made: that is finished, or mended.
    reading : Reading
    progress : bool or callable, optional
        True: show it; a function is called as ``progress(images done, images in all)`` after each shard.

    Returns
    -------
    Report
    DirectoryIterator or DataFrameIterator
        The files; its `bad_files` lists those that could not be read.

    Raises
    ------
    StoreError
        Where something else is.
    SourceError
        For files that cannot be read, unless they are skipped or replaced.
    """
    refuse_existing(store)
    files = reading.open(source)
    generator = ImageDataGenerator(data_format="channels_last", dtype="float32")
    with showing(progress, "ingest") as shown:
        report = generator.materialize(files, store, progress=shown)
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
