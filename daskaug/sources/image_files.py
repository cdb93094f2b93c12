"""Images in files: PNG, JPEG and whatever else Pillow reads."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image, UnidentifiedImageError

from daskaug import stopping
from daskaug.cards.escaping import as_text
from daskaug.errors import ConfigError, SourceError
from daskaug.pictures import COLOR_MODES, INTERPOLATIONS, load_mask, load_picture, to_array
from daskaug.planning.blocks import TARGET_NBYTES, Plan, plan_blocks
from daskaug.sources.base import BlockReader, Source
from daskaug.sources.file_facts import common_size, describe_os_error, grey_dtype, typical_pixels
from daskaug.stages import stage

TASK_SECONDS = 1.0
"""Time that decoding the files of a block is to take, roughly."""

_FILE_SECONDS, _PIXEL_SECONDS = 2e-4, 15e-9
"""What a file costs: opening it, and for each pixel between a JPEG's and a PNG's decoder on one core of 2020 or so."""

_CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}


@dataclasses.dataclass(frozen=True)
class Decoding:
    """From a file to an array.

    Attributes
    ----------
    color_mode : {"rgb", "rgba", "grayscale"}
    target_size : (height, width) or None
        In pixels. None: the images' own size, which has to be the same for all.
    interpolation : {"nearest", "bilinear", "bicubic", "hamming", "box", "lanczos"}
        For resizing.
    keep_aspect_ratio : bool
        Cut the largest centred piece of the right proportions before resizing, instead of stretching.
    data_format : {"channels_last", "channels_first"}
    is_mask : bool
        The files are masks: one channel of numbers as they are in the file (indices, where it has a palette), resized
        by ``"nearest"``. `color_mode` and `interpolation` do not count.

    Raises
    ------
    ConfigError
        For any other value.
    """

    color_mode: str = "rgb"
    target_size: Sequence[int] | None = None
    interpolation: str = "nearest"
    keep_aspect_ratio: bool = False
    data_format: str = "channels_last"
    is_mask: bool = False

    def __post_init__(self) -> None:
        if self.color_mode not in COLOR_MODES:
            raise ConfigError(f'Invalid color mode: {self.color_mode}; expected "rgb", "rgba", or "grayscale".')
        if self.interpolation not in INTERPOLATIONS:
            raise ConfigError(
                f"Invalid interpolation method {self.interpolation} specified. Supported methods are "
                f"{', '.join(INTERPOLATIONS)}."
            )
        if self.target_size is not None:
            object.__setattr__(self, "target_size", _checked_size(self.target_size))

    def image_shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Shape of an image of (height, width)."""
        channels = 1 if self.is_mask else _CHANNELS[self.color_mode]
        return (channels, *size) if self.data_format == "channels_first" else (*size, channels)

    def load(self, content: bytes) -> Image.Image:
        """The picture in a file's content; see :func:`load_picture` and :func:`load_mask` for what is raised."""
        file = io.BytesIO(content)
        if self.is_mask:
            return load_mask(file, self.target_size, self.keep_aspect_ratio)
        return load_picture(file, self.color_mode, self.target_size, self.interpolation, self.keep_aspect_ratio)


@dataclasses.dataclass(frozen=True)
class BadFile:
    """A file that cannot be read as an image.

    Attributes
    ----------
    row : int
        Where it stands in what the caller handed in; -1 where it has no place there.
    path : str
    reason : str
    """

    row: int
    path: str
    reason: str

    def __str__(self) -> str:
        row = "" if self.row < 0 else f" (row {self.row})"
        return as_text(f"{self.path}{row}: {self.reason}")  # a name may hold anything, for a terminal to obey


