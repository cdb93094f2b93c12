"""Mean and variance: right, and the same bits however the images are cut, laid out and merged."""

from __future__ import annotations

import functools
import itertools
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daskaug.errors import SourceError
from daskaug.statistics import FloatMoments, IntegerMoments, StatisticsRecipe

DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "float16", "float32", "float64", "int32", "uint64"]


def recipe_for(images: np.ndarray, data_format: str = "channels_last") -> StatisticsRecipe:
    return StatisticsRecipe(images.shape[1:], data_format, images.dtype.name)


def cuts(draw: st.DrawFn, n: int) -> list[tuple[int, int]]:
    inner = draw(st.lists(st.integers(0, n), max_size=12))
    bounds = [0, *sorted(inner), n]
    return draw(st.permutations(list(itertools.pairwise(bounds))))


@st.composite
def reductions(draw, n: int):
    """Blocks in random order, and a random binary tree that merges them."""
    blocks = cuts(draw, n)
    joins = [draw(st.integers(0, 1_000_000)) for _ in blocks]
    return blocks, joins


def reduce(recipe, images, blocks, joins, base=0):
    partials = [recipe.partial(images[start:stop], base + start) for start, stop in blocks]
    for join in joins[:-1]:
        first = join % (len(partials) - 1)
        partials[first : first + 2] = [recipe.merge(partials[first], partials[first + 1])]
    (whole,) = partials
    return whole


