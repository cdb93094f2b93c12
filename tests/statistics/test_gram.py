"""Statistics that keep the products of all pairs of pixels: merged, withdrawn, and whitened from again."""

from __future__ import annotations

import dataclasses
import json
import warnings

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from daskaug import ImageDataGenerator, Statistics
from daskaug.errors import ConfigError, SourceError, StoreError
from daskaug.statistics import FloatGram, IntegerGram, archive
from tests import pictures
from tests.statistics.test_whitening import keras_whitening, relative


def fit(x, *, zca: bool = False, rescale=None, data_format=None, epsilon: float = 1e-6, **options) -> Statistics:
    made = ImageDataGenerator(
        featurewise_center=True, zca_whitening=zca, zca_epsilon=epsilon, rescale=rescale, data_format=data_format
    )
    return made.fit(x, **options).statistics


def kept(x, **options) -> Statistics:
    return fit(x, keep_gram=True, **options)


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    """(400, 16, 16, 3) uint8 tiles of photographs."""
    return pictures.tiles(16, 400)


# --- what is kept ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int8", "bool", "uint16", "int16"])
def test_integer_products_are_those_of_python(digits, dtype):
    x = digits[:300, 1:5, 1:5].astype(dtype)
    x = x * np.uint16(4095) if dtype == "uint16" else x
    gram = kept(x).gram
    assert isinstance(gram, IntegerGram)
    rows = x.reshape(300, 16).astype(object) - gram.shift
    assert (gram.products.astype(object) == rows.T @ rows).all()
    assert (gram.sums.astype(object) == rows.sum(axis=0)).all()


def test_nothing_is_kept_unless_asked_for(digits):
    assert fit(digits).gram is None
    assert fit(digits, zca=True).gram is None
    assert "Gram" not in repr(fit(digits))
    both = kept(digits, zca=True)
    assert "Gram matrix kept" in repr(both)
    assert dataclasses.replace(both, gram=None) == fit(digits, zca=True)
    assert dataclasses.replace(kept(digits), gram=None) == fit(digits)
    assert kept(digits) != fit(digits)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_whitening_from_it_is_keras_formula(photos, dtype, data_format, tmp_path):
    x = photos[:150, ::2, ::2].astype(dtype)
    x = x if data_format == "channels_last" else np.moveaxis(x, 3, 1).copy()
    zarr.create_array(tmp_path / "x.zarr", data=x, chunks=(31, *x.shape[1:]))
    axis = 3 if data_format == "channels_last" else 1
    expected, _, rank = keras_whitening(x.astype(np.float64) / 255, axis, 0.05)
    found = kept(tmp_path / "x.zarr", rescale=1 / 255, data_format=data_format).whiten(epsilon=0.05).whitening
    assert found.rank == rank
    assert found.epsilon == 0.05
    assert relative(found.matrix(), expected) < 1e-7


def test_as_many_directions_as_are_asked_for(photos):
    statistics = kept(photos)
    whole = statistics.whiten().whitening
    for components in (10, 0.9):
        found = statistics.whiten(components=components).whitening
        expected = fit(photos, zca=True, zca_route="features", zca_components=components).whitening
        assert found.rank == expected.rank < whole.rank
        assert found.captured == pytest.approx(expected.captured, abs=1e-12)
        assert relative(found.matrix(), expected.matrix()) < 1e-9


# --- merged and withdrawn ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
@given(cut=st.integers(1, 299))
def test_what_was_added_can_be_taken_away_to_the_bit(small_tiles, dtype, cut):
    x = small_tiles[:300].astype(dtype)
    a, b, whole = kept(x[:cut]), kept(x[cut:]), kept(x)
    assert a + b == b + a == whole
    for left, expected in ((a + b - b, a), (a + b - a, b), (whole - b, a)):
        assert left.gram.products.tobytes() == expected.gram.products.tobytes()
        assert left.gram.sums.tobytes() == expected.gram.sums.tobytes()
        assert left.gram.rows == expected.gram.rows
    assert a + b - b == a


