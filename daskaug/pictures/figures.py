"""Figures of matplotlib, made without its global state."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import Any

from daskaug.errors import DaskaugError
from daskaug.pictures.sheet import Band

DPI = 100


def new_figure(width: float, height: float) -> Any:
    """An empty figure, in inches, which a notebook shows whether or not ``pyplot`` was imported.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DaskaugError
        Where matplotlib is not installed.
    """
    return _figure_class()(figsize=(width, height), dpi=DPI, layout="constrained")


@functools.cache
def _figure_class() -> type:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DaskaugError(
            "Figures are drawn by matplotlib, which is not installed: pip install 'daskaug[jupyter]'."
        ) from error

    class ShownFigure(Figure):
        """A figure that shows itself: a notebook knows others only after pyplot has set itself up there."""

        def _repr_png_(self) -> bytes:
            content = io.BytesIO()
            self.savefig(content, format="png")
            return content.getvalue()

    return ShownFigure


def figure_of(bands: Sequence[Band], columns: int, note: str = "") -> Any:
    """Bands of pictures, one below the other, as a figure.

    Parameters
    ----------
    bands : sequence of Band
    columns : int
        Pictures of the longest band.
    note : str
        Stands beneath.

    Raises
    ------
    DaskaugError
        Where matplotlib is not installed.
    """
    heights = [1.35 + 0.15 * max(1, band.lines_beneath) for band in bands]
    figure = new_figure(0.9 + 1.3 * columns, sum(heights) + (0.3 if note else 0))
    axes = figure.subplots(len(bands), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    for band, row in zip(bands, axes, strict=True):
        pictures = band.pictures()
        for column, ax in enumerate(row):
            ax.set_xticks([])
            ax.set_yticks([])
            if column >= len(pictures):
                ax.set_axis_off()
                continue
            ax.set_anchor("N")
            enlarged = max(pictures[column].size) <= DPI
            ax.imshow(pictures[column], interpolation="nearest" if enlarged else "antialiased")
            if band.captions:
                # matplotlib takes text between two $ for a formula.
                ax.set_xlabel(band.captions[column].replace("$", r"\$"), fontsize=7, loc="left")
        row[0].set_ylabel(band.title.replace("$", r"\$"), fontsize=7, rotation=0, ha="right", va="center")
    if note:
        figure.supxlabel(note, fontsize=7)
    return figure
