"""Sheets of small pictures: images of any kind side by side, with captions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

MARGIN, GAP, LINE = 8, 4, 15
"""Pixels around the sheet, between pictures, and from one line of text to the next."""

FONT = ImageFont.load_default(size=11)
"""Pillow's own, so that a sheet has the same pixels on every machine."""

DARK = 10
"""Floats up to here, and above 1, are rather shares that were made brighter than grey levels up to 255."""

USUAL = ((0.0, 1.0), (0.0, 255.0))
"""What black and white are, as a rule."""


@dataclasses.dataclass(frozen=True, eq=False)
class Band:
    """A row of the sheet.

    Attributes
    ----------
    title : str
        Stands left of the pictures.
    images : sequence of (h, w, c) arrays
        Of any real dtype.
        The title may have several lines, and so may captions that are beneath.
    captions : tuple of str
        In the pictures' lower corners; as many as images, or none.
    alike : bool
        Whether black and white are the same levels in all of them, or each picture's own.
    beneath : bool
        Whether captions stand beneath their pictures.
    """

    title: str
    images: Sequence[NDArray[Any]] | NDArray[Any]
    captions: tuple[str, ...] = ()
    alike: bool = True
    beneath: bool = False

    def pictures(self) -> list[Image.Image]:
        """The images as pictures."""
        levels = levels_of(self.images) if self.alike else None
        return [as_picture(image, levels or levels_of([image])) for image in self.images]

    @property
    def lines_beneath(self) -> int:
        """Lines that the longest caption takes beneath the pictures."""
        return max((caption.count("\n") + 1 for caption in self.captions), default=0) if self.beneath else 0


def levels_of(images: Sequence[NDArray[Any]] | NDArray[Any]) -> tuple[float, float]:
    """What is black and what is white: 0 to 255 or 0 to 1 where images keep to that, else their own extremes.

    Pixels that are NaN or infinite do not count.
    """
    finite = [image[np.isfinite(image)] for image in images]
    counted = [values for values in finite if values.size]
    if not counted:
        return USUAL[0]
    low = min(float(values.min()) for values in counted)
    high = max(float(values.max()) for values in counted)
    is_share = all(image.dtype.kind in "fb" for image in images)
    if is_share and low >= 0 and high <= 1:
        return USUAL[0]
    if low >= 0 and high <= 255 and (high > DARK or not is_share):
        return USUAL[1]
    return low, high if high > low else low + 1


def as_picture(image: NDArray[Any], levels: tuple[float, float]) -> Image.Image:
    """An image as an RGB picture; of other numbers of channels than 3 and 4 the first is shown.

    What an alpha channel leaves transparent is a chequerboard, unless black and white are unusual: then it is left out.

    Parameters
    ----------
    image : (h, w, c) array
    levels : (black, white)
    """
    low, high = levels
    # Halved first: the difference of two large float64 may be infinite.
    shares = (np.clip(np.nan_to_num(image.astype(np.float64)), low, high) / 2 - low / 2) / (high / 2 - low / 2)
    pixels = np.rint(255 * shares).astype(np.uint8)
    shown = pixels[..., :3] if pixels.shape[2] in (3, 4) else pixels[..., 0]
    if pixels.shape[2] == 4 and levels in USUAL:
        alpha = pixels[..., 3:] / 255
        shown = np.rint(shown * alpha + _chequerboard(image.shape[0], image.shape[1]) * (1 - alpha)).astype(np.uint8)
    return Image.fromarray(shown).convert("RGB")


def _chequerboard(height: int, width: int) -> NDArray[np.float64]:
    """Light and less light squares, (height, width, 1)."""
    side = max(1, min(height, width) // 12)
    odd = (np.arange(height)[:, np.newaxis] // side + np.arange(width) // side) % 2
    return np.asarray(235.0 - 40 * odd, np.float64)[..., np.newaxis]


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
    measure = FONT.getlength
    longest = max((int(measure(line)) for line in lines), default=0)
    width = max(side + columns * (tile + GAP), longest + MARGIN) + MARGIN
    beneath = [LINE * band.lines_beneath + (GAP if band.beneath else 0) for band in bands]
    height = 2 * MARGIN + len(bands) * (tile + GAP) + sum(beneath) + len(lines) * LINE
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    pen.font = FONT
    top = MARGIN
    for band, room_beneath in zip(bands, beneath, strict=True):
        title_lines = band.title.count("\n") + 1
        pen.text((MARGIN, top + (tile - LINE * title_lines) // 2), band.title, fill="black")
        for column, picture in enumerate(band.pictures()):
            left = side + column * (tile + GAP)
            sheet.paste(_fitted(picture, tile), (left, top))
            if band.captions and band.beneath:
                for number, line in enumerate(band.captions[column].split("\n")):
                    pen.text((left, top + tile + 1 + number * LINE), _cut(line, tile, measure), fill="black")
            elif band.captions:
                caption = band.captions[column]
                room = pen.textlength(caption) + 6
                pen.rectangle((left, top + tile - 13, left + room, top + tile - 1), fill="white")
                pen.text((left + 3, top + tile - 13), caption, fill="black")
        top += tile + GAP + room_beneath
    for number, line in enumerate(lines):
        pen.text((MARGIN, height - MARGIN - (len(lines) - number) * LINE), line, fill="black")
    return sheet


def _cut(line: str, room: int, measure: Callable[[str], float]) -> str:
    """As much of a line as there is room for, in pixels."""
    if measure(line) <= room:
        return line
    while line and measure(f"{line}...") > room:
        line = line[:-1]
    return f"{line}..."


def _fitted(picture: Image.Image, tile: int) -> Image.Image:
    """As large as the square allows; enlarged pixels stay squares."""
    scale = tile / max(picture.size)
    size = tuple(max(1, round(extent * scale)) for extent in picture.size)
    return picture.resize((size[0], size[1]), Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX)