def test_photographs_are_whitened_from_parts(photos):
    """Appended photographs, and photographs that were taken back, need no second look at the others."""
    a, b, c = kept(photos[:150]), kept(photos[150:300]), kept(photos[300:])
    for statistics, images in (
        (a + b + c, photos),
        (a + b + c - b, np.concatenate([photos[:150], photos[300:]])),
        (a.update(photos[150:300]), photos[:300]),
    ):
        expected = fit(images, zca=True, zca_route="features").whitening
        found = statistics.whiten().whitening
        assert found.rank == expected.rank
        assert relative(found.matrix(), expected.matrix()) < 1e-9


def test_the_generator_whitens_with_it(photos):
    merged = (kept(photos[:200]) + kept(photos[200:])).whiten(epsilon=1e-3, components=50)
    made, expected = (ImageDataGenerator(featurewise_center=True, zca_whitening=True, zca_epsilon=1e-3) for _ in "ab")
    made.statistics = merged
    expected.fit(photos, zca_components=50, zca_route="features")
    found = next(made.flow(photos, batch_size=20, shuffle=False))
    np.testing.assert_allclose(found, next(expected.flow(photos, batch_size=20, shuffle=False)), atol=2e-4)


def test_floats_are_merged_and_taken_away_up_to_rounding(photos):
    x = np.sqrt(photos[:, ::2, ::2].astype(np.float64)) + 1e4
    a, b, whole = kept(x[:250]), kept(x[250:]), kept(x)
    assert isinstance(whole.gram, FloatGram)
    largest = np.abs(whole.gram.scatter).max()
    for found, expected in ((a + b, whole), (a + b - b, a), (whole - a, b)):
        assert found.gram.rows == expected.gram.rows
        np.testing.assert_allclose(found.gram.mean, expected.gram.mean, rtol=1e-13)
        np.testing.assert_allclose(found.gram.scatter, expected.gram.scatter, rtol=0, atol=1e-10 * largest)
    assert relative((whole - a).whiten(epsilon=0.1).whitening.matrix(), b.whiten(epsilon=0.1).whitening.matrix()) < 1e-6


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_updating_is_merging(photos, dtype):
    x = photos.astype(dtype)
    before = kept(x[:300])
    updated, merged = before.update(x[300:]), before + kept(x[300:])
    assert relative(updated.whiten().whitening.matrix(), merged.whiten().whitening.matrix()) < 1e-6
    if dtype == "uint8":
        assert updated == merged == kept(x)
    assert before.gram.rows == 300


def test_what_was_not_there_cannot_be_taken_away(small_tiles):
    """The sums of the channels would allow it, and the products do not."""
    x = small_tiles[:200]
    turned = x[:100, ::-1, ::-1].copy()
    for images, others in ((x, turned), (x.astype(np.float32), turned.astype(np.float32))):
        assert fit(images) - fit(others)
        images = images.copy()
        images[:, 0, 0] = 9
        others[:, 0, 0] = others[:, 3, 3]
        with pytest.raises(SourceError, match="Gram matrix these cannot have been"):
            kept(images) - kept(others)


