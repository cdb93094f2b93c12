"""Statistics as a figure: channel histograms, the spectrum of the whitening, and what both make of images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.pictures.figures import new_figure
from daskaug.pictures.sheet import as_picture, levels_of
from daskaug.statistics.numbers import Numbers
from daskaug.transforms.block import STD_EPSILON
from daskaug.transforms.whitening import Whitener

SAMPLES = 8
"""Images that are shown, at most."""

MOST_NAMED = 6
"""Channels that have their numbers written beside them."""

BINS, POINTS = 256, 1000
"""Bars of a histogram and points of a spectrum, at most: 16-bit images have 65,536 values."""

_PANEL = 2.8
"""Height of a plot in inches."""

_COLORS = {1: ["0.35"], 3: ["tab:red", "tab:green", "tab:blue"], 4: ["tab:red", "tab:green", "tab:blue", "0.5"]}


def plot(statistics: Numbers, x: Any = None) -> Any:
    """See :meth:`daskaug.Statistics.plot`."""
    images = None if x is None else _some_of(x, statistics)
    has_spectrum = statistics.whitening is not None and statistics.whitening.rank > 0
    plots = 2 if has_spectrum else 1
    size = 1.0
    width = max(4.2 * plots, 0.9 + size * (0 if images is None else len(images)))
    figure = new_figure(width, _PANEL + (0 if images is None else 2 * size + 0.5))
    upper = figure
    if images is not None:
        upper, lower = figure.subfigures(2, 1, height_ratios=[_PANEL, 2 * size + 0.5])
        _draw_samples(lower, images, statistics)
    axes = upper.subplots(1, plots, squeeze=False)[0]
    _draw_channels(axes[0], statistics)
    if has_spectrum:
        _draw_spectrum(axes[1], statistics)
    return figure


def _draw_channels(ax: Any, statistics: Numbers) -> None:
    """Histogram, mean and standard deviation of each channel, in the units of the rescaled images."""
    factor = 1.0 if statistics.rescale is None else statistics.rescale
    colors = _COLORS.get(statistics.channels) or [f"C{channel % 10}" for channel in range(statistics.channels)]
    if statistics.histogram is not None:
        edges, shares = _bars(statistics.histogram.start, statistics.histogram.counts)
        for channel, color in enumerate(colors):
            ax.stairs(shares[channel], edges * factor, color=color, fill=True, alpha=0.25)
            ax.stairs(shares[channel], edges * factor, color=color, linewidth=0.8)
        ax.set_ylabel("share of the pixels per value")
        ax.set_ylim(0, float(shares.max()) * (1.15 + 0.07 * len(colors)))
    low, high = statistics.minimum * factor, statistics.maximum * factor
    top = 0.0 if statistics.histogram is None else float(shares.max())
    for channel, color in enumerate(colors):
        mean, std = statistics.mean[channel], statistics.std[channel]
        # One above the other, so that channels that are alike can be told apart.
        height = top * (1.04 + 0.07 * channel) if statistics.histogram is not None else -channel
        label = f"channel {channel}: {mean:.4g} ± {std:.4g}" if channel < MOST_NAMED else None
        ax.errorbar(mean, height, xerr=std, fmt="o", color=color, markersize=4, capsize=3, linewidth=1.4, label=label)
        if statistics.histogram is None:
            ax.plot([low[channel], high[channel]], [height, height], color=color, linewidth=0.6)
        else:
            ax.axvline(mean, color=color, linewidth=0.8, linestyle=":")
    if statistics.histogram is None:
        named = [
            f"channel {c}\n{m:.4g} ± {s:.4g}"
            for c, (m, s) in enumerate(zip(statistics.mean, statistics.std, strict=True))
        ]
        step = -(-len(colors) // MOST_NAMED)
        ax.set_yticks([-channel for channel in range(0, len(colors), step)], named[::step], fontsize="small")
        ax.set_ylim(-len(colors) + 0.4, 0.6)
    ax.set_title(f"mean ± std of {statistics.samples:,} images", fontsize="medium")
    ax.set_xlabel("pixel value" if statistics.rescale is None else f"pixel value × {statistics.rescale:.6g}")
    if statistics.histogram is not None:
        ax.legend(fontsize="x-small", loc="best")


def _bars(start: int, counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges and heights of at most so many bars: the share of a channel's pixels, per value."""
    levels = counts.shape[1]
    each = -(-levels // BINS)
    sums = np.add.reduceat(counts, np.arange(0, levels, each), axis=1)
    edges = np.minimum(np.arange(sums.shape[1] + 1) * each, levels)
    return edges + start - 0.5, sums / np.diff(edges) / counts.sum(axis=1, keepdims=True)


def _draw_spectrum(ax: Any, statistics: Numbers) -> None:
    """Standard deviation along each direction of the whitening, and what damps it."""
    whitening = statistics.whitening
    assert whitening is not None
    root = np.sqrt(statistics.samples)
    rank = whitening.rank
    shown = np.unique(np.geomspace(1, rank, min(rank, POINTS)).astype(int)) - 1
    deviation = np.maximum(1 / whitening.scale[shown] - whitening.epsilon / root, 0)
    ax.loglog(shown + 1, deviation, color="tab:blue", marker="." if rank == 1 else "")
    if whitening.epsilon / root > deviation.min() / 1e3:
        ax.axhline(whitening.epsilon / root, color="0.5", linestyle="--", linewidth=0.8, label="zca_epsilon / √n")
        ax.legend(fontsize="x-small")
    ax.set_title(f"ZCA: {100 * whitening.captured:.4g} % in {rank:,} of {whitening.features:,}", fontsize="medium")
    ax.set_xlabel("direction, strongest first")
    ax.set_ylabel("standard deviation along it")


def _draw_samples(figure: Any, images: NDArray[Any], statistics: Numbers) -> None:
    """Images, and below each what centring and whitening (or dividing by the deviation) make of it."""
    name = "standardised" if statistics.whitening is None else "whitened"
    made = _standardised(images, statistics)
    axes = figure.subplots(2, len(images), squeeze=False)
    for title, row, pixels in zip(("images", name), axes, (images, made), strict=True):
        shown = [_channels_last(image, statistics) for image in pixels]
        root = float(np.sqrt(np.mean(np.square(pixels, dtype=np.float64))))
        # Standardised pixels lie about 0; the few beyond three times their root mean square are clipped.
        spread = min(3 * root, float(np.abs(pixels).max())) or 1.0
        levels = levels_of(shown) if pixels is images else (-spread, spread)
        for ax, image in zip(row, shown, strict=True):
            # Zero is grey in all channels; an alpha channel has been standardised too, and is none any more.
            ax.imshow(as_picture(image, levels), interpolation="nearest")
            ax.set_xticks([])
            ax.set_yticks([])
        row[0].set_ylabel(title, fontsize="small")


def _standardised(images: NDArray[Any], statistics: Numbers) -> NDArray[np.float64]:
    axes = (1, 1, -1) if statistics.data_format == "channels_last" else (-1, 1, 1)
    factor = 1.0 if statistics.rescale is None else statistics.rescale
    centred = images.astype(np.float64) * factor - statistics.mean.reshape(axes)
    if statistics.whitening is None:
        return np.asarray(centred / (statistics.std.reshape(axes) + STD_EPSILON))
    return np.asarray(Whitener(statistics.whitening.factors, np.dtype(np.float64))(centred))


def _channels_last(image: NDArray[Any], statistics: Numbers) -> NDArray[Any]:
    return image if statistics.data_format == "channels_last" else np.moveaxis(image, 0, -1)


def _some_of(x: Any, statistics: Numbers) -> NDArray[Any]:
    """A few images, spread evenly.

    Raises
    ------
    SourceError
        They are none, or are not of the shape that the statistics are of.
    """
    shape = tuple(x.shape[1:])
    channels_axis = 2 if statistics.data_format == "channels_last" else 0
    fits = shape == statistics.image_shape if statistics.whitening is not None else len(shape) == 3
    if not fits or shape[channels_axis] != statistics.channels or not x.shape[0]:
        raise SourceError(
            f"the statistics are of images of shape {statistics.image_shape} ({statistics.data_format}), and cannot "
            f"be shown on {x.shape[0]} of shape {shape}"
        )
    rows = np.unique(np.linspace(0, x.shape[0] - 1, min(SAMPLES, x.shape[0])).astype(np.int64))
    return np.asarray(x[rows] if isinstance(x, np.ndarray) else x.take(rows))
