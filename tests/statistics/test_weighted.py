"""Pixels that do not count alike: NaN left out, and images with weights; against float64 NumPy."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskaug.errors import SourceError
from daskaug.statistics import StatisticsRecipe


@pytest.fixture(scope="module")
def images(tiles) -> np.ndarray:
    """(50, 12, 9, 3) float32 of real tiles, some of whose pixels are NaN or infinite, one image altogether."""
    x = np.sqrt(tiles[::17][:50, :12, :9].astype(np.float32))
    state = np.random.RandomState(3)
    for bad in (np.nan, np.inf, -np.inf):
        x[tuple(state.randint(0, extent, 40) for extent in x.shape)] = bad
    x[7] = np.nan
    return x


def recipe(x, **options):
    return StatisticsRecipe(x.shape[1:], "channels_last", x.dtype.name, **options)


def test_omitting_is_numpys_nan_mean(images):
    made = recipe(images, omit_nonfinite=True)
    found = made.finalise(made.partial(images, 0))
    finite = np.where(np.isfinite(images), images.astype(np.float64), np.nan)
    np.testing.assert_allclose(found.mean, np.nanmean(finite, axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.std, np.nanstd(finite, axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_array_equal(found.minimum, np.nanmin(finite, axis=(0, 1, 2)))
    np.testing.assert_array_equal(found.maximum, np.nanmax(finite, axis=(0, 1, 2)))
    assert found.moments.omitted == np.isnan(finite).sum()
    np.testing.assert_array_equal(found.moments.weight, np.isfinite(images).sum(axis=(0, 1, 2)))


def test_where_nothing_is_bad_omitting_changes_no_bit(tiles):
    x = np.sqrt(tiles[:61].astype(np.float32))
    plain, omitting = recipe(x), recipe(x, omit_nonfinite=True)
    a, b = plain.finalise(plain.partial(x, 0)), omitting.finalise(omitting.partial(x, 0))
    np.testing.assert_allclose(b.mean, a.mean, rtol=1e-15)
    assert b.moments.omitted == 0
    exact = recipe(tiles[:61], omit_nonfinite=True)
    assert exact.finalise(exact.partial(tiles[:61], 0)) == recipe(tiles[:61]).finalise(
        recipe(tiles[:61]).partial(tiles[:61], 0)
    )


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_weights_are_numpys_average(tiles, dtype):
    x = tiles[:80].astype(dtype)
    weights = np.random.RandomState(0).uniform(0, 3, 80)
    weights[::9] = 0
    made = recipe(x, weighted=True)
    found = made.finalise(made.partial(x, 0, weights))
    flat = x.reshape(-1, 3).astype(np.float64)
    each = np.repeat(weights, 32 * 32)
    mean = np.average(flat, axis=0, weights=each)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.std, np.sqrt(np.average((flat - mean) ** 2, axis=0, weights=each)), rtol=1e-12)


def test_whole_weights_count_like_copies(tiles):
    x = tiles[:40]
    weights = np.arange(40) % 4
    made = recipe(x, weighted=True)
    found = made.finalise(made.partial(x, 0, weights.astype(float)))
    copies = np.repeat(x, weights, axis=0)
    expected = recipe(x).finalise(recipe(x).partial(copies, 0))
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-13)
    np.testing.assert_allclose(found.std, expected.std, rtol=1e-13)
    np.testing.assert_array_equal(found.minimum, expected.minimum)


@given(st.data())
def test_bits_do_not_depend_on_blocks(images, data):
    weights = np.random.RandomState(1).uniform(0, 2, 50) * (np.arange(50) % 5 > 0)
    made = recipe(images, omit_nonfinite=True, weighted=True)
    expected = made.finalise(made.partial(images, 0, weights))
    bounds = [0, *sorted(data.draw(st.lists(st.integers(0, 50), max_size=9))), 50]
    blocks = data.draw(st.permutations(list(itertools.pairwise(bounds))))
    partials = [made.partial(images[a:b], a, weights[a:b]) for a, b in blocks]
    found = made.finalise(functools.reduce(made.merge, partials))
    assert found == expected
    assert found.mean.tobytes() == expected.mean.tobytes()
    first = np.moveaxis(images, 3, 1).copy()
    turned = StatisticsRecipe(first.shape[1:], "channels_first", "float32", omit_nonfinite=True, weighted=True)
    assert turned.finalise(turned.partial(first, 0, weights)).mean.tobytes() == expected.mean.tobytes()


def test_images_of_weight_zero_are_not_looked_at(images):
    weights = np.isfinite(images).all(axis=(1, 2, 3)).astype(float)
    made = recipe(images, weighted=True)
    found = made.finalise(made.partial(images, 0, weights))
    good = images[weights > 0].astype(np.float64)
    np.testing.assert_allclose(found.mean, good.mean(axis=(0, 1, 2)), rtol=1e-12)
    only = np.zeros(50)
    only[[7, 9]] = 1
    partial = made.partial(images, 0, only)
    with pytest.raises(SourceError, match="in image 7"):
        made.finalise(partial)


def test_a_channel_without_a_pixel_is_an_error(images):
    x = images.copy()
    x[..., 1] = np.nan
    made = recipe(x, omit_nonfinite=True)
    with pytest.raises(SourceError, match="channel 1 has no pixel"):
        made.finalise(made.partial(x, 0))


def test_merged_and_withdrawn(images):
    made = recipe(images, omit_nonfinite=True)
    a, b = (made.finalise(made.partial(images[part], 0)) for part in (slice(0, 20), slice(20, 50)))
    whole = made.finalise(made.partial(images, 0))
    np.testing.assert_allclose((a + b).std, whole.std, rtol=1e-12)
    left = a + b - b
    np.testing.assert_allclose(left.mean, a.mean, rtol=1e-12)
    np.testing.assert_allclose(left.std, a.std, rtol=1e-12)
    assert left.moments.omitted == a.moments.omitted