def test_what_is_dropped_is_told_and_how_to_have_it(digits):
    a, b = digits[:900], digits[900:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept(a) + kept(b)
    for combine in (Statistics.merge, Statistics.withdraw):
        whole = kept(digits, zca=True)
        with pytest.warns(UserWarning, match=r"whiten\(\)") as told:
            combined = combine(whole, kept(b[:100]))
        assert len(told) == 1
        assert combined.whitening is None
        assert combined.whiten().whitening.rank > 50
        with pytest.warns(UserWarning, match="keep_gram=True"):
            assert combine(fit(digits, zca=True), fit(b[:100])).gram is None
        with pytest.warns(UserWarning, match="only one of the statistics"):
            assert combine(kept(digits), fit(b[:100])).gram is None
    with pytest.raises(ConfigError, match="keep_gram=True"):
        fit(digits).whiten()


# --- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_the_file_is_read_with_numpy_alone(photos, dtype, tmp_path):
    x = photos[:200, ::4, ::4].astype(dtype)
    statistics = kept(x)
    statistics.save(tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz", allow_pickle=False) as file:
        header = json.loads(str(file["header"]))
        rows = x.reshape(200, -1).astype(np.float64)
        if dtype == "uint8":
            rows -= header["gram_shift"]
            np.testing.assert_array_equal(file["gram_sums"], rows.sum(axis=0))
            np.testing.assert_array_equal(file["gram"], rows.T @ rows)
        else:
            np.testing.assert_allclose(file["gram_mean"], rows.mean(axis=0), rtol=1e-13)
            rows -= rows.mean(axis=0)
            np.testing.assert_allclose(file["gram"], rows.T @ rows, atol=1e-6)
    loaded = Statistics.load(tmp_path / "s.npz")
    assert loaded == statistics
    assert loaded.digest == statistics.digest
    assert loaded.whiten(components=5).digest == statistics.whiten(components=5).digest
    assert (loaded + kept(photos[200:300, ::4, ::4].astype(dtype))).gram.rows == 300


def test_a_file_that_contradicts_itself_is_refused(digits, tmp_path):
    statistics = kept(digits)
    statistics.save(tmp_path / "s.npz")
    header, arrays = archive.read(tmp_path / "s.npz")
    gram = statistics.gram
    other = kept(16 - digits).gram
    for changed in (
        {"gram": other.products, "gram_sums": other.sums},
        {"gram": gram.products[:-1, :-1]},
        {"gram_sums": gram.sums[:-1]},
    ):
        archive.write(tmp_path / "changed.npz", header, arrays | changed)
        with pytest.raises(StoreError):
            Statistics.load(tmp_path / "changed.npz")
    archive.write(tmp_path / "changed.npz", header, {name: arrays[name] for name in arrays if name != "gram_sums"})
    with pytest.raises(StoreError, match="gram_sums"):
        Statistics.load(tmp_path / "changed.npz")
    with pytest.raises(SourceError, match="Gram matrix is of 1797 images"):
        dataclasses.replace(fit(digits[:5]), gram=gram)
    with pytest.raises(SourceError, match="IntegerGram does not go with"):
        dataclasses.replace(fit(digits.astype(np.float32)), gram=gram)


# --- refused -----------------------------------------------------------------------------------------------------


def test_a_matrix_that_does_not_fit_is_refused_before_anything_is_read(tmp_path):
    """There is nothing to read: the store has no chunks, and reading it would give zeros in silence."""
    store = zarr.create_array(tmp_path / "x.zarr", shape=(5000, 224, 224, 3), chunks=(50, 224, 224, 3), dtype="u1")
    seen = []
    for zca in (False, True):
        with pytest.raises(ConfigError, match=r"150,528 × 150,528.*181.27 GB.*Nothing was read.*without `keep_gram`"):
            kept(store, zca=zca, progress=lambda *counts: seen.append(counts))
    assert not seen
    small = pictures.tiles(16, 30)
    with pytest.raises(ConfigError) as caught:
        kept(small, memory_budget=5_000_000)
    budget = int(str(caught.value).partition("memory_budget=")[2].rstrip(".").replace("_", ""))
    assert kept(small, memory_budget=budget) == kept(small)


def test_what_cannot_be_combined(digits):
    for options in ({"nan_policy": "omit"}, {"sample_weight": np.ones(len(digits))}, {"tolerance": 0.1}):
        with pytest.raises(ConfigError, match=f"`{next(iter(options))}.* or fit without `keep_gram`"):
            kept(digits, **options)
    with pytest.raises(ConfigError, match="`keep_gram`"):
        kept(digits, zca=True, zca_route="samples")
    statistics = kept(digits)
    for wrong in ({"epsilon": -1}, {"epsilon": float("nan")}, {"components": 0}, {"components": 1.5}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))}"):
            statistics.whiten(**wrong)


def test_the_plan_tells_what_it_takes(photos):
    made = ImageDataGenerator(featurewise_center=True)
    plan = made.plan_fit(photos, keep_gram=True)
    assert plan.gram_nbytes >= 5 * 8 * 768**2
    assert "Gram" in str(plan)
    assert "Gram" not in str(made.plan_fit(photos))
    whitening = ImageDataGenerator(featurewise_center=True, zca_whitening=True)
    assert str(whitening.plan_zca(photos)) in str(whitening.plan_fit(photos))
    assert whitening.plan_fit(photos, keep_gram=True).whitening.route == "features"
