"""What the facade adds to the layers below it."""

from __future__ import annotations

import pickle

import dask.array as da
import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator, Statistics
from daskaug.errors import ConfigError, NotFittedError, SourceError, StoreError
from tests import pictures

X, Y = pictures.tiles(16, 50), np.arange(50)


def test_fit_returns_itself_and_sets_keras_attributes():
    made = ImageDataGenerator(featurewise_center=True)
    assert made.mean is made.std is made.zca_whitening_matrix is made.statistics is None
    assert made.fit(X) is made
    assert made.mean.shape == (1, 1, 3)
    assert made.std is None  # not asked for, as in Keras
    assert isinstance(made.statistics, Statistics)
    first = ImageDataGenerator(
        featurewise_std_normalization=True, featurewise_center=True, data_format="channels_first"
    )
    first.fit(np.moveaxis(X, 3, 1).copy())
    assert first.mean.shape == first.std.shape == (3, 1, 1)
    assert np.array_equal(first.mean.ravel(), made.mean.ravel())


def test_fit_sees_what_training_sees():
    """After fitting, the standardised data have mean 0 and std 1, whatever else is done to them."""

    def shifted(image):
        return image * 2 + 7

    for options in (
        {},
        {"rescale": 1 / 255},
        {"preprocessing_function": shifted},
        {"preprocessing_function": shifted, "rescale": 0.5},
        {"samplewise_center": True},
        {"samplewise_std_normalization": True, "samplewise_center": True, "rescale": 1 / 255},
    ):
        made = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True, **options).fit(X)
        batch = next(made.flow(X, batch_size=50, shuffle=False)).astype(np.float64)
        assert np.abs(batch.mean(axis=(0, 1, 2))).max() < 1e-5, options
        assert np.abs(batch.std(axis=(0, 1, 2)) - 1).max() < 1e-4, options


def test_fit_on_augmented_images_sees_the_draws_of_training():
    options = {
        "featurewise_center": True,
        "featurewise_std_normalization": True,
        "rotation_range": 40,
        "zoom_range": 0.3,
    }
    made = ImageDataGenerator(**options).fit(X, augment=True, rounds=3, seed=9)
    plain = ImageDataGenerator(rotation_range=40, zoom_range=0.3)
    seen = np.concatenate([plain.augment(X, seed=9, epoch=e).compute() for e in range(3)]).astype(np.float64)
    assert made.statistics.samples == 150
    assert np.abs(made.mean.ravel() - seen.mean(axis=(0, 1, 2))).max() < 1e-9
    assert np.abs(made.std.ravel() - seen.std(axis=(0, 1, 2))).max() < 1e-9
    chunked = ImageDataGenerator(**options).fit(da.from_array(X, chunks=(7, 8, 16, 3)), augment=True, rounds=3, seed=9)
    assert chunked.mean.tobytes() == made.mean.tobytes()


def test_fit_takes_an_iterator_for_its_images():
    made = ImageDataGenerator(featurewise_center=True, validation_split=0.2)
    training = made.flow(X, Y, subset="training", ignore_class_split=True)
    assert made.fit(training).statistics == ImageDataGenerator(featurewise_center=True).fit(X[10:]).statistics


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (X[:0], {}, SourceError, "nothing to fit on"),
        (X[0], {}, SourceError, "rank 4"),
        (X, {"rounds": 0}, ConfigError, "`rounds`"),
        (X, {"augment": True, "seed": -1}, ConfigError, "`seed`"),
        (np.where(np.arange(50)[:, None, None, None] == 7, np.nan, X), {}, SourceError, "7"),
    ],
    ids=range(5),
)
def test_a_failed_fit_leaves_the_generator_as_it_was(x, options, error, message):
    made = ImageDataGenerator(featurewise_center=True).fit(X)
    before = made.statistics
    with pytest.raises(error, match=message):
        made.fit(x, **options)
    assert made.statistics is before


def test_whitening_too_large_is_refused_before_anything_is_read(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", shape=(10, 224, 224, 3), chunks=(5, 224, 224, 3), dtype="u1")
    made = ImageDataGenerator(featurewise_center=True, zca_whitening=True)
    with pytest.raises(ConfigError, match=r"150,?528"):
        made.fit(tmp_path / "x.zarr", memory_budget=1_000_000)


def test_statistics_can_be_assigned_and_are_checked():
    made = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True)
    made.mean, made.std = [[[1.0, 2.0, 3.0]]], 2.0
    batch = next(made.flow(X, shuffle=False, batch_size=50))
    assert np.allclose(batch, (X - np.array([1, 2, 3])) / (2 + 1e-6), rtol=1e-6)
    per_pixel = X.mean(axis=0)
    made.mean = per_pixel
    assert np.allclose(next(made.flow(X, shuffle=False, batch_size=50)), (X - per_pixel) / (2 + 1e-6), atol=1e-4)
    for name, bad in (("mean", "a"), ("std", [np.nan]), ("zca_whitening_matrix", np.ones((3, 4)))):
        with pytest.raises(ConfigError, match=f"`{name}`"):
            setattr(made, name, bad)


