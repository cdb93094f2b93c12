"""ZCA whitening, against the singular value decomposition that Keras computes, in float64."""

from __future__ import annotations

import functools
import itertools
from fractions import Fraction

import numpy as np
import pytest

from daskaug.errors import ConfigError, SourceError
from daskaug.statistics import StatisticsRecipe
from daskaug.statistics.whitening import check_gram


def keras_whitening(images: np.ndarray, channel_axis: int, epsilon: float) -> tuple[np.ndarray, np.ndarray, int]:
    """ZCA matrix by Keras' formula without null directions, the centred rows (n, d), and the rank."""
    axes = tuple(axis for axis in range(4) if axis != channel_axis)
    rows = (images - images.mean(axes, keepdims=True)).reshape(len(images), -1)
    u, s, _ = np.linalg.svd(rows.T, full_matrices=False)
    kept = s > s[0] * np.sqrt(max(rows.shape) * 2.0**-52)
    u, s = u[:, kept], s[kept]
    return (u * (np.sqrt(len(rows)) / (s + epsilon))) @ u.T, rows, int(kept.sum())


def fitted(images, data_format="channels_last", blocks=4, rescale=None, epsilon=1e-6):
    recipe = StatisticsRecipe(images.shape[1:], data_format, images.dtype.name, gram=True)
    bounds = np.linspace(0, len(images), blocks + 1).astype(int)
    pieces = [recipe.partial(images[a:b], a) for a, b in itertools.pairwise(bounds)]
    statistics = recipe.finalise(functools.reduce(recipe.merge, pieces, recipe.identity()), rescale=rescale)
    return statistics.whiten(epsilon=epsilon)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module")
