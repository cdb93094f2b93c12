"""Which image files there are, in Keras' order."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.planning.order import split_rows

_THREADS = 8
"""Folders that are listed side by side: a file system far away answers each of them slowly."""

TIFF_WARNING = 'Using ".tiff" files with multiple bands will cause distortion. Please verify your output.'


@dataclasses.dataclass(frozen=True, eq=False)
class FolderListing:
    """The image files in the folders of the classes.

    Attributes
    ----------
    class_names : list of str
    filenames : list of str
        Relative to the folder, class by class; within a class in the order of their folder's path and of their name.
    classes : (n,) int32
        Index of each file's class.
    """

    class_names: list[str]
    filenames: list[str]
    classes: NDArray[np.int32]


def list_classes(
    directory: str,
    class_names: Sequence[str] | None,
    endings: tuple[str, ...],
    *,
    follow_links: bool = False,
    subset: str | None = None,
    validation_split: float = 0.0,
    skip_hidden: bool = False,
) -> FolderListing:
    """List a folder that has a subfolder for each class, as Keras does.

    Parameters
    ----------
    directory : str
    class_names : sequence of str, optional
        By default the subfolders, in alphabetical order.
    endings : tuple of str
        In small letters; files may have them in any.
    follow_links : bool
        Descend into links to folders. A link to a folder that it lies in is left alone: it would never end.
    subset : {"training", "validation", None}
    validation_split : float
        Share of each class that is for validation: its first files.
    skip_hidden : bool
        Leave out folders whose name begins with a dot, which Keras does not, below those of the classes.

    Raises
    ------
    SourceError
        Where a folder cannot be read.

    Warns
    -----
    UserWarning
        Of ``.tiff`` files, in Keras' words; of classes that have no folder.
    """
    try:
        names = list(class_names or ()) or sorted(list_subfolders(directory))
    except OSError as error:
        raise SourceError(f"The folder {directory!r} cannot be listed: {error.strerror}.") from error
    missing = [name for name in names if not os.path.isdir(os.path.join(directory, name))]
    if missing:
        _warn(f"{len(missing)} of the classes have no folder in {directory!r}: {', '.join(map(repr, missing[:3]))}.")

    def list_one(name: str) -> list[str]:
        top = os.path.join(directory, name)
        return [] if name in missing else list_files(top, endings, follow_links, skip_hidden)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="daskaug-files") as pool:
        found = list(pool.map(list_one, names))
    parts = []
    for files in found:
        start, stop = split_rows(len(files), validation_split, subset)
        parts.append(files[start:stop])
    filenames = [
        os.path.normpath(os.path.join(name, file)) for name, files in zip(names, parts, strict=True) for file in files
    ]
    if any(file.lower().endswith(".tiff") for files in found for file in files):
        _warn(TIFF_WARNING)
    counts = [len(files) for files in parts]
    return FolderListing(names, filenames, np.repeat(np.arange(len(names), dtype=np.int32), counts))


def list_files(top: str, endings: tuple[str, ...], follow_links: bool = False, skip_hidden: bool = False) -> list[str]:
    """Paths, relative to `top`, of the files in it and below it that have one of the endings.

    Parameters
    ----------
    top : str
    endings : tuple of str
        In small letters.
    follow_links, skip_hidden : bool
        As in :func:`list_classes`.

    Raises
    ------
    SourceError
        Where a folder cannot be read.
    """
    listed: list[tuple[str, list[str]]] = []
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        relative, above = waiting.pop()
        folder = os.path.join(top, relative) if relative else top
        files: list[str] = []
        try:
            if follow_links:
                above = above | {_identity(folder)}
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.is_dir():
                        files.append(entry.name)
                    elif skip_hidden and entry.name.startswith("."):
                        continue
                    elif not entry.is_symlink() or (follow_links and _identity(entry.path) not in above):
                        waiting.append((os.path.join(relative, entry.name), above))
        except OSError as error:
            raise SourceError(f"The folder {folder!r} cannot be listed: {error.strerror}.") from error
        listed.append((relative, sorted(name for name in files if name.lower().endswith(endings))))
    # Folders in the order of their whole path, as Keras sorts them: "a-b" comes before "a/b".
    return [os.path.join(relative, name) for relative, names in sorted(listed) for name in names]


def list_subfolders(directory: str) -> list[str]:
    """Names of the folders in a folder, links to folders among them."""
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.is_dir()]


def _identity(folder: str) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=5)
