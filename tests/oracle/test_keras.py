"""Keras' own generator as the oracle: parameters bit for bit, pixels within the stated tolerance."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from daskaug import ImageDataGenerator
from tests import pictures

CONFIGURATIONS = 240


def keras_generator(**options):
    from keras.src.legacy.preprocessing.image import ImageDataGenerator as KerasGenerator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # overrides, and statistics that are not fitted
        return KerasGenerator(**options)


def our_generator(**options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return ImageDataGenerator(**options)


def random_options(number: int) -> dict:
    """A configuration that only its number decides."""
    state = np.random.RandomState(number)

    def pick(*choices):
        return choices[state.randint(len(choices))]

    return {
        "rotation_range": pick(0, 20, 33.3, 180),
        "width_shift_range": pick(0.0, 0.2, 3.0, 4, 1, [-2, 3], (0.1, 0.2), [1.5, -2]),
        "height_shift_range": pick(0.0, 0.2, 3.0, 4, 1, [-2, 3], (0.1, 0.2), [-3, -2]),
        "shear_range": pick(0, 10.0, 45),
        "zoom_range": pick(0, 0.2, [0.5, 1.5], (1, 1)),
        "channel_shift_range": pick(0, 20.0),
        "horizontal_flip": pick(True, False),
        "vertical_flip": pick(True, False),
        "fill_mode": pick("nearest", "reflect", "wrap", "constant"),
        "cval": pick(0, 12.5, -3),
        "interpolation_order": pick(0, 1, 1, 1, 3),
        "data_format": pick("channels_last", "channels_last", "channels_first"),
    }


def image_for(number: int, options: dict) -> np.ndarray:
    """A piece of a photograph, seldom square, float32 in 0 to 255."""
    state = np.random.RandomState(1000 + number)
    photograph = pictures.photographs()[state.randint(4)]
    h, w = state.randint(12, 48, 2)
    y, x = state.randint(photograph.shape[0] - h), state.randint(photograph.shape[1] - w)
    channels = (slice(0, 3), slice(0, 1))[state.randint(2)]
    piece = photograph[y : y + h, x : x + w, channels].astype(np.float32)
    return piece if options["data_format"] == "channels_last" else np.moveaxis(piece, 2, 0).copy()


@pytest.mark.parametrize("brightness", [None, (0.5, 1.5)])
def test_parameters_are_keras_bit_for_bit(brightness):
    for number in range(CONFIGURATIONS):
        options = random_options(number) | {"brightness_range": brightness}
        shape = image_for(number, options).shape
        theirs = keras_generator(**options).get_random_transform(shape, seed=number)
        assert our_generator(**options).get_random_transform(shape, seed=number) == theirs, options


def test_numpys_global_generator_is_neither_read_nor_written():
    generator = our_generator(rotation_range=20, horizontal_flip=True)
    np.random.seed(3)
    before = np.random.get_state()
    generator.get_random_transform((8, 8, 3))
    first = generator.get_random_transform((8, 8, 3), seed=1)
    batches = generator.flow(pictures.tiles()[:8], batch_size=4)
    next(batches)
    after = np.random.get_state()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    np.random.seed(4)
    assert generator.get_random_transform((8, 8, 3), seed=1) == first


def difference(ours: np.ndarray, theirs: np.ndarray, options: dict) -> float:
    """The largest difference, leaving out pixels on an edge that may fall either way."""
    assert ours.shape == theirs.shape
    apart = np.abs(ours.astype(np.float64) - theirs)
    if options["interpolation_order"] == 0 or options["fill_mode"] in ("constant", "wrap"):
        # A coordinate that lies on an edge up to the last bit: at most 0.5 % of the pixels.
        jumps = apart > 1e-3
        assert jumps.mean() <= 0.005, options
        apart = apart[~jumps]
    return float(apart.max(initial=0))


def test_apply_transform_agrees_with_keras():
    worst = 0.0
    for number in range(CONFIGURATIONS):
        options = random_options(number)
        image = image_for(number, options)
        original = image.copy()
        parameters = our_generator(**options).get_random_transform(image.shape, seed=number)
        theirs = keras_generator(**options).apply_transform(image, parameters)
        ours = our_generator(**options).apply_transform(image, parameters)
        assert ours.dtype == np.float32
        assert np.array_equal(image, original)
        worst = max(worst, difference(ours, theirs, options))
    assert worst <= 1e-3


def test_compat_applies_transforms_like_keras_including_brightness():
    worst = 0.0
    for number in range(CONFIGURATIONS):
        options = random_options(number) | {"brightness_range": (0.5, 1.5), "data_format": "channels_last"}
        image = image_for(number, options)
        parameters = our_generator(**options).get_random_transform(image.shape, seed=number)
        theirs = keras_generator(**options).apply_transform(image, parameters)
        ours = our_generator(**options, compat="keras").apply_transform(image, parameters)
        if options["interpolation_order"] > 1:  # SciPy's own splines, but then 8-bit levels: a step of one is allowed
            assert (np.abs(ours - theirs) > 1.01).mean() < 0.005
            continue
        apart = np.abs(ours - theirs)
        assert (apart > 1e-3).mean() <= 0.005, options
        worst = max(worst, np.percentile(apart, 99.5))
    assert worst <= 1e-3


STANDARDIZING = [
    {"rescale": 1 / 255},
    {"samplewise_center": True},
    {"samplewise_std_normalization": True, "rescale": 1 / 127.5},
    {"featurewise_center": True},
    {"featurewise_std_normalization": True},
    {"featurewise_std_normalization": True, "rescale": 1 / 255, "samplewise_center": True},
    {"zca_whitening": True, "rescale": 1 / 255},
]


@pytest.mark.parametrize("options", STANDARDIZING, ids=str)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("compat", [None, "keras"])
def test_standardize_agrees_with_keras(options, data_format, compat):
    x = pictures.tiles(8, 400)
    x = x if data_format == "channels_last" else np.ascontiguousarray(np.moveaxis(x, 3, 1))
    theirs = keras_generator(**options, data_format=data_format)
    ours = our_generator(**options, data_format=data_format, compat=compat)
    if ours.config.needs_statistics:
        ours.fit(x)
        theirs.mean, theirs.std, theirs.zca_whitening_matrix = ours.mean, ours.std, ours.zca_whitening_matrix
    for image in x[:20]:
        expected = theirs.standardize(image.astype(np.float64))
        mine = image.astype(np.float32)
        found = ours.standardize(mine)
        assert found.dtype == np.float32 or compat == "keras"
        assert found is mine or options.get("zca_whitening")  # in place, as Keras documents
        # 1e-3 on a scale of 0 to 255, whatever scale standardising has led to. Whitening magnifies the rounding of
        # single precision by up to √n / s of its weakest direction.
        tolerance = 1e-4 if options.get("zca_whitening") else 1e-3 / 255 * max(np.abs(expected).max(), 1e-6)
        assert np.abs(found - expected).max() <= tolerance
        copied = ours.standardize(image)
        assert copied.dtype == found.dtype
        assert np.array_equal(copied, found)


def test_mean_and_std_are_float64_numpys():
    x = pictures.tiles(32, 200)
    generator = our_generator(featurewise_std_normalization=True).fit(x)
    exact = x.astype(np.float64)
    assert generator.mean.shape == generator.std.shape == (1, 1, 3)
    assert np.abs(generator.mean.ravel() / exact.mean(axis=(0, 1, 2)) - 1).max() <= 1e-12
    assert np.abs(generator.std.ravel() / exact.std(axis=(0, 1, 2)) - 1).max() <= 1e-12


def test_whitening_is_keras_formula():
    x = pictures.tiles(8, 400)
    ours = our_generator(zca_whitening=True, zca_epsilon=1e-3).fit(x)
    theirs = keras_generator(zca_whitening=True, zca_epsilon=1e-3, dtype="float64")
    theirs.fit(x)
    assert np.abs(ours.zca_whitening_matrix - theirs.zca_whitening_matrix).max() <= 1e-9