class ImageFiles(Source):
    """Image files as a source; they are decoded where the task runs.

    The dtype is uint8. For masks and ``color_mode="grayscale"`` it is uint16 or int32 if the header of any PNG, PPM or
    TIFF file among them says that it has grey levels of 16 or 32 bits, and those of 8 bits are kept as they are; RGB
    pictures of 16 bits are reduced to 8 by Pillow.

    Parameters
    ----------
    names : sequence of str
        Paths, relative to `root` or absolute.
    root : path
        Folder; made absolute, since a worker may have another working directory.
    decoding : Decoding
    dtype : dtype, optional
        Instead of looking at headers: uint8, uint16 or int32.
    row_numbers : (n,) int64, optional
        What the caller calls the rows, for messages; by default they count from 0.
    is_replaced : (n,) bool, optional
        Files that are known to be bad: zeros, which is black, stand for them. Any other file that cannot be read is
        an error.

    Raises
    ------
    SourceError
        Without a target size, where the images' own cannot be told.
    """

    random_access = True
    is_quick = False
    natural_rows = 1

    def __init__(
        self,
        names: Sequence[str] | NDArray[Any],
        root: str | os.PathLike[str] = "",
        decoding: Decoding | None = None,
        *,
        dtype: DTypeLike | None = None,
        row_numbers: NDArray[np.int64] | None = None,
        is_replaced: NDArray[np.bool_] | None = None,
    ) -> None:
        self.decoding = decoding or Decoding()
        self.names = np.empty(len(names), object)
        self.names[:] = names
        self.locator = os.path.abspath(os.fspath(root))
        self.row_numbers = np.arange(len(names)) if row_numbers is None else row_numbers
        self.is_replaced = is_replaced
        size = self.decoding.target_size
        height, width = common_size(self.paths()) if size is None else size
        self.shape = (len(names), *self.decoding.image_shape((height, width)))
        if dtype is None:
            is_grey = self.decoding.is_mask or self.decoding.color_mode == "grayscale"
            dtype = grey_dtype(self.paths()) if is_grey else np.uint8
        self.dtype = np.dtype(dtype)

    def paths(self) -> list[str]:
        """Absolute paths of the files."""
        return [os.path.join(self.locator, name) for name in self.names]

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """See :meth:`Source.read`.

        Raises
        ------
        SourceError
            At a file that cannot be read, with its path, row and what is wrong.
        """
        return self.take(np.arange(start, stop))

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """See :meth:`Source.take`; reads each file by itself."""
        out = np.zeros((len(rows), *self.shape[1:]), self.dtype)
        for image, row in zip(out, rows, strict=True):
            stopping.check()
            if self.is_replaced is not None and self.is_replaced[row]:
                continue
            try:
                image[...] = self._decode(row)
            except Unreadable as error:
                bad = BadFile(int(self.row_numbers[row]), self._path(row), str(error))
                raise SourceError(
                    f"{bad}. Mend or remove the file, or pass on_error='skip' or on_error='replace'; `daskaug check` "
                    "lists all such files beforehand."
                ) from error.__cause__
        return out

    def find_bad(self, start: int, stop: int) -> list[BadFile]:
        """Decode files, and list those that cannot be."""
        found = []
        for row in range(start, stop):
            stopping.check()
            try:
                self._decode(row)
            except Unreadable as error:
                found.append(BadFile(int(self.row_numbers[row]), self._path(row), str(error)))
        return found

    def only(self, rows: NDArray[np.int64]) -> ImageFiles:
        """A source of some of the files, in the order of `rows`."""
        made = object.__new__(ImageFiles)
        made.__dict__.update(self.__dict__)
        made.names, made.row_numbers = self.names[rows], self.row_numbers[rows]
        made.is_replaced = None if self.is_replaced is None else self.is_replaced[rows]
        made.shape = (len(rows), *self.shape[1:])
        return made

    def replacing(self, bad: NDArray[np.int64]) -> ImageFiles:
        """The same source with zeros in place of the files at the rows `bad`."""
        made = self.only(np.arange(self.shape[0]))
        made.is_replaced = np.zeros(self.shape[0], np.bool_)
        made.is_replaced[bad] = True
        return made

    def plan(self, start: int, stop: int, target_nbytes: int = TARGET_NBYTES) -> Plan:
        """Blocks that take about a second to decode, and no more memory than asked for."""
        rows = max(1, int(TASK_SECONDS / self._seconds_per_file))
        return plan_blocks((start, stop), 1, self.row_nbytes, target_nbytes=min(target_nbytes, rows * self.row_nbytes))

    def reader(self, start: int, stop: int) -> BlockReader:
        """See :meth:`Source.reader`; the paths of these rows travel."""
        return FilesReader(self.only(np.arange(start, stop)))

    def rows_reader(self, rows: NDArray[np.int64]) -> BlockReader:
        """See :meth:`Source.rows_reader`; the paths of these rows travel."""
        return FilesReader(self.only(rows))

    def probes(self) -> list[BlockReader]:
        """See :meth:`Source.probes`: the first file and the last, if they are not among those that are missing here."""
        ends = [self._path(row) for row in sorted({0, self.shape[0] - 1})] if self.shape[0] else []
        return [FileProbe(path) for path in ends if os.path.isfile(path)]

    def as_dask(self, plan: Plan) -> Any:
        """See :meth:`Source.as_dask`: each task carries the paths of its own files, not of all."""
        from daskaug.sources.dask_array import from_readers

        readers = [self.reader(block.start, block.stop) for block in plan]
        return from_readers(readers, [len(block) for block in plan], self.shape[1:], self.dtype)

    @property
    def storage(self) -> str:
        """See :class:`Source`."""
        replaced = 0 if self.is_replaced is None else int(self.is_replaced.sum())
        return "files, decoded when they are read" + (f"; {replaced:,} bad ones are black" if replaced else "")

    def _path(self, row: int | np.int64) -> str:
        return os.path.join(self.locator, self.names[row])

    def _decode(self, row: int | np.int64) -> NDArray[Any]:
        """An image in the data format.

        Raises
        ------
        Unreadable
        """
        if not self.names[row]:
            raise Unreadable("there is no file name")
        with stage("read", 1):
            content = _content(self._path(row))
        try:
            with stage("decode", 1, self.row_nbytes):
                pixels = np.asarray(self.decoding.load(content))
                image = to_array(pixels, self.decoding.data_format, pixels.dtype)
        except MemoryError:
            raise
        except SourceError as error:
            raise Unreadable(str(error)) from error
        except Image.DecompressionBombError as error:
            # A few bytes can say that gigabytes follow. Pillow looks at the size before it decodes anything.
            raise Unreadable(f"{error} Raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file") from error
        except UnidentifiedImageError as error:
            raise Unreadable(f"no image format that Pillow knows; the file begins with {content[:8]!r}") from error
        except Exception as error:  # a broken file makes Pillow raise whatever it stumbles over
            raise Unreadable(f"{error} ({type(error).__name__})") from error
        if image.shape != self.shape[1:]:
            raise Unreadable(
                f"it has the shape {image.shape}, and the others {self.shape[1:]}; pass target_size=(height, width) to "
                "resize them all"
            )
        if not np.can_cast(image.dtype, self.dtype):
            raise Unreadable(
                f"its grey levels are {image.dtype}, while by the others' headers {self.dtype} is enough; does its "
                "ending tell the format?"
            )
        return image

    @functools.cached_property
    def _seconds_per_file(self) -> float:
        return _FILE_SECONDS + _PIXEL_SECONDS * typical_pixels(self.paths())

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_seconds_per_file"}


