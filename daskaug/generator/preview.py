"""Some images, and what augmenting makes of them, side by side."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.cards import shape_text
from daskaug.pictures.captions import caption_of
from daskaug.pictures.sheet import USUAL, Band, draw_sheet, levels_of

TILE = 112
"""Pixels of a side of each picture."""

Parameters = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Preview:
    """Originals in the first column, and what each epoch makes of them in the others.

    A notebook shows it as a picture.

    Attributes
    ----------
    rows : (k,) int64
        Rows of the source that are shown.
    ids : (k,) integers
        Their sample ids.
    seed : int
        Of the draws.
    originals : (k, ...) array
        Raw images.
    drawn : (k, draws, ...) array
        What epoch 0, 1, ... makes of each.
    masks : (k, 1 + draws, ...) array or None
        The masks, and how they move with their images.
    parameters : tuple of tuples of dict or None
        What was drawn for ``drawn[i, j]``: the numbers of :meth:`daskaug.ImageDataGenerator.apply_transform`. None
        where a method of a subclass transforms and does not tell.
    active : frozenset of str
        Names of the parameters whose operations are switched on.
    data_format : str
    standardized : bool
        Whether what is drawn is standardised too; its pixels are then scaled to be shown.
    note : str
        What else has to be said, or empty.
    """

    rows: NDArray[np.int64]
    ids: NDArray[Any]
    seed: int
    originals: NDArray[Any]
    drawn: NDArray[Any]
    masks: NDArray[Any] | None
    parameters: tuple[tuple[Parameters | None, ...], ...]
    active: frozenset[str]
    data_format: str
    standardized: bool = False
    note: str = ""

    @property
    def captions(self) -> tuple[tuple[str, ...], ...]:
        """What stands beneath ``drawn[i, j]``: a line for each operation."""
        return tuple(
            tuple("not told" if each is None else caption_of(each, self.active) for each in parameters)
            for parameters in self.parameters
        )

    @property
    def bands(self) -> list[Band]:
        """The rows of the picture: images with captions, and masks, if there are any, below their images."""
        bands = []
        of_all = _extremes(self.drawn) if self.standardized else None
        for i, (row, captions) in enumerate(zip(self.rows, self.captions, strict=True)):
            images = [self._channels_last(each) for each in (self.originals[i], *self.drawn[i])]
            told = ("original", *(f"epoch {epoch}\n{said}" for epoch, said in enumerate(captions)))
            # Images that are not standardised have the same black and white as what is made of them.
            levels = of_all or levels_of(images)
            title = f"row {row}"
            if of_all or levels not in USUAL:
                title += f"\nscaled from\n{levels[0]:.3g}\nto {levels[1]:.3g}"
            if of_all:
                images = [_scaled(images[0], levels_of(images[:1])), *(_scaled(each, of_all) for each in images[1:])]
            bands.append(Band(title, images, told, beneath=True))
            if self.masks is not None:
                levels = _extremes(self.masks)
                shown = [_scaled(self._channels_last(each), levels) for each in self.masks[i]]
                bands.append(Band(f"mask, from\n{levels[0]:.3g}\nto {levels[1]:.3g}", shown))
        return bands

    @functools.cached_property
    def figure(self) -> Any:
        """The same as a figure of matplotlib, made when it is first asked for.

        Raises
        ------
        DaskaugError
            Where matplotlib is not installed. :meth:`png` and :meth:`save` do without.
        """
        from daskaug.pictures.figures import figure_of

        return figure_of(self.bands, 1 + self.drawn.shape[1], self.note)

    @functools.cached_property
    def picture(self) -> Any:
        """The whole sheet as a Pillow image."""
        return draw_sheet(
            self.bands, tile=TILE, columns=1 + self.drawn.shape[1], lines=[self.note] if self.note else []
        )

    def png(self) -> bytes:
        """The sheet as the content of a PNG file.

        Returns
        -------
        bytes
        """
        content = io.BytesIO()
        self.picture.save(content, format="PNG")
        return content.getvalue()

    def save(self, path: str | Path) -> None:
        """Write the sheet to a picture file.

        Parameters
        ----------
        path : str or Path
            The ending says of which format.
        """
        self.picture.save(path)

    def _repr_png_(self) -> bytes:
        return self.png()

    def __repr__(self) -> str:
        count, draws, *shape = self.drawn.shape
        return f"<Preview: {count} images × {draws} draws, {shape_text(shape)} {self.drawn.dtype}, seed {self.seed}>"

    def _channels_last(self, image: NDArray[Any]) -> NDArray[Any]:
        return image if self.data_format == "channels_last" else np.moveaxis(image, 0, -1)


def _extremes(pixels: NDArray[Any]) -> tuple[float, float]:
    """Lowest and highest of those that are finite."""
    finite = pixels[np.isfinite(pixels)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return low, high if high > low else low + 1


def _scaled(image: NDArray[Any], levels: tuple[float, float]) -> NDArray[np.float64]:
    """From levels to 0 to 1."""
    low, high = levels
    half = np.clip(np.nan_to_num(image.astype(np.float64)), low, high) / 2 - low / 2
    return np.asarray(half / (high / 2 - low / 2))
