"""Mask files beside image files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from daskaug.config import Config
from daskaug.errors import SourceError
from daskaug.iterators.columns import Masks
from daskaug.iterators.listing import FolderListing, list_files
from daskaug.sources import BadFile, ImageFiles
from daskaug.sources.file_facts import describe_missing, look_at, read_header


@dataclasses.dataclass(frozen=True)
class FileMasks:
    """One mask file for each image file.

    They are read as they are, one number for each pixel, and brought to the size of the images without mixing values.

    Attributes
    ----------
    filenames : list of str
        Relative to `directory`, or absolute; in the order of the images. Empty where there is a fault.
    directory : str
    faults : mapping of int to str
        Why an image, by its place, has no mask.
    order : int
        Of the interpolation when masks are moved.
    cval : float
    """

    filenames: list[str]
    directory: str
    faults: Mapping[int, str] = dataclasses.field(default_factory=dict)
    order: int = 0
    cval: float = 0.0

    def beside(self, images: ImageFiles, config: Config) -> ImageFiles:
        """The masks as files of their own."""
        size = images.shape[config.row_axis], images.shape[config.col_axis]
        decoding = dataclasses.replace(images.decoding, is_mask=True, target_size=size)
        return ImageFiles(self.filenames, self.directory, decoding, row_numbers=images.row_numbers)

    def of(self, masks: ImageFiles, images: ImageFiles, config: Config) -> Masks:
        """What is handed on to an iterator; both sources have the same rows."""
        made = Masks.of(masks, images, config, self.order, self.cval)
        assert made is not None
        return made

    def find_unfit(self, masks: ImageFiles, images: ImageFiles) -> dict[int, BadFile]:
        """Images without a mask, and masks that would be cropped apart from their image, by their place.

        Parameters
        ----------
        masks, images : ImageFiles
            With all rows.
        """
        rows, paths = masks.row_numbers, images.paths()
        bad = {place: BadFile(int(rows[place]), paths[place], fault) for place, fault in self.faults.items()}
        if not images.decoding.keep_aspect_ratio or images.decoding.target_size is None:
            return bad
        pairs = list(zip(paths, masks.paths(), strict=True))
        for place, reason in enumerate(look_at(_cropped_apart, pairs)):
            if reason is not None and place not in bad:
                bad[place] = BadFile(int(rows[place]), pairs[place][1], reason)
        return bad


def refuse_unfit(bad: Mapping[int, BadFile], count: int) -> None:
    """Refuse masks that are not there or do not fit.

    Raises
    ------
    SourceError
        With how many, and three examples.
    """
    if bad:
        examples = "; ".join(str(bad[place]) for place in sorted(bad)[:3])
        raise SourceError(
            f"{len(bad)} of {count} images have no mask that can be used: {examples}{'; ...' if len(bad) > 3 else ''}. "
            "Mend them, or pass on_error='skip' or on_error='replace'."
        )


def masks_in_folder(
    listing: FolderListing,
    folder: str | Path | None,
    endings: tuple[str, ...],
    order: int,
    cval: float,
    *,
    follow_links: bool = False,
) -> FileMasks | None:
    """The masks of some images in a folder of the same structure; their endings may be others.

    Where several files have the path of an image without its ending, the one with the same ending is its mask.

    Parameters
    ----------
    listing : FolderListing
        The images.
    folder : path or None
        None: no masks.
    endings : tuple of str
        Of files that are images.
    follow_links : bool
        As for the images.

    Raises
    ------
    SourceError
        Where a folder cannot be read.
    """
    if folder is None:
        return None
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        raise SourceError(f"There is no folder of masks at {folder!r}.")
    there: dict[str, list[str]] = {}
    for class_name in listing.class_names:  # as the images are listed, so that links end at the same places
        top = os.path.join(folder, class_name)
        for file in list_files(top, endings, follow_links) if os.path.isdir(top) else ():
            name = os.path.normpath(os.path.join(class_name, file))
            there.setdefault(os.path.splitext(name)[0], []).append(name)
    names, faults = [""] * len(listing.filenames), {}
    for place, image in enumerate(listing.filenames):
        found = there.get(os.path.splitext(image)[0], [])
        if image in found:
            names[place] = image
        elif len(found) == 1:
            names[place] = found[0]
        else:
            several = f"{len(found)} masks of its name ({', '.join(found[:3])})" if found else "no mask of its name"
            faults[place] = f"it has {several} in {folder!r}, where masks have the paths of their images"
    return FileMasks(names, folder, faults, order, cval)


def masks_in_column(
    values: Sequence[Any] | None, directory: str | Path | None, validate: bool, order: int, cval: float
) -> FileMasks | None:
    """The masks that a column of a dataframe names, relative to the images' folder; None without one.

    Parameters
    ----------
    values : list or None
        Of the column.
    directory : path or None
    validate : bool
        Look whether the files are there.
    order : int
    cval : float
    """
    if values is None:
        return None
    folder = os.fspath(directory or "")
    names = [os.fspath(value) if isinstance(value, str | os.PathLike) else "" for value in values]
    faults = {
        place: f"the cell that is to name its mask holds {values[place]!r}"
        for place, name in enumerate(names)
        if not name
    }
    if validate:
        missing = look_at(lambda name: describe_missing(os.path.join(folder, name)), names)
        for place, reason in enumerate(missing):
            if reason is not None and place not in faults:
                faults[place] = f"its mask is {names[place]!r}, and {reason}"
                names[place] = ""
    return FileMasks(names, folder, faults, order, cval)


def _cropped_apart(pair: tuple[str, str]) -> str | None:
    """Why the largest centred piece of a mask is another than that of its image; None where it is the same."""
    image, mask = map(read_header, pair)
    if image is None or mask is None:  # which is found when they are read
        return None
    (height, width), (mask_height, mask_width) = image[1], mask[1]
    # Is there a scale by which both sides, rounded up or down, become those of the mask?
    low = max((mask_height - 1) / height, (mask_width - 1) / width)
    high = min((mask_height + 1) / height, (mask_width + 1) / width)
    if low < high or (height, width) == (mask_height, mask_width):
        return None
    return (
        f"it has {mask_height}×{mask_width} pixels, other proportions than {pair[0]} with {height}×{width}, so that "
        "keep_aspect_ratio=True would crop them apart"
    )
