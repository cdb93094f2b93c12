"""Sheets of small pictures: images of any kind side by side, with captions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

MARGIN, GAP, LINE = 8, 4, 14
"""Pixels around the sheet, between pictures, and from one line of text to the next."""


@dataclasses.dataclass(frozen=True, eq=False)
class Band:
    """A row of the sheet.

    Attributes
    ----------
    title : str
        Stands left of the pictures.
    images : sequence of (h, w, c) arrays
        Of any real dtype.
    captions : tuple of str
        In the pictures' lower corners; as many as images, or none.
    alike : bool
        Whether black and white are the same levels in all of them, or each picture's own.
    """

    title: str
    images: Sequence[NDArray[Any]] | NDArray[Any]
    captions: tuple[str, ...] = ()
    alike: bool = True


def levels_of(images: Sequence[NDArray[Any]] | NDArray[Any]) -> tuple[float, float]:
    """What is black and what is white: 0 to 255 or 0 to 1 where images keep to that, else their own extremes."""
    low = min(float(np.nanmin(image)) for image in images)
    high = max(float(np.nanmax(image)) for image in images)
    is_share = all(image.dtype.kind in "fb" for image in images)
    for usual in ((0.0, 1.0), (0.0, 255.0)) if is_share else ((0.0, 255.0),):
        if usual[0] <= low and high <= usual[1]:
            return usual
    return low, high if high > low else low + 1


def as_picture(image: NDArray[Any], levels: tuple[float, float]) -> Image.Image:
    """An image as an RGB picture; of other numbers of channels than 3 and 4 the first is shown.

    Parameters
    ----------
    image : (h, w, c) array
    levels : (black, white)
    """
    low, high = levels
    grey = np.rint((np.nan_to_num(image.astype(np.float64)) - low) * (255 / (high - low)))
    pixels = np.clip(grey, 0, 255).astype(np.uint8)
    shown = pixels[..., :3] if pixels.shape[2] in (3, 4) else pixels[..., 0]
    return Image.fromarray(shown).convert("RGB")


def draw_sheet(
    bands: Sequence[Band], *, tile: int, columns: int, side: int = 84, lines: Sequence[str] = ()
) -> Image.Image:
    """Draw bands of pictures, one below the other, and lines of text beneath.

    Parameters
    ----------
    bands : sequence of Band
    tile : int
        Pixels of a side of the square that each picture is fitted into.
    columns : int
        Pictures of the longest band.
    side : int
        Pixels for the titles.
    lines : sequence of str
    """
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1))).textlength
    longest = max((int(measure(line)) for line in lines), default=0)
    width = max(side + columns * (tile + GAP), longest + MARGIN) + MARGIN
    height = 2 * MARGIN + len(bands) * (tile + GAP) + len(lines) * LINE
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    for number, band in enumerate(bands):
        top = MARGIN + number * (tile + GAP)
        pen.text((MARGIN, top + tile // 2 - 6), band.title, fill="black")
        levels = levels_of(band.images)
        for column, image in enumerate(band.images):
            left = side + column * (tile + GAP)
            picture = as_picture(image, levels if band.alike else levels_of([image]))
            sheet.paste(_fitted(picture, tile), (left, top))
            if band.captions:
                caption = band.captions[column]
                room = pen.textlength(caption) + 6
                pen.rectangle((left, top + tile - 13, left + room, top + tile - 1), fill="white")
                pen.text((left + 3, top + tile - 13), caption, fill="black")
    for number, line in enumerate(lines):
        pen.text((MARGIN, height - MARGIN - (len(lines) - number) * LINE), line, fill="black")
    return sheet


def _fitted(picture: Image.Image, tile: int) -> Image.Image:
    """As large as the square allows; enlarged pixels stay squares."""
    scale = tile / max(picture.size)
    size = tuple(max(1, round(extent * scale)) for extent in picture.size)
    return picture.resize((size[0], size[1]), Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX)
