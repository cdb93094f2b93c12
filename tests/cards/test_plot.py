"""``statistics.plot()``: what is drawn are the numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from daskaug import ImageDataGenerator, open_images
from daskaug.errors import SourceError
from tests import pictures

X = pictures.tiles(8, 60)


def fit(x, **options):
    config = {
        name: options.pop(name)
        for name in ("rescale", "zca_whitening", "data_format", "zca_epsilon")
        if name in options
    }
    return ImageDataGenerator(featurewise_center=True, **config).fit(x, **options).statistics


def bars_of(ax):
    """Values and edges of the outlines of the histograms."""
    return [each.get_data() for each in ax.patches if not each.get_fill()]


def points_of(ax):
    """Middle, and both ends, of the error bars."""
    found = []
    for container in ax.containers:
        middle, _, (bar,) = container.lines
        found.append((middle.get_xdata()[0], *bar.get_segments()[0][:, 0]))
    return np.array(found)


@pytest.mark.parametrize("rescale", [None, 1 / 255, -2.0])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_histograms_with_mean_and_deviation(rescale, data_format):
    x = X if data_format == "channels_last" else np.moveaxis(X, 3, 1)
    statistics = fit(x, histogram=True, rescale=rescale, data_format=data_format)
    (ax,) = statistics.plot().axes
    channels = X.reshape(-1, 3).T * (rescale or 1)
    assert_allclose(
        points_of(ax),
        np.stack([channels.mean(1), channels.mean(1) - channels.std(1), channels.mean(1) + channels.std(1)], 1),
    )
    bars = bars_of(ax)
    assert len(bars) == 3
    for raw, (shares, edges, _) in zip(X.reshape(-1, 3).T, bars, strict=True):
        middles = (edges[1:] + edges[:-1]) / 2 / (rescale or 1)
        counts = np.bincount(raw, minlength=256)[np.rint(middles).astype(int)]
        assert_allclose(shares, counts / counts.sum())
    for container in ax.containers:  # nothing of it is cut off
        assert ax.get_ylim()[0] <= container.lines[0].get_ydata()[0] <= ax.get_ylim()[1]


def test_a_wide_histogram_has_few_bars_and_the_same_area():
    x = X.astype(np.uint16) * 250
    (ax,) = fit(x, histogram=True).plot().axes
    for raw, (shares, edges, _) in zip(x.reshape(-1, 3).T, bars_of(ax), strict=True):
        assert len(shares) <= 256
        assert_allclose((shares * np.diff(edges)).sum(), 1)
        counts, _ = np.histogram(raw, edges)
        assert_allclose(shares * np.diff(edges), counts / counts.sum())


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 12])
def test_without_a_histogram(channels):
    x = np.tile(X, 4)[..., :channels] / np.float32(255)
    statistics = fit(x)
    (ax,) = statistics.plot().axes
    assert_allclose(points_of(ax)[:, 0], statistics.mean)
    assert_allclose(points_of(ax)[:, 2] - points_of(ax)[:, 0], statistics.std)
    assert bars_of(ax) == []
    assert any("channel 0" in label.get_text() for label in ax.get_yticklabels())


@pytest.mark.parametrize("epsilon", [1e-6, 500.0])
def test_spectrum_of_the_whitening(epsilon):
    statistics = fit(X, zca_whitening=True, zca_epsilon=epsilon, rescale=1 / 16)
    _, ax = statistics.plot().axes
    flat = X.reshape(60, -1) / 16 - np.tile(statistics.mean, 64)
    singular = np.linalg.svd(flat, compute_uv=False)[: statistics.whitening.rank]
    line = ax.lines[0]
    assert_allclose(line.get_ydata(), singular[line.get_xdata() - 1] / np.sqrt(60), rtol=1e-5)
    damped = [each.get_ydata()[0] for each in ax.lines[1:]]
    assert damped == ([pytest.approx(epsilon / np.sqrt(60))] if epsilon > 1 else [])


def test_few_points_of_many_directions():
    statistics = fit(pictures.tiles(32, 150), zca_whitening=True)
    _, ax = statistics.plot().axes
    numbers = ax.lines[0].get_xdata()
    assert (numbers[0], numbers[-1]) == (1, statistics.whitening.rank)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_samples(data_format, channels):
    images = np.tile(X, 2)[..., :channels]
    x = images if data_format == "channels_last" else np.moveaxis(images, 3, 1)
    plain, white = fit(x, data_format=data_format), fit(x, data_format=data_format, zca_whitening=True)
    assert len(plain.plot(x).axes) == 1 + 2 * 8
    figure = white.plot(open_images(x[:5]))
    assert len(figure.axes) == 2 + 2 * 5
    # The order in which matplotlib lists the axes of subfigures is its own: find them by their titles.
    labels = [ax.get_ylabel() for ax in figure.axes]
    first, below = figure.axes[labels.index("images")], figure.axes[labels.index("whitened")]
    shown = np.asarray(first.images[0].get_array())
    if channels < 4:
        assert np.array_equal(shown, images[0][..., [0, 0, 0] if channels == 1 else slice(3)])
    datagen = ImageDataGenerator(featurewise_center=True, zca_whitening=True, data_format=data_format, dtype="float64")
    datagen.statistics = white
    expected = datagen.standardize(x[:5].astype(np.float64))
    expected = expected if data_format == "channels_last" else np.moveaxis(expected, 1, 3)
    spread = min(3 * np.sqrt((expected**2).mean()), np.abs(expected).max())
    grey = np.clip(np.rint(255 * (expected[0] / spread + 1) / 2), 0, 255)
    assert_allclose(
        np.asarray(below.images[0].get_array(), float), grey[..., [0, 0, 0] if channels == 1 else slice(3)], atol=1
    )


def test_images_that_do_not_fit():
    statistics = fit(X, zca_whitening=True)
    for other in (X[:, :4], X[..., :1], X[:0]):
        with pytest.raises(SourceError, match="cannot be shown"):
            statistics.plot(other)
    with pytest.raises(SourceError, match="open_images"):
        statistics.plot("somewhere.zarr")


def test_figures_show_themselves_without_pyplot():
    code = """
import sys
import numpy as np
from daskaug import ImageDataGenerator
x = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8, 1)
datagen = ImageDataGenerator(featurewise_center=True).fit(x)
for figure in (datagen.statistics.plot(), datagen.preview(x).figure):
    print(figure._repr_png_()[1:4], "matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.split("\n")[:2] == ["b'PNG' False"] * 2
