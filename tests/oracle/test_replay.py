"""``compat="keras"``: order, parameters and pixels of Keras' own iterators."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

from daskaug import ImageDataGenerator
from tests import pictures
from tests.oracle.test_keras import image_for, keras_generator, our_generator, random_options

X, Y = pictures.tiles(16, 50).astype(np.float32), np.arange(50)


def pairs(number: int, **flow):
    """The same random configuration in Keras and in ours, flowing over the same images."""
    options = random_options(number) | {"data_format": "channels_last"}
    if number % 3 == 0:
        options["brightness_range"] = (0.5, 1.5)
    if number % 4 == 0:
        options |= {"samplewise_center": True, "samplewise_std_normalization": True, "rescale": 1 / 255}
    if number % 5 == 0:
        options["validation_split"] = 0.3
        flow = flow | {"subset": ("training", "validation")[number % 2], "ignore_class_split": True}
    flow = {"batch_size": 1 + number % 13, "seed": number, "shuffle": number % 2 == 0} | flow
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return (
            options,
            keras_generator(**options).flow(X, Y, **flow),
            our_generator(**options, compat="keras").flow(X, Y, **flow),
        )


def same(ours, theirs, options) -> None:
    (x, y), (keras_x, keras_y) = ours, theirs
    assert np.array_equal(y, keras_y)  # the order
    assert x.shape == keras_x.shape
    if options["interpolation_order"] <= 1:
        # Bit for bit, but for coordinates that lie on an edge up to the last bit.
        assert (x != keras_x).mean() <= 0.005, options
    else:
        scale = np.abs(keras_x).max() / 255
        step = 1.01 if options.get("brightness_range") else 1e-3  # 8-bit levels may fall either way
        assert (np.abs(x - keras_x) > step * scale).mean() <= 0.005, options


@pytest.mark.parametrize("block", range(8))
def test_next_over_several_epochs(block):
    for number in range(block * 25, block * 25 + 25):
        options, theirs, ours = pairs(number)
        for _ in range(min(2 * len(theirs) + 2, 12)):
            same(next(ours), next(theirs), options)
            assert (ours.batch_index, ours.total_batches_seen) == (theirs.batch_index, theirs.total_batches_seen)
            assert np.array_equal(ours.index_array, theirs.index_array)


@pytest.mark.parametrize("block", range(4))
def test_indexing_epoch_ends_and_resets(block):
    """Any sequence of calls: what comes depends on what came before."""
    for number in range(block * 25, block * 25 + 25):
        options, theirs, ours = pairs(number, shuffle=True)
        calls = np.random.RandomState(number)
        same(ours[0], theirs[0], options)  # before its first batch Keras has not seeded anything
        for _ in range(10):
            call = calls.randint(5)
            if call <= 1:
                place = calls.randint(len(theirs))
                same(ours[place], theirs[place], options)
            elif call == 2:
                same(next(ours), next(theirs), options)
            elif call == 3:
                ours.on_epoch_end()
                theirs.on_epoch_end()
            else:
                ours.reset()
                theirs.reset()


def test_channels_first():
    """Keras itself cannot do brightness with channels first."""
    for number in range(40):
        options = random_options(number) | {"data_format": "channels_first", "interpolation_order": number % 2}
        x = np.stack([image_for(number, options)] * 5)
        theirs = keras_generator(**options).flow(x, batch_size=2, seed=number)
        ours = our_generator(**options, compat="keras").flow(x, batch_size=2, seed=number)
        for _ in range(4):
            assert (next(ours) != next(theirs)).mean() <= 0.005, options


@pytest.mark.parametrize("options", [{"featurewise_center": True}, {"featurewise_std_normalization": True}], ids=str)
def test_featurewise_standardising(options):
    theirs, ours = (
        keras_generator(**options, rotation_range=20),
        our_generator(**options, rotation_range=20, compat="keras"),
    )
    theirs.fit(X)
    ours.fit(X)
    ours.mean, ours.std = theirs.mean, theirs.std
    for a, b in itertools.islice(
        zip(ours.flow(X, batch_size=8, seed=2), theirs.flow(X, batch_size=8, seed=2), strict=False), 9
    ):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("augment", [False, True])
def test_fit_sees_what_keras_fit_sees(augment):
    """Same draws in the same sequence; Keras' float32 sums of a few images are still good to some digits."""

    def negative(image):
        return -image

    options = {
        "featurewise_std_normalization": True,
        "rescale": 1 / 255,
        "rotation_range": 40,
        "horizontal_flip": True,
        "preprocessing_function": negative,  # which Keras' fit ignores
    }
    theirs, ours = keras_generator(**options), our_generator(**options, compat="keras")
    theirs.fit(X, augment=augment, rounds=2, seed=5)
    ours.fit(X, augment=augment, rounds=2, seed=5)
    assert np.allclose(ours.mean, theirs.mean, rtol=2e-5)
    assert np.allclose(ours.std, theirs.std, rtol=2e-5)


def test_unfitted_is_a_warning_and_fresh_entropy_is_kept():
    made = ImageDataGenerator(featurewise_center=True, rotation_range=10, compat="keras")
    batches = made.flow(X, batch_size=4)
    with pytest.warns(UserWarning, match="hasn't been fit"):
        assert next(batches).shape == (4, 16, 16, 3)
    assert batches.seed is None


def test_saved_files_have_keras_names(tmp_path):
    for name, made in (
        ("keras", keras_generator(rotation_range=20)),
        ("ours", our_generator(rotation_range=20, compat="keras")),
    ):
        (tmp_path / name).mkdir()
        batches = made.flow(X, Y, batch_size=6, seed=3, save_to_dir=tmp_path / name, save_prefix="p")
        for _ in range(3):
            next(batches)
    names = [{file.name for file in (tmp_path / name).iterdir()} for name in ("keras", "ours")]
    assert names[0] == names[1]


def test_whitening_keeps_null_directions_like_keras():
    x = pictures.digits()[0][:300].astype(np.float32)  # some pixels are always black
    theirs, ours = keras_generator(zca_whitening=True), our_generator(zca_whitening=True, compat="keras")
    theirs.fit(x)
    ours.fit(x)
    assert ours.statistics.whitening.rank == 64
    lit = np.flatnonzero(x.reshape(300, -1).std(axis=0) > 0)
    black = np.setdiff1d(np.arange(64), lit)
    for matrix in (ours.zca_whitening_matrix, theirs.zca_whitening_matrix):
        assert np.diag(matrix)[black].min() > 1e4  # magnified by about √n / epsilon
    kept, keras_kept = (m[np.ix_(lit, lit)] for m in (ours.zca_whitening_matrix, theirs.zca_whitening_matrix))
    weakest = np.linalg.eigvalsh(keras_kept).max()
    assert np.abs(kept - keras_kept).max() <= 1e-3 * weakest