def test_save_and_load(tmp_path):
    made = ImageDataGenerator(featurewise_center=True, zca_whitening=True).fit(pictures.tiles(8, 300))
    made.save(tmp_path / "statistics.npz")
    other = ImageDataGenerator(featurewise_center=True, zca_whitening=True).load(tmp_path / "statistics.npz")
    assert other.statistics == made.statistics
    x = pictures.tiles(8, 300)[:5]
    assert np.array_equal(other.standardize(x), made.standardize(x))
    with pytest.raises(NotFittedError):
        ImageDataGenerator().save(tmp_path / "none.npz")
    (tmp_path / "other.npz").write_bytes(b"no statistics")
    with pytest.raises((StoreError, SourceError)):
        other.load(tmp_path / "other.npz")
    assert other.statistics == made.statistics


def test_augment_is_lazy_and_composes(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(7, 16, 16, 3))
    read = []

    def touch(block):
        read.append(len(block))
        return block

    made = ImageDataGenerator(rotation_range=20)
    lazy = made.augment(da.from_zarr(str(tmp_path / "x.zarr")).map_blocks(touch, dtype=np.uint8, meta=X[:0]), seed=1)
    assert read == []
    assert (lazy.shape, lazy.dtype) == (X.shape, np.float32)
    mean = lazy.mean(axis=(0, 1, 2)).compute(scheduler="threads")
    direct = made.augment(tmp_path / "x.zarr", seed=1).compute(scheduler="synchronous")
    assert np.allclose(mean, direct.mean(axis=(0, 1, 2)), rtol=1e-5)
    part = made.augment(X, seed=1)[30:33].compute(scheduler="threads")
    assert np.array_equal(part, direct[30:33])
    with pytest.raises(ConfigError, match="`seed`"):
        made.augment(X, seed=-1)


def test_standardize_does_batches_sample_by_sample():
    made = ImageDataGenerator(samplewise_center=True, samplewise_std_normalization=True)
    batch = made.standardize(X)
    assert np.array_equal(batch, np.stack([made.standardize(image) for image in X]))
    assert np.abs(batch.mean(axis=(1, 2, 3))).max() < 1e-5
    half = X.astype(np.float16)
    assert made.standardize(half) is half
    frozen = X.astype(np.float32)
    frozen.flags.writeable = False
    assert np.array_equal(made.standardize(frozen), batch)
    with pytest.raises(SourceError, match="rank"):
        made.standardize(X[0, 0])


def test_random_transform_is_get_random_transform_then_apply_transform():
    made = ImageDataGenerator(rotation_range=30, horizontal_flip=True)
    parameters = made.get_random_transform(X[0].shape, seed=4)
    assert np.array_equal(made.random_transform(X[0], seed=4), made.apply_transform(X[0], parameters))
    with pytest.raises(SourceError, match="rank 3"):
        made.apply_transform(X, parameters)
    assert np.array_equal(made.apply_transform(X[0], {}), X[0])


def test_generators_pickle():
    made = ImageDataGenerator(featurewise_center=True, rotation_range=20).fit(X)
    copy = pickle.loads(pickle.dumps(made))
    assert copy.config == made.config
    assert np.array_equal(next(copy.flow(X, seed=1)), next(made.flow(X, seed=1)))


def test_statistics_fitted_with_other_options_are_refused(tmp_path):
    options = {"featurewise_center": True}
    ImageDataGenerator(**options, rescale=1 / 255).fit(X).save(tmp_path / "scaled.npz")
    ImageDataGenerator(**options).fit(X).save(tmp_path / "plain.npz")
    for name, changes in (
        ("scaled", {}),
        ("plain", {"rescale": 1 / 255}),
        ("plain", {"data_format": "channels_first"}),
    ):
        made = ImageDataGenerator(**options, **changes)
        with pytest.raises(ConfigError, match=r"were fitted with (rescale|data_format)="):
            made.load(tmp_path / f"{name}.npz")
        assert made.statistics is None


def test_assigned_statistics_are_not_lost_silently(tmp_path):
    made = ImageDataGenerator(featurewise_center=True).fit(X)
    made.mean = 0.0
    with pytest.raises(ConfigError, match="mean were assigned"):
        made.save(tmp_path / "s.npz")
