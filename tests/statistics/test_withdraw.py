"""Statistics as sets of images: taking some away, adding more, comparing with other data, and handing them on."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskaug import ImageDataGenerator, Statistics
from daskaug.errors import ConfigError, SourceError, StoreError
from daskaug.sources import open_images


def fit(x, **options) -> Statistics:
    generator = {name: options.pop(name) for name in ("rescale", "data_format") if name in options}
    made = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True, **generator)
    return made.fit(x, **options).statistics


def fields(statistics: Statistics) -> dict[str, object]:
    """All there is, arrays as bytes."""
    found = json.loads(statistics.to_json())
    return found | {name: getattr(statistics, name).tobytes() for name in ("mean", "std", "minimum", "maximum")}


@pytest.mark.parametrize("histogram", [False, True])
@given(st.data())
def test_what_was_added_can_be_taken_away_to_the_bit(small_tiles, histogram, data):
    cut = data.draw(st.integers(1, 400))
    dtype = data.draw(st.sampled_from(["uint8", "int16", "bool"]))
    x = small_tiles[:500].astype(dtype)
    a, b = fit(x[:cut], histogram=histogram, rescale=1 / 255), fit(x[cut:], histogram=histogram, rescale=1 / 255)
    for left, expected in ((a + b - b, a), (a + b - a, b), (b + a - b, a)):
        assert left == expected
        assert left.moments == expected.moments
        assert fields(left) == fields(expected)
        assert left.seen == expected.seen


@given(st.integers(1, 499))
def test_some_of_the_images_can_be_taken_away(small_tiles, cut):
    """Images that were fitted in one go with others: sums are exact, and so is the range where counts tell it."""
    x = small_tiles[:500]
    left, expected = fit(x, histogram=True) - fit(x[cut:], histogram=True), fit(x[:cut], histogram=True)
    assert left == expected
    plain, expected = fit(x) - fit(x[cut:]), fit(x[:cut])
    assert (plain.moments.sums, plain.moments.squares) == (expected.moments.sums, expected.moments.squares)
    assert plain.mean.tobytes() == expected.mean.tobytes()
    assert plain.std.tobytes() == expected.std.tobytes()
    if plain.range_is_bound:
        assert (plain.minimum <= expected.minimum).all()
        assert (plain.maximum >= expected.maximum).all()
        assert "bounds" in repr(plain)
    else:
        assert plain == expected


def test_floats_are_taken_away_up_to_rounding(small_tiles):
    x = np.sqrt(small_tiles[:900]).astype(np.float32)
    a, b = fit(x[:400]), fit(x[400:])
    left = a + b - b
    np.testing.assert_allclose(left.mean, a.mean, rtol=1e-12)
    np.testing.assert_allclose(left.std, a.std, rtol=1e-12)
    assert not left.range_is_bound
    np.testing.assert_array_equal(left.maximum, a.maximum)
    bound = fit(x) - fit(x[400:])
    assert bound.range_is_bound
    assert (bound.maximum >= a.maximum).all()


def test_what_was_not_there_cannot_be_taken_away(small_tiles, digits):
    a, b = fit(small_tiles[:100]), fit(255 - small_tiles[:99])
    with pytest.raises(SourceError, match="at least one must be left: none is"):
        a - a
    with pytest.raises(SourceError, match="cannot have been among them"):
        a - b - b
    with pytest.raises(SourceError, match="image_shape"):
        a - fit(digits)
    with pytest.raises(SourceError, match="same dtype, nan_policy"):
        a + fit(small_tiles[:5], sample_weight=np.ones(5))
    x = small_tiles.astype(np.float32)
    with pytest.raises(SourceError, match="cannot have been among them"):
        fit(x[:100]) - fit(10 * x[:99])


def test_the_same_images_twice_are_reported(small_tiles):
    a, b = fit(small_tiles[:100]), fit(small_tiles[100:200])
    with pytest.warns(UserWarning, match="100 images are in both"):
        a + b + a


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_update_is_merging(small_tiles, tmp_path, dtype):
    import zarr

    x = small_tiles[:700].astype(dtype)
    zarr.create_array(tmp_path / "more.zarr", data=x[300:], chunks=(37, 8, 8, 3))
    before = fit(x[:300], rescale=0.5)
    kept = before.digest
    expected = before + fit(x[300:], rescale=0.5)
    for more in (x[300:], open_images(tmp_path / "more.zarr")):
        updated = before.update(more)
        assert updated == expected
        assert updated.seen == expected.seen
    assert before.digest == kept
    with pytest.raises(SourceError, match="cannot be updated"):
        before.update(small_tiles[:4, :4])


def test_everything_new_survives_a_file(small_tiles, tmp_path):
    x = small_tiles[:600].astype(np.float32)
    x[3, 2, 2, 1] = np.nan
    whole = small_tiles[:600]
    made = [
        fit(whole, histogram=True),
        fit((whole[:500].astype(int) * 257 - 32768).astype(np.int16), histogram=True),
        fit(x, nan_policy="omit"),
        fit(whole, sample_weight=np.arange(600)),
        fit(whole[:200]) + fit(whole[200:]),
        fit(whole) - fit(whole[100:]),
    ]
    for statistics in made:
        statistics.save(tmp_path / "s.npz")
        loaded = Statistics.load(tmp_path / "s.npz")
        assert loaded == statistics
        assert loaded.seen == statistics.seen
        assert fields(loaded) == fields(statistics)
        assert repr(loaded) == repr(statistics)
        if statistics.histogram is not None:
            assert loaded.histogram.counts.dtype == np.int64
        assert loaded.update(small_tiles[600:700].astype(statistics.dtype)).samples == statistics.samples + 100


def test_files_of_version_1_are_read(small_tiles, tmp_path):
    from daskaug.statistics import archive

    made = fit(small_tiles[:50])
    header, arrays = archive.read(_saved(made, tmp_path))
    header.pop("seen")
    archive.write(tmp_path / "old.npz", header, arrays, version=1)
    assert Statistics.load(tmp_path / "old.npz") == made
    assert Statistics.load(tmp_path / "old.npz").seen == ()


def _saved(statistics, folder):
    statistics.save(folder / "s.npz")
    return folder / "s.npz"


def test_other_data_are_noticed_on_loading(small_tiles, digits, tmp_path):
    x = small_tiles[:600]
    made = ImageDataGenerator(featurewise_center=True).fit(x)
    made.save(tmp_path / "s.npz")
    fresh = ImageDataGenerator(featurewise_center=True)
    assert fresh.load(tmp_path / "s.npz", x).statistics == made.statistics
    fresh.load(tmp_path / "s.npz", np.concatenate([x, x]))  # data were appended
    for other in (255 - x, x[1:], x[:200], x.astype(np.float32), small_tiles[:600, :4]):
        with pytest.warns(UserWarning, match="fitted on other images"):
            fresh.load(tmp_path / "s.npz", other)
    kept = fresh.statistics
    with pytest.raises((ConfigError, SourceError), match=re.escape("(8, 8, 3)")):
        fresh.load(tmp_path / "s.npz", digits)
    assert fresh.statistics is kept


def test_keras_normalization_takes_them(small_tiles):
    import keras

    for data_format in ("channels_last", "channels_first"):
        x = small_tiles[:300] if data_format == "channels_last" else np.moveaxis(small_tiles[:300], 3, 1).copy()
        statistics = fit(x, data_format=data_format)
        layer = keras.layers.Normalization(**statistics.to_keras())
        found = np.asarray(layer(x.astype(np.float32)))
        shape = (1, 1, 1, 3) if data_format == "channels_last" else (1, 3, 1, 1)
        expected = (x - statistics.mean.reshape(shape)) / statistics.std.reshape(shape)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_torchvision_normalizes_what_totensor_gives(small_tiles):
    x = small_tiles[:300]
    as_tensor = x / 255
    for arguments in (fit(x).to_torchvision(), fit(x, rescale=1 / 255).to_torchvision()):
        scaled = (as_tensor - arguments["mean"]) / arguments["std"]
        assert np.abs(scaled.mean(axis=(0, 1, 2))).max() < 1e-12
        assert np.abs(scaled.std(axis=(0, 1, 2)) - 1).max() < 1e-12


def test_a_checkpoint_is_no_statistics_file(small_tiles, tmp_path):
    fit(small_tiles[:50], checkpoint=tmp_path / "c.npz")
    with pytest.raises(StoreError, match="fit checkpoint"):
        Statistics.load(tmp_path / "c.npz")
    with pytest.raises(StoreError, match="daskaug statistics"):
        fit(small_tiles[:50], checkpoint=_saved(fit(small_tiles[:50]), tmp_path))
