"""Which files are pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable

FILE_ENDINGS = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")
"""Of the files that Keras takes for pictures."""


def list_files(directory: str | os.PathLike[str], endings: str | Iterable[str] = FILE_ENDINGS) -> list[str]:
    """Paths of the pictures in a folder and the folders below it, sorted folder by folder.

    Parameters
    ----------
    directory : path
        Symbolic links to folders are not followed. A folder that does not exist has no pictures.
    endings : str or iterable of str
        Without the dot, in lower case; files may have them in any. In one string they are separated by ``|``.
    """
    wanted = tuple(f".{ending}" for ending in (endings.split("|") if isinstance(endings, str) else endings))
    found = []
    for root, folders, files in os.walk(directory):
        folders.sort()
        found += [os.path.join(root, name) for name in sorted(files) if name.lower().endswith(wanted)]
    return found


def has_ending(path: str | os.PathLike[str], endings: str | Iterable[str]) -> bool:
    """Whether a path is that of a file, and has one of the endings (given in lower case)."""
    wanted = endings if isinstance(endings, str) else tuple(endings)
    return os.fspath(path).lower().endswith(wanted) and os.path.isfile(path)