@pytest.fixture(scope="module")
def images(tiles) -> dict[str, np.ndarray]:
    """61 real tiles in every dtype, wide floats with all their digits in use."""
    chosen = tiles[::13][:61, :20, :17]
    turned = np.sqrt(chosen.astype(np.float64) + 0.1)
    scaled = {"bool": chosen > 128, "int8": (chosen // 2).astype(np.int8) - 64, "uint8": chosen}
    scaled |= {
        "int16": (chosen.astype(np.int32) * 257 - 32768).astype(np.int16),
        "uint16": chosen.astype(np.uint16) * 257,
    }
    scaled |= {name: turned.astype(name) for name in ("float16", "float32", "float64")}
    return scaled | {"int32": chosen.astype(np.int32) * 10**6, "uint64": chosen.astype(np.uint64) * 10**15}


@pytest.mark.parametrize("dtype", DTYPES)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_bits_do_not_depend_on_blocks_or_merges(images, dtype, data):
    x = images[dtype]
    recipe = recipe_for(x)
    expected = recipe.finalise(recipe.partial(x, 0))
    blocks, joins = data.draw(reductions(len(x)))
    found = recipe.finalise(reduce(recipe, x, blocks, joins))
    assert found == expected
    assert found.mean.tobytes() == expected.mean.tobytes()
    assert found.std.tobytes() == expected.std.tobytes()
    assert found.moments.variance.tobytes() == expected.moments.variance.tobytes()


@settings(deadline=None, max_examples=25)
@given(data=st.data(), base=st.sampled_from([0, 1, 37, 2**40 + 11]))
def test_bits_depend_on_the_set_of_samples_alone(images, data, base):
    """Of images with gaps between them, too, and wherever they begin."""
    x = images["float32"]
    recipe = recipe_for(x)
    kept = data.draw(st.sets(st.integers(0, len(x) - 1), min_size=1))
    order = data.draw(st.permutations(sorted(kept)))
    one_by_one = functools.reduce(recipe.merge, [recipe.partial(x[i : i + 1], base + i) for i in sorted(kept)])
    shuffled = functools.reduce(recipe.merge, [recipe.partial(x[i : i + 1], base + i) for i in order])
    assert recipe.finalise(shuffled) == recipe.finalise(one_by_one)
    chosen = x[sorted(kept)].astype(np.float64)
    np.testing.assert_allclose(recipe.finalise(shuffled).mean, chosen.mean((0, 1, 2)), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layout_does_not_matter(images, dtype):
    x = images[dtype]
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    swapped = x.astype(x.dtype.newbyteorder("S"))
    variants = [
        (x.shape[1:], "channels_last", swapped),
        (x.shape[1:], "channels_last", np.asfortranarray(x)),
        (x.shape[1:], "channels_last", np.repeat(x, 2, axis=1)[:, ::2]),
        (first.shape[1:], "channels_first", first),
        (first.shape[1:], "channels_first", first[:, :, ::-1][:, :, ::-1]),
        (first.shape[1:], "channels_first", x.transpose(0, 3, 1, 2)),
    ]
    expected = recipe_for(x).finalise(recipe_for(x).partial(x, 3))
    for shape, data_format, block in variants:
        block.flags.writeable = False
        recipe = StatisticsRecipe(shape, data_format, dtype)
        found = recipe.finalise(recipe.partial(block, 3))
        for name in ("mean", "std", "minimum", "maximum"):
            assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()


@pytest.mark.parametrize("dtype", [name for name in DTYPES if name != "bool"])
def test_float64_numpy_on_photographs(images, dtype):
    x = images[dtype]
    wide = x.astype(np.float64)
    found = recipe_for(x).finalise(recipe_for(x).partial(x, 0))
    assert (found.samples, found.pixels) == (61, 61 * 20 * 17)
    np.testing.assert_allclose(found.mean, wide.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.std, wide.std((0, 1, 2)), rtol=1e-12)
    np.testing.assert_array_equal(found.minimum, wide.min((0, 1, 2)))
    np.testing.assert_array_equal(found.maximum, wide.max((0, 1, 2)))


def test_integer_mean_and_variance_are_correctly_rounded(tiles):
    recipe = recipe_for(tiles)
    found = recipe.finalise(recipe.partial(tiles, 0))
    for k in range(3):
        values, counts = np.unique(tiles[..., k], return_counts=True)
        pairs = [(int(value), int(count)) for value, count in zip(values, counts, strict=True)]
        n = sum(count for _, count in pairs)
        mean = Fraction(sum(value * count for value, count in pairs), n)
        variance = sum(count * (value - mean) ** 2 for value, count in pairs) / n
        assert found.mean[k] == float(mean)
        assert found.moments.variance[k] == float(variance)
        assert found.std[k] == math.sqrt(float(variance))


def test_float_images_far_from_zero():
    """Pixels whose squares have no digit left for the deviations; neighbouring doubles there differ by 1e-7."""
    noise = np.random.RandomState(0).uniform(-1, 1, (40, 9, 11, 2))
    x = 1e9 + noise
    exact = [[Fraction(value) for value in x[..., k].ravel().tolist()] for k in range(2)]
    found = recipe_for(x).finalise(recipe_for(x).partial(x, 0))
    for k, values in enumerate(exact):
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        assert found.mean[k] == pytest.approx(float(mean), rel=1e-15)
        assert found.moments.variance[k] == pytest.approx(float(variance), rel=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constant_images_have_no_deviation(dtype):
    x = np.full((7, 13, 17, 3), 0.1, dtype)
    found = recipe_for(x).finalise(recipe_for(x).partial(x, 0))
    np.testing.assert_allclose(found.mean, np.float64(x[0, 0, 0, 0]), rtol=1e-15)
    assert (found.std < 1e-16).all()


def test_zeros_of_either_sign_are_one_value():
    x = np.array([0.0, -0.0]).reshape(2, 1, 1, 1)
    recipe = recipe_for(x)
    a, b = recipe.partial(x[:1], 0), recipe.partial(x[1:], 1)
    assert recipe.finalise(recipe.merge(a, b)) == recipe.finalise(recipe.merge(b, a))


def test_identity_is_neutral(images):
    for dtype in ("uint8", "float32"):
        x = images[dtype]
        recipe = recipe_for(x)
        whole = recipe.partial(x, 0)
        for merged in (recipe.merge(recipe.identity(), whole), recipe.merge(whole, recipe.identity())):
            assert recipe.finalise(merged) == recipe.finalise(whole)
        assert recipe.merge(recipe.identity(), recipe.identity()).samples == 0
        assert recipe.partial(x[:0], 5).samples == 0


def test_partials_and_recipe_pickle_small(images):
    for dtype in ("uint8", "float32"):
        recipe = recipe_for(images[dtype])
        partial = recipe.partial(images[dtype], 1)
        assert len(pickle.dumps(partial)) < 4096
        assert len(pickle.dumps(recipe)) < 512
        copy, same = pickle.loads(pickle.dumps((recipe, partial)))
        assert copy == recipe
        assert copy.finalise(same) == recipe.finalise(partial)


def test_the_tree_stays_small():
    """A million samples in a thousand blocks, merged in order and out of order: a handful of nodes remain."""
    x = np.random.RandomState(0).uniform(0, 1, (1000, 1, 1, 1)).astype(np.float32)
    moments = [FloatMoments.partial(x, 1000 * i) for i in range(1000)]
    forward = functools.reduce(FloatMoments.merge, moments)
    assert forward.samples == 1_000_000
    assert sum(len(nodes.numbers) for nodes in forward.levels.values()) <= 20
    evens_then_odds = functools.reduce(FloatMoments.merge, moments[::2] + moments[1::2])
    a, b = forward.finalise(), evens_then_odds.finalise()
    assert (a.mean.tobytes(), a.m2.tobytes()) == (b.mean.tobytes(), b.m2.tobytes())


def test_non_finite_pixels_name_the_first_image_and_the_count(images):
    x = images["float32"].copy()
    x[40, 3, 4, 1] = np.nan
    x[17, 0, 0, 2] = np.inf
    x[17, 5, 5, 0] = -np.inf
    recipe = recipe_for(x)
    blocks = [recipe.partial(x[start : start + 10], 100 + start) for start in (30, 0, 10, 60, 50, 20, 40)]
    whole = functools.reduce(recipe.merge, blocks)
    with pytest.raises(SourceError, match=r"3 pixel values are NaN or infinite, the first of them in image 117"):
        recipe.finalise(whole)


def test_values_beyond_float64_are_reported():
    x = np.array([1e300, -1e300]).reshape(2, 1, 1, 1)
    with pytest.raises(SourceError, match="beyond the range of float64"):
        recipe_for(x).finalise(recipe_for(x).partial(x, 0))


def test_no_images(images):
    for dtype in ("uint8", "float32"):
        recipe = recipe_for(images[dtype])
        with pytest.raises(SourceError, match="no images"):
            recipe.finalise(recipe.identity())


def test_a_sample_reduced_twice_is_an_error(images):
    x = images["float32"]
    recipe = recipe_for(x)
    for again in (slice(0, 1), slice(20, 30), slice(60, 61)):
        with pytest.raises(SourceError, match=f"image {again.start} was reduced twice"):
            recipe.merge(recipe.partial(x, 0), recipe.partial(x[again], again.start))


def test_what_does_not_fit_is_refused(images):
    recipe = recipe_for(images["uint8"])
    with pytest.raises(SourceError, match=r"uint8 images of shape \(20, 17, 3\).*float32"):
        recipe.partial(images["float32"], 0)
    with pytest.raises(SourceError, match=r"\(61, 20, 16, 3\)"):
        recipe.partial(images["uint8"][:, :, 1:], 0)
    with pytest.raises(SourceError, match="at least 0"):
        recipe.partial(images["uint8"], -1)
    with pytest.raises(SourceError, match="integer and of float"):
        recipe.merge(recipe.identity(), recipe_for(images["float32"]).identity())
    with pytest.raises(SourceError, match="3 and with 1 channels"):
        IntegerMoments.identity(3).merge(IntegerMoments.identity(1))
    complex_images = np.zeros((1, 2, 2, 1), complex)
    with pytest.raises(SourceError, match="real dtype"):
        recipe_for(complex_images).partial(complex_images, 0)


def test_rescaling_is_applied_at_the_end(images):
    x = images["uint8"]
    recipe = recipe_for(x)
    raw, scaled = (recipe.finalise(recipe.partial(x, 0), rescale=factor) for factor in (None, -1 / 255))
    np.testing.assert_allclose(scaled.mean, -raw.mean / 255, rtol=1e-15)
    np.testing.assert_allclose(scaled.std, raw.std / 255, rtol=1e-15)
    np.testing.assert_array_equal(scaled.minimum, raw.minimum)
    assert recipe.finalise(recipe.partial(x, 0), rescale=0) == raw
    assert scaled != raw
