"""What Keras' page says of the arguments of ``ImageDataGenerator`` and its methods, one test for each statement.

``docs/arguments.md`` links here. Those of the flows over files are in test_arguments_of_files.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from daskaug import ImageDataGenerator
from daskaug.errors import ConfigError
from daskaug.transforms.draws import Draws
from tests import pictures

X, Y = pictures.tiles(16, 48), np.arange(48)
FLOATS = X.astype(np.float32)


def epoch(made: ImageDataGenerator, x=X, **flow) -> np.ndarray:
    """All samples of an epoch, in their own order."""
    return next(made.flow(x, batch_size=len(x), shuffle=False, **{"seed": 1} | flow))


def draws(count: int = 2000, size=(40, 60, 3), **options) -> Draws:
    return ImageDataGenerator(**options).block_transform(seed=3).draws_of(size, np.arange(count), 0)


# --- the constructor ---------------------------------------------------------------------------------------------


def test_featurewise_center():
    made = ImageDataGenerator(featurewise_center=True).fit(X)
    assert np.allclose(epoch(made), X - X.mean(axis=(0, 1, 2)), atol=1e-3)


def test_samplewise_center():
    batch = epoch(ImageDataGenerator(samplewise_center=True))
    assert np.allclose(batch, X - X.mean(axis=(1, 2, 3), keepdims=True), atol=1e-3)


def test_featurewise_std_normalization():
    made = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True).fit(X)
    expected = (X - X.mean(axis=(0, 1, 2))) / (X.std(axis=(0, 1, 2)) + 1e-6)
    assert np.allclose(epoch(made), expected, atol=1e-4)


def test_samplewise_std_normalization():
    batch = epoch(ImageDataGenerator(samplewise_center=True, samplewise_std_normalization=True))
    axes = {"axis": (1, 2, 3), "keepdims": True}
    assert np.allclose(batch, (X - X.mean(**axes)) / (X.std(**axes) + 1e-6), atol=1e-4)


def test_zca_whitening():
    """Whitened images have the identity for a second moment, on the directions that vary."""
    x = pictures.digits()[0]
    made = ImageDataGenerator(featurewise_center=True, zca_whitening=True, zca_epsilon=0).fit(x)
    flat = epoch(made, x).reshape(len(x), -1).astype(np.float64)
    moment = flat.T @ flat / len(x)
    kept = np.linalg.eigvalsh(moment)
    assert np.abs(kept[kept > 0.5] - 1).max() < 1e-3
    assert (kept > 0.5).sum() == made.statistics.whitening.rank


def test_zca_epsilon():
    """It damps weak directions; 1e-6 by default."""
    x = pictures.tiles(8, 200)
    weakest = []
    for epsilon in (1e-6, 1e3):
        made = ImageDataGenerator(featurewise_center=True, zca_whitening=True, zca_epsilon=epsilon).fit(x)
        values = np.linalg.eigvalsh(made.zca_whitening_matrix)
        weakest.append(values.max())
        flat = (x - x.mean(axis=(0, 1, 2))).reshape(len(x), -1)
        singular = np.linalg.svd(flat, compute_uv=False)
        expected = np.sqrt(len(x)) / (singular + epsilon)
        assert np.isclose(values[values > 1e-9].max(), expected[: (values > 1e-9).sum()].max(), rtol=1e-6)
    assert weakest[1] < weakest[0]
    assert ImageDataGenerator().zca_epsilon == 1e-6


def test_rotation_range():
    theta = draws(rotation_range=30).theta
    assert -30 <= theta.min() < -29
    assert 29 < theta.max() <= 30
    turned = ImageDataGenerator().apply_transform(FLOATS[0], {"theta": 90})
    assert np.abs(turned - np.rot90(FLOATS[0], 1)).max() < 1e-3


@pytest.mark.parametrize(
    ("name", "column", "pixels"), [("height_shift_range", "tx", 40), ("width_shift_range", "ty", 60)]
)
def test_shift_range(name, column, pixels):
    def drawn(value):
        return getattr(draws(**{name: value}), column)

    fraction, amount = np.abs(drawn(0.25)), np.abs(drawn(5.0))
    assert 0.24 * pixels < fraction.max() <= 0.25 * pixels
    assert 4.9 < amount.max() <= 5
    assert set(drawn(3)) == {-2, -1, 0, 1, 2}
    assert set(drawn([1, 4])) == set(drawn(np.array([1, 4]))) == {-4, -1, 1, 4}
    assert set(np.abs(drawn((0.1, 0.2)))) == {0.1 * pixels, 0.2 * pixels}


def test_brightness_range():
    factors = draws(brightness_range=(0.4, 1.2)).brightness
    assert 0.4 <= factors.min() < 0.41
    assert 1.19 < factors.max() <= 1.2
    assert np.allclose(epoch(ImageDataGenerator(brightness_range=[0.5, 0.5])), X * 0.5)
    for bad in (0.5, (1, 2, 3)):
        with pytest.raises(ConfigError, match="brightness_range"):
            ImageDataGenerator(brightness_range=bad)


def test_shear_range():
    shear = draws(shear_range=10).shear
    assert -10 <= shear.min() < -9.9
    assert 9.9 < shear.max() <= 10
    # 45 degrees on a picture that differs by its columns only: each row is that of before, moved by one.
    stripes = FLOATS[0][:1].repeat(16, axis=0)
    slanted = ImageDataGenerator().apply_transform(stripes, {"shear": 45})
    assert np.abs(np.diff(slanted, axis=0)).max() > 1


def test_zoom_range():
    for given in (0.2, [0.8, 1.2]):
        zoomed = draws(zoom_range=given)
        for factors in (zoomed.zx, zoomed.zy):
            assert 0.8 <= factors.min() < 0.81
            assert 1.19 < factors.max() <= 1.2
        assert not np.array_equal(zoomed.zx, zoomed.zy)
    halved = ImageDataGenerator(fill_mode="constant").apply_transform(np.full((8, 8, 1), 9.0), {"zx": 2, "zy": 2})
    assert (halved == 9).sum() == 16  # above 1 the picture shrinks


def test_channel_shift_range():
    amounts = draws(channel_shift_range=20).channel_shift_intensity
    assert -20 <= amounts.min() < -19
    assert 19 < amounts.max() <= 20
    moved = ImageDataGenerator().apply_transform(FLOATS[0], {"channel_shift_intensity": 7.5})
    assert np.array_equal(moved, np.clip(FLOATS[0] + 7.5, FLOATS[0].min(), FLOATS[0].max()))


@pytest.mark.parametrize(
    ("fill_mode", "expected"),
    [
        ("constant", [7, 7, 7, 7, 1, 2, 3, 4]),
        ("nearest", [1, 1, 1, 1, 1, 2, 3, 4]),
        ("reflect", [4, 3, 2, 1, 1, 2, 3, 4]),
        ("wrap", [3, 4, 2, 3, 1, 2, 3, 4]),  # SciPy's: the period is n - 1
    ],
)
def test_fill_mode_and_cval(fill_mode, expected):
    """What lies to the left of 1 2 3 4."""
    made = ImageDataGenerator(fill_mode=fill_mode, cval=7)
    row = np.array([1.0, 2, 3, 4]).reshape(1, 4, 1).repeat(4, axis=0)
    assert made.apply_transform(row, {"tx": -4})[0, :, 0].tolist() == expected[:4]
    assert row[0, :, 0].tolist() == expected[4:]


@pytest.mark.parametrize(("name", "axis"), [("horizontal_flip", 2), ("vertical_flip", 1)])
def test_flips(name, axis):
    batch, mirrored = epoch(ImageDataGenerator(**{name: True})), np.flip(FLOATS, axis)
    turned = [np.array_equal(a, b) for a, b in zip(batch, mirrored, strict=True)]
    kept = [np.array_equal(a, b) for a, b in zip(batch, FLOATS, strict=True)]
    assert all(a or b for a, b in zip(turned, kept, strict=True))
    assert 12 < sum(turned) < 36


def test_rescale():
    """After all other transformations; None and 0 are none."""
    options = {"channel_shift_range": 20, "rotation_range": 20}
    plain = epoch(ImageDataGenerator(**options))
    assert np.allclose(epoch(ImageDataGenerator(**options, rescale=1 / 255)), plain / 255, atol=1e-6)
    for nothing in (None, 0):
        assert np.array_equal(epoch(ImageDataGenerator(**options, rescale=nothing)), plain)


def test_preprocessing_function():
    """After augmenting, before rescaling, on one image of rank 3; the shape must be kept."""
    seen = []

    def inverted(image):
        seen.append(image.shape)
        return 255 - image

    options = {"horizontal_flip": True}
    batch = epoch(ImageDataGenerator(**options, preprocessing_function=inverted, rescale=0.5))
    assert np.allclose(batch, (255 - epoch(ImageDataGenerator(**options))) * 0.5)
    assert set(seen) == {(16, 16, 3)}
    with pytest.raises(ConfigError, match="shape"):
        epoch(ImageDataGenerator(preprocessing_function=lambda image: image[:5]))


def test_data_format():
    options = {"rotation_range": 20, "height_shift_range": 0.2, "samplewise_center": True}
    last = epoch(ImageDataGenerator(**options, data_format="channels_last"))
    first = epoch(ImageDataGenerator(**options, data_format="channels_first"), np.moveaxis(X, 3, 1).copy())
    assert first.shape == (48, 3, 16, 16)
    assert np.allclose(np.moveaxis(first, 1, 3), last, atol=1e-4)
    with pytest.raises(ConfigError, match="data_format"):
        ImageDataGenerator(data_format="channels_middle")


def test_validation_split():
    made = ImageDataGenerator(validation_split=0.25)
    parts = [made.flow(X, subset=subset, shuffle=False).n for subset in ("validation", "training")]
    assert parts == [12, 36]
    for bad in (1, 1.5, -0.1):
        with pytest.raises(ConfigError, match="strictly between 0 and 1"):
            ImageDataGenerator(validation_split=bad)


def test_interpolation_order():
    from scipy import ndimage

    half = np.array([[1, 0], [0, 1]])
    for order in range(6):
        made = ImageDataGenerator(interpolation_order=order, fill_mode="reflect")
        moved = made.apply_transform(FLOATS[0], {"tx": 0.4})
        expected = ndimage.affine_transform(FLOATS[0][..., 1], half, [0, 0.4], order=order, mode="reflect")
        assert np.abs(moved[..., 1] - expected).max() < 1e-3


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", np.float64])
def test_dtype(dtype):
    batch = epoch(ImageDataGenerator(rotation_range=20, dtype=dtype))
    assert batch.dtype == np.dtype(dtype)
    assert np.abs(batch.astype(np.float64) - epoch(ImageDataGenerator(rotation_range=20))).max() <= 0.5


# --- flow --------------------------------------------------------------------------------------------------------


def test_flow_x():
    """A rank 4 array; or a tuple, whose second part is passed through unchanged."""
    made = ImageDataGenerator(rotation_range=20)
    extra, more = np.arange(96).reshape(48, 2), np.arange(48.0)
    images, passed, passed_too = next(made.flow((X, [extra, more]), batch_size=8, shuffle=False, seed=1))
    assert np.array_equal(images, epoch(made)[:8])
    assert np.array_equal(passed, extra[:8])
    assert np.array_equal(passed_too, more[:8])
    for channels in (1, 3, 4):
        assert epoch(made, np.resize(X, (48, 16, 16, channels))).shape[3] == channels


def test_flow_y():
    x, y = next(ImageDataGenerator().flow(X, Y, batch_size=8, seed=1))
    assert np.array_equal(x, X[y])
    one_hot = np.eye(48)[Y]
    assert next(ImageDataGenerator().flow(X, one_hot, batch_size=8))[1].shape == (8, 48)


def test_flow_batch_size():
    assert len(next(ImageDataGenerator().flow(X))) == 32
    batches = ImageDataGenerator().flow(X, batch_size=20)
    assert [len(batch) for batch in batches.one_epoch()] == [20, 20, 8]


def test_flow_shuffle():
    def order(**flow):
        return [int(y) for _, batch in ImageDataGenerator().flow(X, Y, seed=1, **flow).one_epoch() for y in batch]

    assert order(shuffle=False) == list(range(48))
    assert order() == order(shuffle=True) != list(range(48))
    assert sorted(order()) == list(range(48))


def test_flow_sample_weight():
    _, y, weights = next(ImageDataGenerator().flow(X, Y, sample_weight=Y / 48, batch_size=8))
    assert np.array_equal(weights, y / 48)


def test_flow_seed():
    made = ImageDataGenerator(rotation_range=20)

    def batch(seed):
        return next(made.flow(X, seed=seed))

    assert np.array_equal(batch(5), batch(5))
    assert not np.array_equal(batch(5), batch(6))
    assert not np.array_equal(batch(None), batch(None))


@pytest.mark.parametrize("save_format", ["png", "jpeg"])
def test_flow_save(tmp_path, save_format):
    """Images that are handed out are saved under prefix, index and a number."""
    batches = ImageDataGenerator().flow(
        X, batch_size=4, shuffle=False, save_to_dir=str(tmp_path), save_prefix="turned", save_format=save_format
    )
    next(batches)
    saved = sorted(tmp_path.iterdir())
    assert [file.name.split("_")[:2] for file in saved] == [["turned", str(i)] for i in range(4)]
    assert {file.suffix for file in saved} == {f".{save_format}"}
    with Image.open(saved[0]) as picture:
        assert picture.size == (16, 16)


def test_flow_ignore_class_split():
    made = ImageDataGenerator(validation_split=0.5)
    with pytest.raises(ValueError, match="different number of classes"):
        made.flow(X, Y // 24, subset="training")
    assert made.flow(X, Y // 24, subset="training", ignore_class_split=True).n == 24


def test_flow_subset():
    made = ImageDataGenerator(validation_split=0.5)
    labels = {
        subset: set(np.concatenate([y for _, y in made.flow(X, Y, subset=subset, ignore_class_split=True).one_epoch()]))
        for subset in ("training", "validation", None)
    }
    assert labels["validation"] == set(range(24))
    assert labels["training"] == set(range(24, 48))
    assert labels[None] == set(range(48))
    with pytest.raises(ConfigError, match="subset"):
        made.flow(X, subset="test")


# --- fit ---------------------------------------------------------------------------------------------------------


def test_fit_x():
    """Rank 4, with 1, 3 or 4 channels, or any other number; after rescaling."""
    for channels in (1, 3, 4, 6):
        x = np.resize(X, (48, 16, 16, channels))
        made = ImageDataGenerator(featurewise_center=True, rescale=1 / 255).fit(x)
        assert np.allclose(made.mean.ravel(), x.mean(axis=(0, 1, 2)) / 255)
    with pytest.raises(ValueError, match="rank 4"):
        ImageDataGenerator(featurewise_center=True).fit(X[0])


def test_fit_augment_rounds_and_seed():
    options = {"featurewise_center": True, "channel_shift_range": 100, "rotation_range": 45, "fill_mode": "constant"}

    def fitted(**fit):
        return ImageDataGenerator(**options).fit(X, **fit)

    assert np.array_equal(fitted().mean, fitted(rounds=5, seed=9).mean)  # not augmented: neither matters
    augmented = fitted(augment=True, seed=1)
    assert np.array_equal(augmented.mean, fitted(augment=True, seed=1).mean)
    assert not np.allclose(augmented.mean, fitted().mean, rtol=1e-3)
    assert not np.array_equal(augmented.mean, fitted(augment=True, seed=2).mean)
    assert fitted(augment=True, rounds=3, seed=1).statistics.samples == 3 * 48


# --- single images -----------------------------------------------------------------------------------------------


def test_get_random_transform():
    """All parameters of the shape's image; the seed repeats them."""
    made = ImageDataGenerator(rotation_range=20, width_shift_range=0.5, channel_shift_range=5, brightness_range=(1, 2))
    parameters = made.get_random_transform((100, 200, 3), seed=4)
    names = "theta tx ty shear zx zy flip_horizontal flip_vertical channel_shift_intensity brightness"
    assert set(parameters) == set(names.split())
    assert parameters == made.get_random_transform((100, 200, 3), seed=4)
    assert made.get_random_transform((100, 400, 3), seed=4)["ty"] == 2 * parameters["ty"]
    assert made.get_random_transform((100, 200, 3)) != made.get_random_transform((100, 200, 3))


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, FLOATS[0]),
        ({"theta": 180}, FLOATS[0][::-1, ::-1]),
        ({"tx": 3}, np.concatenate([FLOATS[0][:, 3:], FLOATS[0][:, -1:].repeat(3, axis=1)], axis=1)),
        ({"ty": 3}, np.concatenate([FLOATS[0][3:], FLOATS[0][-1:].repeat(3, axis=0)])),
        ({"zx": 1, "zy": 1, "shear": 0}, FLOATS[0]),
        ({"flip_horizontal": True}, FLOATS[0][:, ::-1]),
        ({"flip_vertical": True}, FLOATS[0][::-1]),
        ({"channel_shift_intensity": 1000}, np.full_like(FLOATS[0], FLOATS[0].max())),
        ({"brightness": 0.25}, FLOATS[0] * 0.25),
    ],
    ids=str,
)
def test_apply_transform(parameters, expected):
    image = FLOATS[0].copy()
    assert np.allclose(ImageDataGenerator().apply_transform(image, parameters), expected, atol=1e-3)
    assert np.array_equal(image, FLOATS[0])


def test_random_transform():
    """A transformed version of the same shape; the seed repeats it."""
    made = ImageDataGenerator(rotation_range=40, vertical_flip=True)
    moved = made.random_transform(FLOATS[0], seed=2)
    assert moved.shape == FLOATS[0].shape
    assert np.array_equal(moved, made.random_transform(FLOATS[0], seed=2))
    assert not np.array_equal(moved, made.random_transform(FLOATS[0], seed=3))


def test_standardize():
    """In place, as documented; a copy leaves the original alone."""
    made = ImageDataGenerator(rescale=0.5, samplewise_center=True)
    image = FLOATS[0].copy()
    apart = made.standardize(np.copy(image))
    assert np.array_equal(image, FLOATS[0])
    assert made.standardize(image) is image
    assert np.array_equal(image, apart)
    assert np.allclose(image, (FLOATS[0] - FLOATS[0].mean()) * 0.5, atol=1e-3)
