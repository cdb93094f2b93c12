"""What can be learned about image files without decoding them."""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from daskaug.errors import SourceError

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREADS = 16
"""Threads that wait for a file system; they compute next to nothing."""

_STRETCH = 256
"""Files that a thread looks at one after the other."""

_PNG = b"\x89PNG\r\n\x1a\n"

_NEVER_DEEP = (".jpg", ".jpeg", ".bmp")
"""Endings of files whose grey levels have 8 bits."""


def look_at(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call a function that waits for a file system for each item, on several threads.

    Parameters
    ----------
    function : callable
    items : sequence

    Returns
    -------
    list
        In the order of the items.
    """
    stretches = [items[start : start + _STRETCH] for start in range(0, len(items), _STRETCH)]
    if len(stretches) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="daskaug-files") as pool:
        found = pool.map(lambda stretch: [function(item) for item in stretch], stretches)
        return [result for results in found for result in results]


def read_header(path: str) -> tuple[str, tuple[int, int]] | None:
    """Pillow's mode of a file, and its (height, width) in pixels; None where it cannot be told."""
    try:
        with Image.open(path) as picture:
            return picture.mode, (picture.height, picture.width)
    except Exception:  # noqa: BLE001  Pillow raises whatever a broken file makes it stumble over
        return None


def common_size(paths: Sequence[str]) -> tuple[int, int]:
    """The (height, width) of the images, by their headers.

    Returns
    -------
    (height, width)
        Of most of them, and where there are as many of another size, of the first.

    Raises
    ------
    SourceError
        Where no header can be read, or fewer than half of the images have the same size.
    """
    if not paths:
        raise SourceError(
            "There are no image files, and so no size of images either. Pass target_size=(height, width)."
        )
    headers = look_at(read_header, paths)
    sizes = collections.Counter(header[1] for header in headers if header is not None)
    if not sizes:
        raise SourceError(
            f"The size of the images cannot be told from any of the {len(paths)} files. Pass target_size=(height, "
            "width), or find out with `daskaug check` what is wrong with the files."
        )
    size, count = sizes.most_common(1)[0]
    if 2 * count < sizes.total():
        examples = ", ".join(f"{height}×{width}" for height, width in list(sizes)[:3])
        raise SourceError(
            f"The {sizes.total()} images have {len(sizes)} different sizes ({examples}, ... as height×width), and a "
            "batch needs one. Pass target_size=(height, width)."
        )
    return size


def grey_dtype(paths: Sequence[str]) -> np.dtype[Any]:
    """The type that holds the grey levels of all files: uint8, or uint16 or int32 where one of them needs it.

    JPG and BMP files are taken at their ending's word, which says 8 bits. Of the others the header is read: 33 bytes
    of a PNG.
    """
    candidates = [path for path in paths if not path.lower().endswith(_NEVER_DEEP)]
    depths = set(look_at(_grey_depth, candidates))
    return np.dtype(np.int32 if 32 in depths else np.uint16 if 16 in depths else np.uint8)


def _grey_depth(path: str) -> int:
    try:
        with open(path, "rb") as file:
            start = file.read(26)
    except OSError:
        return 8
    if start.startswith(_PNG):
        bits, color_type = start[24:26] if len(start) == 26 else (8, 0)
        return 16 if (bits, color_type) == (16, 0) else 8
    header = read_header(path)
    return {"I": 32, "I;16": 16}.get(header[0] if header else "L", 8)


def typical_pixels(paths: Sequence[str], count: int = 8) -> float:
    """Mean number of pixels of some of the files, evenly spread; 0 where none can be read."""
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int))
    headers = [read_header(paths[i]) for i in chosen]
    sizes = [height * width for header in headers if header for height, width in [header[1]]]
    return float(np.mean(sizes)) if sizes else 0.0


def describe_missing(path: str) -> str | None:
    """Why a path is no file, in a few words; None where it is one."""
    if os.path.isfile(path):
        return None
    return "it is a folder" if os.path.isdir(path) else "there is no such file"


def describe_os_error(error: OSError) -> str:
    """Why a file cannot be opened, in a few words."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    return os.strerror(error.errno) if error.errno else str(error)
