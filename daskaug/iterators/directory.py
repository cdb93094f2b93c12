"""The iterator over a folder of image files."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.iterators.file_masks import masks_in_folder
from daskaug.iterators.files import FileColumns, FilesFlow, FilesIterator, check_class_mode, config_of
from daskaug.iterators.listing import list_classes
from daskaug.iterators.numpy_array import Generator
from daskaug.sources import Decoding


class DirectoryIterator(FilesIterator):
    """Batches from a folder with a subfolder of image files for each class.

    Made by :meth:`daskaug.ImageDataGenerator.flow_from_directory`, whose documentation describes the arguments.

    Parameters
    ----------
    directory
        As in ``flow_from_directory``.
    image_data_generator : ImageDataGenerator or None
        None: the images as they are.
    target_size, color_mode, classes, class_mode, batch_size, shuffle, seed
        As in ``flow_from_directory``.
    data_format : str, optional
        By default the generator's.
    save_to_dir, save_prefix, save_format, follow_links, subset, interpolation, keep_aspect_ratio
        As in ``flow_from_directory``.
    dtype : str, optional
        By default the generator's.
    on_error, masks, mask_order, mask_cval, **serving
        As in ``flow_from_directory``.

    Attributes
    ----------
    filenames, filepaths : list of str
    classes, labels : (n,) int32
        Class of each file.
    class_indices : dict
        Index of each class name.
    num_classes, samples, n : int
    bad_files : tuple of BadFile
    skip_hidden : bool
        Of the class: whether folders whose name begins with a dot are left out, which they are not by Keras.
    """

    allowed_class_modes = ("categorical", "binary", "sparse", "input", None)
    skip_hidden = False

    def __init__(
        self,
        directory: str | Path,
        image_data_generator: Generator | None,
        target_size: Sequence[int] | None = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool | str = True,
        seed: int | None = None,
        data_format: str | None = None,
        save_to_dir: str | Path | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
        dtype: Any = None,
        *,
        on_error: str = "raise",
        masks: str | Path | None = None,
        mask_order: int = 0,
        mask_cval: float = 0.0,
        **serving: Any,
    ) -> None:
        config = config_of(image_data_generator, data_format, dtype)
        flow = FilesFlow(
            image_data_generator,
            config,
            Decoding(color_mode, target_size, interpolation, bool(keep_aspect_ratio), config.data_format),
            batch_size,
            shuffle,
            seed,
            save_to_dir,
            save_prefix,
            save_format,
            subset,
            on_error,
            serving,
        )
        check_class_mode(class_mode, self.allowed_class_modes)
        listing = list_classes(
            os.fspath(directory),
            classes,
            self.white_list_formats,
            follow_links=follow_links,
            subset=subset,
            validation_split=config.validation_split,
            skip_hidden=self.skip_hidden,
        )
        self.class_indices = {name: index for index, name in enumerate(listing.class_names)}
        self.num_classes = len(listing.class_names)
        print(f"Found {len(listing.filenames)} images belonging to {self.num_classes} classes.")
        if not listing.filenames:
            _warn_of_nothing(os.fspath(directory), listing.class_names, self.white_list_formats)
        columns = FileColumns(
            ids=ids_of_paths(_below_only_class(listing.filenames) if self.num_classes == 1 else listing.filenames),
            y=None if class_mode in ("input", None) else listing.classes,
            class_mode=class_mode,
            num_classes=self.num_classes,
            dtype=config.dtype,
        )
        beside = masks_in_folder(
            listing, masks, self.white_list_formats, mask_order, mask_cval, follow_links=follow_links
        )
        super().__init__(listing.filenames, directory, np.arange(len(listing.filenames)), columns, flow, beside)
        self.classes = listing.classes[self._kept]

    @property
    def labels(self) -> NDArray[np.int32]:
        """Class of each file, (n,)."""
        return self.classes


def ids_of_paths(paths: Sequence[str]) -> NDArray[np.uint64]:
    """Sample ids of files: the first 8 bytes, little-endian, of the SHA-256 of the path without its ending.

    A file keeps its id wherever the root lies and whatever other files there are; a photograph ``a/1.jpg`` and its mask
    ``a/1.png`` in another folder have the same.

    Parameters
    ----------
    paths : sequence of str
        Relative to the root; separators are written as ``/``.
    """
    return np.array([_id_of_path(path) for path in paths], np.uint64)


def _below_only_class(paths: Sequence[str]) -> list[str]:
    """Paths below the class folder, where there is one class only: its name tells nothing.

    So the images in ``data/image`` and their masks in ``data/label``, each a class of its own, are known by the same
    names.
    """
    return [path.partition(os.sep)[2] or path for path in paths]


def _id_of_path(path: str) -> int:
    # File names are bytes; those that are no UTF-8 come back as the bytes they are.
    written = os.path.splitext(path)[0].replace(os.sep, "/").encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(written).digest()[:8], "little")


def _warn_of_nothing(directory: str, class_names: list[str], endings: tuple[str, ...]) -> None:
    where = f"its {len(class_names)} subfolders that stand for classes" if class_names else "it: it has no subfolders"
    hint = "" if class_names else ' For a folder that holds images itself pass its parent, and classes=["its name"].'
    warnings.warn(
        f"There is no image file in {directory!r}. Files that end in {', '.join(endings)} were looked for in {where}."
        f"{hint}",
        UserWarning,
        stacklevel=4,
    )