def cases(digits, small_tiles) -> dict[str, np.ndarray]:
    few = small_tiles[::97][:90]
    return {
        "digits": digits,
        "digits, fewer than features": digits[:40],
        "photographs": small_tiles,
        "photographs, fewer than features": few,
        "photographs, uint16": small_tiles.astype(np.uint16) * 257,
        "photographs, int8": (small_tiles // 2).astype(np.int8) - 64,
        "photographs, bool": small_tiles > 100,
        "photographs, float32": (np.sqrt(small_tiles) / 16).astype(np.float32),
        "photographs, float64 far from zero": np.sqrt(small_tiles.astype(np.float64)) + 1e6,
    }


NAMES = [
    "digits",
    "digits, fewer than features",
    "photographs",
    "photographs, fewer than features",
    "photographs, uint16",
    "photographs, int8",
    "photographs, bool",
    "photographs, float32",
    "photographs, float64 far from zero",
]


@pytest.mark.parametrize("name", NAMES)
def test_keras_formula_in_float64(cases, name):
    images = cases[name]
    whitening = fitted(images, epsilon=1e-2).whitening
    expected, _, rank = keras_whitening(images.astype(np.float64), 3, 1e-2)
    assert whitening.rank == rank
    assert relative(whitening.matrix(), expected) < 1e-8
    assert np.array_equal(whitening.matrix(), whitening.matrix().T)


@pytest.mark.parametrize("name", NAMES)
def test_second_moment_becomes_the_identity_on_the_kept_subspace(cases, name):
    images = cases[name]
    statistics = fitted(images, epsilon=0.0)
    _, rows, _ = keras_whitening(images.astype(np.float64), 3, 0.0)
    whitening = statistics.whitening
    whitened = rows @ whitening.matrix()
    moment = whitening.u.T @ (whitened.T @ whitened / len(rows)) @ whitening.u
    np.testing.assert_allclose(moment, np.eye(whitening.rank), atol=1e-7)
    np.testing.assert_allclose(whitening.u.T @ whitening.u, np.eye(whitening.rank), atol=1e-12)


def test_null_directions_are_dropped(digits):
    """Three pixels of the digits are always blank, and as many directions as images can be kept at most."""
    assert fitted(digits).whitening.rank == 62
    few = fitted(digits[:20]).whitening
    assert few.rank == 20
    assert few.scale.max() < 1e3
    nothing = fitted(np.full((5, 3, 3, 1), 7, np.uint8)).whitening
    assert nothing.rank == 0
    assert not nothing.matrix().any()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_channels_first(small_tiles, dtype):
    images = np.ascontiguousarray(small_tiles.astype(dtype).transpose(0, 3, 1, 2))
    expected, _, rank = keras_whitening(images.astype(np.float64), 1, 1e-6)
    whitening = fitted(images, "channels_first").whitening
    assert whitening.rank == rank
    assert relative(whitening.matrix(), expected) < 1e-8


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_rescaled_images(small_tiles, dtype):
    images = small_tiles.astype(dtype)
    expected, _, _ = keras_whitening(images.astype(np.float64) / 255, 3, 0.05)
    found = fitted(images, rescale=1 / 255, epsilon=0.05)
    assert relative(found.whitening.matrix(), expected) < 1e-8
    assert found.whitening.epsilon == 0.05


def test_integer_gram_is_exact_and_ignores_blocks(small_tiles):
    for images in (small_tiles[:2500, :3, :3], small_tiles[:2500, :3, :3].astype(np.uint16) * 257):
        recipe = StatisticsRecipe((3, 3, 3), "channels_last", images.dtype.name, gram=True)
        whole = recipe.partial(images, 0).gram
        pieces = [recipe.partial(images[start : start + 311], start) for start in range(0, 2500, 311)]
        parts = functools.reduce(recipe.merge, pieces[::-1]).gram
        assert np.array_equal(whole.products, parts.products)
        assert np.array_equal(whole.sums, parts.sums)
        rows = images.reshape(2500, -1).astype(object) - whole.shift
        assert np.array_equal(whole.products.astype(object), rows.T @ rows)


def test_extreme_values_stay_exact_in_float32():
    images = np.zeros((5000, 1, 2, 1), np.uint8)
    images[::2, :, 1] = 255
    recipe = StatisticsRecipe((1, 2, 1), "channels_last", "uint8", gram=True)
    products = recipe.partial(images, 0).gram.products
    mixed = 2500 * (128 * 128 - 128 * 127)
    assert products.tolist() == [[5000 * 128**2, mixed], [mixed, 2500 * (128**2 + 127**2)]]


def test_dark_images_do_not_lose_digits():
    """Far from the shift of the exact sums, the moment about the mean is still right to the last few bits."""
    images = np.random.RandomState(0).randint(0, 3, (4000, 2, 2, 1)).astype(np.uint8)
    recipe = StatisticsRecipe((2, 2, 1), "channels_last", "uint8", gram=True)
    partial = recipe.partial(images, 0)
    mean = Fraction(int(images.sum()), images.size)
    rows = images.reshape(-1, 4).astype(int)
    sums = rows.sum(axis=0)
    expected = [
        [int(rows[:, i] @ rows[:, j]) - mean * int(sums[i] + sums[j]) + 4000 * mean**2 for j in range(4)]
        for i in range(4)
    ]
    found = partial.gram.about(np.repeat(partial.moments.mean, 4))
    np.testing.assert_allclose(found, np.array(expected, float), rtol=0, atol=1e-13 * 4000)


def test_non_finite_images_are_named_before_any_decomposition():
    images = np.ones((6, 2, 2, 1), np.float32)
    images[4, 0, 0, 0] = np.nan
    with pytest.raises(SourceError, match="in image 4"):
        fitted(images)


def test_size_is_checked_before_any_work():
    check_gram(3072, cores=2)
    check_gram(3072, cores=2, budget=5 * 8 * 3072**2)
    with pytest.raises(ConfigError) as caught:
        check_gram(224 * 224 * 3, cores=2, budget=2_000_000_000)
    for part in (
        "150,528",
        "181.27 GB",
        "906.35 GB in all",
        "2.00 GB, enough for 7,071",
        "Nothing was read",
        "keep_gram",
    ):
        assert part in str(caught.value)
    check_gram(7071, cores=2, budget=2_000_000_000)


def test_grams_of_other_images_are_refused(digits):
    a = StatisticsRecipe((8, 8, 1), "channels_last", "uint8", gram=True)
    b = StatisticsRecipe((4, 4, 1), "channels_last", "uint8", gram=True)
    with pytest.raises(SourceError, match="Gram"):
        a.merge(a.partial(digits, 0), b.partial(digits[:, :4, :4], 0))