class Unreadable(Exception):
    """Says why a file cannot be read; turned into something else before anybody else sees it."""


@dataclasses.dataclass(frozen=True, eq=False)
class FilesReader(BlockReader):
    """Decodes some files."""

    files: ImageFiles

    def load(self) -> NDArray[Any]:
        """See :meth:`BlockReader.load`."""
        return self.files.read(0, self.files.shape[0])

    def __repr__(self) -> str:
        return f"{self.files.shape[0]} files in {self.files.locator}, the first of them {self.files.names[:1].tolist()}"

    @property
    def nbytes(self) -> int:
        """See :class:`BlockReader`."""
        return self.files.shape[0] * self.files.row_nbytes


@dataclasses.dataclass(frozen=True, eq=False)
class FileProbe(BlockReader):
    """Opens a file; loads nothing of it."""

    path: str

    def load(self) -> None:
        """See :meth:`BlockReader.load`."""
        try:
            with open(self.path, "rb"):
                pass
        except OSError as error:
            raise SourceError(describe_os_error(error)) from error

    def __repr__(self) -> str:
        return self.path


@dataclasses.dataclass(frozen=True, eq=False)
class CheckingReader(BlockReader):
    """Decodes some files to see which of them cannot be; loads a list of :class:`BadFile`."""

    files: ImageFiles

    def load(self) -> list[BadFile]:
        """See :meth:`BlockReader.load`."""
        return self.files.find_bad(0, self.files.shape[0])

    def __repr__(self) -> str:
        return f"a check of {self.files.shape[0]} files in {self.files.locator}"


def _content(path: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise Unreadable(describe_os_error(error)) from error
    if not content:
        raise Unreadable("the file is empty (0 bytes)")
    return content


def _checked_size(target_size: Any) -> tuple[int, int]:
    try:
        height, width = target_size
        if height == int(height) > 0 and width == int(width) > 0:
            return int(height), int(width)
    except (TypeError, ValueError):
        pass
    raise ConfigError(f"`target_size` must be (height, width) in pixels, 1 or more. Received: {target_size!r}.")
