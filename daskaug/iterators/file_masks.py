"""Mask files beside image files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daskaug.config import Config
from daskaug.errors import SourceError
from daskaug.iterators.columns import Masks
from daskaug.sources import ImageFiles


@dataclasses.dataclass(frozen=True)
class FileMasks:
    """One mask file for each image file.

    They are read as grey levels, and brought to the size of the images without mixing values.

    Attributes
    ----------
    filenames : list of str
        Relative to `directory`, or absolute; in the order of the images.
    directory : str
    order : int
        Of the interpolation when masks are moved.
    cval : float
    """

    filenames: list[str]
    directory: str
    order: int = 0
    cval: float = 0.0

    def beside(self, images: ImageFiles, kept: NDArray[np.intp], rows: NDArray[np.int64], config: Config) -> Masks:
        """The masks of the images that were kept."""
        size = images.shape[config.row_axis], images.shape[config.col_axis]
        decoding = dataclasses.replace(
            images.decoding, color_mode="grayscale", target_size=size, interpolation="nearest"
        )
        source = ImageFiles([self.filenames[row] for row in kept], self.directory, decoding, row_numbers=rows)
        masks = Masks.of(source, images, config, self.order, self.cval)
        assert masks is not None
        return masks


def masks_in_folder(
    images: Sequence[str], folder: str | Path | None, endings: tuple[str, ...], order: int, cval: float
) -> FileMasks | None:
    """The masks of some images in a folder of the same structure; their endings may be others.

    Parameters
    ----------
    images : list of str
        Paths relative to the images' own folder.
    folder : path or None
        None: no masks.
    endings : tuple of str
        Of files that are images.

    Raises
    ------
    SourceError
        Where an image has no mask, or two; with how many and three examples.
    """
    if folder is None:
        return None
    there: dict[str, list[str]] = {}
    for root, _, names in os.walk(folder):
        for name in names:
            stem, ending = os.path.splitext(os.path.relpath(os.path.join(root, name), folder))
            if ending.lower().lstrip(".") in endings:
                there.setdefault(stem, []).append(stem + ending)
    found = [there.get(os.path.splitext(image)[0], []) for image in images]
    wrong = [image for image, masks in zip(images, found, strict=True) if len(masks) != 1]
    if wrong:
        raise SourceError(
            f"{len(wrong)} of {len(images)} images have no mask of the same name, or more than one, in "
            f"{str(folder)!r}: {', '.join(wrong[:3])}{', ...' if len(wrong) > 3 else ''}. A mask has the relative path "
            "of its image; its ending may be another."
        )
    return FileMasks([masks[0] for masks in found], str(folder), order, cval)


def masks_in_column(
    values: Sequence[str] | None, directory: str | Path | None, order: int, cval: float
) -> FileMasks | None:
    """The masks that a column of a dataframe names, relative to the images' folder; None without one."""
    return None if values is None else FileMasks([str(value) for value in values], str(directory or ""), order, cval)
