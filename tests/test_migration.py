"""Every row of the migration guide, on real images: what Keras does, what daskaug does, and that the switch works.

The tests carry the names of the rows in ``daskaug/migration/table.py``.
"""

from __future__ import annotations

import functools
import io
import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image, UnidentifiedImageError

from daskaug import ImageDataGenerator
from daskaug.errors import ConfigError, DaskaugError, NotFittedError
from daskaug.migration import ROWS
from tests import pictures
from tests.oracle.test_keras import keras_generator, our_generator

X, Y = pictures.tiles(16, 48), np.arange(48) % 4
FLOATS = X.astype(np.float32)


def keras_style(**options):
    return our_generator(**options, compat="keras")


def agree(ours, theirs, tolerance=0.0):
    """But for coordinates that lie on an edge up to the last bit."""
    return ours.shape == theirs.shape and (np.abs(ours - theirs) > tolerance).mean() <= 0.005


def first(generator, x=FLOATS, **flow):
    return next(generator.flow(x, **{"batch_size": 16, "seed": 7, "shuffle": False} | flow))


def test_every_row_has_its_test():
    assert [name for name in ROWS if f"test_{name}" not in globals()] == []


# --- random numbers ----------------------------------------------------------------------------------------------


def test_keyed_draws():
    options = {"rotation_range": 40, "horizontal_flip": True}
    theirs = keras_generator(**options)
    assert not agree(first(our_generator(**options)), first(theirs), 1)
    assert agree(first(keras_style(**options)), first(theirs))
    # Why: seed 7's second batch has the numbers of seed 8's first; and a batch size changes all pixels.
    same = np.stack([FLOATS[0]] * 8)

    def batches(made, **flow):
        return made.flow(same, batch_size=4, shuffle=False, **flow)

    second = next(itertools.islice(batches(theirs, seed=7), 1, None))
    assert np.array_equal(second, next(batches(theirs, seed=8)))
    ours = our_generator(**options)
    assert not agree(next(itertools.islice(batches(ours, seed=7), 1, None)), next(batches(ours, seed=8)), 1)

    def epoch(made, size):
        flow = made.flow(FLOATS, batch_size=size, shuffle=False, seed=7)
        return np.concatenate(list(itertools.islice(flow, len(flow))))

    assert not np.array_equal(epoch(theirs, 4), epoch(theirs, 8))
    assert np.array_equal(epoch(ours, 4), epoch(ours, 8))


def test_sample_order():
    theirs = keras_generator().flow(FLOATS, np.arange(48), seed=7)
    ours, replayed = (made().flow(FLOATS, np.arange(48), seed=7) for made in (our_generator, keras_style))
    order = next(theirs)[1]
    assert not np.array_equal(next(ours)[1], order)
    assert np.array_equal(next(replayed)[1], order)
    # Why: the order of epoch 3 without the epochs before it.
    last = our_generator().flow(FLOATS, np.arange(48), seed=7, batch_size=48)
    for _ in range(3):
        next(last)
    assert sorted(last.index_array) == list(range(48))
    assert np.array_equal(last.index_array, next(last)[1])


def test_unseeded():
    def run(made):
        np.random.seed(0)
        return first(made, seed=None)

    theirs = keras_generator(rotation_range=40)
    assert np.array_equal(run(theirs), run(theirs))
    for made in (our_generator(rotation_range=40), keras_style(rotation_range=40)):
        assert not np.array_equal(run(made), run(made))
        before = np.random.get_state()[1].copy()
        batches = made.flow(FLOATS, batch_size=8, shuffle=False)
        next(batches)
        assert np.array_equal(np.random.get_state()[1], before)
        again = made.flow(FLOATS, batch_size=8, shuffle=False, seed=batches.seed_used)
        assert made.compat == "keras" or np.array_equal(next(again), first(made, batch_size=8, seed=batches.seed_used))
        assert np.array_equal(first(made, seed=0), first(made, seed=0))  # the switch


def test_global_numbers():
    def noisy(image):
        return image + np.random.normal()

    def keyed(image, rng):
        return image + rng.normal()

    theirs = keras_generator(preprocessing_function=noisy)
    assert np.array_equal(first(theirs), first(theirs))
    for made in (our_generator, keras_style):
        np.random.seed(1)
        assert not np.array_equal(*(first(made(preprocessing_function=noisy)) for _ in range(2)))
    assert np.array_equal(*(first(our_generator(preprocessing_function=keyed)) for _ in range(2)))


def test_integer_seeds():
    for seed in (True, np.array([1, 2])):
        assert len(first(keras_generator(rotation_range=9), seed=seed)) == 16
        with pytest.raises(ConfigError, match="`seed`"):
            first(our_generator(rotation_range=9), seed=seed)
    assert len(first(our_generator(rotation_range=9), seed=2**32 - 1)) == 16


# --- pixels ------------------------------------------------------------------------------------------------------


def test_interpolation():
    options, parameters = {"rotation_range": 40}, {"theta": 33, "zx": 1.2, "zy": 0.9}
    theirs = keras_generator(**options).apply_transform(FLOATS[0], parameters)
    ours = our_generator(**options).apply_transform(FLOATS[0], parameters)
    assert 0 < np.abs(ours - theirs).max() < 1e-3
    assert agree(keras_style(**options).apply_transform(FLOATS[0], parameters), theirs)


def test_brightness():
    options, parameters = {"brightness_range": (0.5, 1.5)}, {"brightness": 0.8}
    ours, theirs = our_generator(**options), keras_generator(**options)
    assert np.allclose(ours.apply_transform(FLOATS[0], parameters), FLOATS[0] * 0.8)
    assert not agree(ours.apply_transform(FLOATS[0], parameters), theirs.apply_transform(FLOATS[0], parameters), 0.1)
    for image in (FLOATS[0], FLOATS[0] / 255, FLOATS[0] * 3 - 100):
        replayed = keras_style(**options).apply_transform(image, parameters)
        assert np.abs(replayed - theirs.apply_transform(image, parameters)).max() < 1e-4
    # Images of 0 to 1 go black in Keras, and keep their precision here.
    unit = FLOATS[0] / 256
    assert set(np.unique(theirs.apply_transform(unit, parameters))) == {0}
    assert np.allclose(ours.apply_transform(unit, parameters), unit * 0.8)
    # Clipping.
    bright = {"brightness": 3.0}
    assert first(our_generator(brightness_range=(3, 3)), X).max() == 255
    assert ours.apply_transform(unit, bright).max() > 1
    assert our_generator(**options, value_range=(0, 1)).apply_transform(unit, bright).max() == 1
    # Where Keras fails.
    first_channels = np.moveaxis(FLOATS, 3, 1).copy()
    five = np.concatenate([FLOATS, FLOATS[..., :2]], axis=3)
    with pytest.raises(ValueError, match="channel"):
        first(keras_generator(**options, data_format="channels_first"), first_channels)
    assert first(our_generator(**options, data_format="channels_first"), first_channels).shape == (16, 3, 16, 16)
    assert first(keras_style(**options, data_format="channels_first"), first_channels).shape == (16, 3, 16, 16)
    assert first(our_generator(**options), five).shape == (16, 16, 16, 5)
    with pytest.raises(ConfigError, match="channels"):
        first(keras_style(**options), five)


@pytest.mark.parametrize("name", ["width_shift_range", "height_shift_range"])
def test_negative_shifts(name):
    options = {name: [-3, -2]}
    theirs, ours = keras_generator(**options), our_generator(**options)
    column = "ty" if name.startswith("width") else "tx"
    parameters = theirs.get_random_transform((16, 16, 3), seed=1)
    assert abs(parameters[column]) in (3 * 16, 2 * 16)
    assert ours.get_random_transform((16, 16, 3), seed=1) == parameters
    shifts = ours.block_transform(seed=7).draws_of((16, 16, 3), np.arange(50), 0)
    assert set(np.abs(getattr(shifts, column))) == {3, 2}
    assert agree(first(keras_style(**options)), first(theirs))
    assert not agree(first(ours), first(theirs), 1)


def test_integer_dtype():
    shift = {"channel_shift_range": 20, "dtype": "uint8"}
    parameters = {"channel_shift_intensity": 0.75}
    theirs = keras_generator(**shift).apply_transform(X[0], parameters).astype(np.uint8)
    assert np.array_equal(theirs, X[0])  # cut off
    ours = np.clip(X[0] + 0.75, X[0].min(), X[0].max())
    assert np.array_equal(np.rint(our_generator(**shift).apply_transform(X[0], parameters)), np.rint(ours))
    assert np.array_equal(first(our_generator(rescale=0.5, dtype="uint8"), X), np.rint(X[:16] * 0.5))
    with pytest.raises(TypeError, match="uint8"):
        first(keras_generator(rescale=0.5, dtype="uint8"), X)
    with pytest.raises(TypeError, match="uint8"):
        first(keras_generator(samplewise_center=True, dtype="uint8"), X)
    with pytest.raises(ConfigError, match="centred"):
        our_generator(samplewise_center=True, dtype="uint8")


def test_integer_images():
    parameters = {"theta": 20}
    assert keras_generator().apply_transform(X[0], parameters).dtype == np.uint8
    assert keras_generator(rotation_range=9).random_transform(X[0]).dtype == np.uint8
    ours = our_generator().apply_transform(X[0], parameters)
    assert ours.dtype == our_generator(rotation_range=9).random_transform(X[0]).dtype == np.float32
    with pytest.raises(TypeError):
        keras_generator(rescale=1 / 255).standardize(X[0].copy())
    assert np.allclose(our_generator(rescale=1 / 255).standardize(X[0]), X[0] / 255)
    apart = np.rint(ours).astype("uint8") - keras_generator().apply_transform(X[0], parameters).astype(int)
    assert np.abs(apart).max() <= 1


def test_validation_subset():
    options = {"rotation_range": 40, "validation_split": 0.5}
    flow = {"subset": "validation", "batch_size": 8}
    theirs = first(keras_generator(**options), **flow)
    assert not agree(theirs, FLOATS[:8], 1)
    assert np.array_equal(first(our_generator(**options), **flow), FLOATS[:8])
    assert agree(first(keras_style(**options), **flow), theirs)


# --- fit and standardise -----------------------------------------------------------------------------------------


def doubled(image):
    return image * 2


@pytest.mark.parametrize("before", [{"preprocessing_function": doubled}, {"samplewise_center": True}], ids=" ".join)
def test_fit_sees_training(before):
    options = {"featurewise_center": True, "featurewise_std_normalization": True, **before}
    theirs, ours, replayed = keras_generator(**options), our_generator(**options), keras_style(**options)
    for made in (theirs, ours, replayed):
        made.fit(FLOATS)
    assert not np.allclose(ours.mean, theirs.mean, rtol=0.01)
    assert np.allclose(replayed.mean, theirs.mean, rtol=1e-5)
    assert np.allclose(replayed.std, theirs.std, rtol=1e-5)
    # Why.
    assert np.abs(first(ours, batch_size=48).mean(axis=(0, 1, 2))).max() < 1e-4
    assert np.abs(first(theirs, batch_size=48).mean(axis=(0, 1, 2))).max() > 0.1


def test_fit_augmented():
    options = {"featurewise_center": True, "rotation_range": 90, "fill_mode": "constant", "cval": 255, "rescale": 0.5}
    theirs, ours, replayed = keras_generator(**options), our_generator(**options), keras_style(**options)
    for made in (theirs, ours, replayed):
        made.fit(FLOATS, augment=True, rounds=2, seed=5)
    assert np.allclose(replayed.mean, theirs.mean, rtol=1e-5)
    assert not np.allclose(ours.mean, theirs.mean, rtol=0.01)
    plain = our_generator(**options | {"featurewise_center": False}).flow(FLOATS, batch_size=48, seed=5)
    seen = np.concatenate([next(plain), next(plain)]).astype(np.float64)
    assert np.allclose(ours.mean.ravel(), seen.mean(axis=(0, 1, 2)), rtol=1e-9)


def test_exact_statistics():
    many = np.concatenate([pictures.tiles(32, 200)] * 12)
    true = many.astype(np.float64).mean(axis=(0, 1, 2))
    theirs = keras_generator(featurewise_center=True)
    theirs.fit(many)
    assert np.abs(theirs.mean.ravel() / true - 1).max() > 1e-4
    for made in (our_generator, keras_style):
        ours = made(featurewise_center=True).fit(many)
        assert np.abs(ours.mean.ravel() / true - 1).max() < 1e-12
        ours.mean = theirs.mean  # the switch
        assert agree(first(ours, many), first(theirs, many), 1e-4)


def test_unfitted():
    options = {"featurewise_center": True, "featurewise_std_normalization": True}
    with pytest.warns(UserWarning, match="hasn't been fit"):
        theirs = first(keras_generator(**options))
    assert np.array_equal(theirs, FLOATS[:16])
    with pytest.raises(NotFittedError, match=r"datagen\.fit\(x\)"):
        first(our_generator(**options))
    with pytest.warns(UserWarning, match="hasn't been fit"):
        assert np.array_equal(first(keras_style(**options)), theirs)


def test_standardize_batch():
    options = {"samplewise_center": True, "samplewise_std_normalization": True}
    theirs = keras_generator(**options).standardize(FLOATS.copy())
    ours = our_generator(**options).standardize(FLOATS.copy())
    assert np.abs(ours.mean(axis=(1, 2, 3))).max() < 1e-5
    assert np.abs(theirs.mean(axis=(1, 2, 3))).max() > 0.1
    assert np.array_equal(keras_style(**options).standardize(FLOATS.copy()), theirs)
    ranks = []

    def seen(x):
        ranks.append(x.ndim)
        return x

    for made in (keras_generator, keras_style, our_generator):
        made(preprocessing_function=seen).standardize(FLOATS[:2].copy())
    assert ranks == [4, 4, 3, 3]


def test_null_directions():
    x = pictures.digits()[0][:300].astype(np.float32)  # some pixels are always black
    black = x.reshape(300, -1).std(axis=0) == 0
    theirs, ours, replayed = (made(zca_whitening=True) for made in (keras_generator, our_generator, keras_style))
    for made in (theirs, ours, replayed):
        made.fit(x)
    magnified = [np.abs(np.diag(made.zca_whitening_matrix)[black]).max() for made in (theirs, ours, replayed)]
    expected = np.sqrt(300) / 1e-6
    assert magnified[0] > 0.001 * expected
    assert magnified[1] < 1
    assert magnified[2] > 0.001 * expected


# --- iterators ---------------------------------------------------------------------------------------------------


def test_batch_by_index():
    options = {"rotation_range": 40}
    theirs, ours, replayed = (
        made(**options).flow(FLOATS, batch_size=16, shuffle=False, seed=3)
        for made in (keras_generator, our_generator, keras_style)
    )
    assert not np.array_equal(theirs[1], theirs[1])
    assert np.array_equal(ours[1], ours[1])
    replayed[1], replayed[1]  # as many as were asked of Keras'
    assert agree(replayed[1], theirs[1])
    assert np.array_equal(next(ours), ours[0])


def test_epoch_end():
    theirs, ours, replayed = (
        made().flow(FLOATS, np.arange(48), batch_size=16, seed=3)
        for made in (keras_generator, our_generator, keras_style)
    )
    before = [it[0][1] for it in (theirs, ours, replayed)]
    for it in (theirs, ours, replayed):
        it.on_epoch_end()  # as `fit` does after probing one batch
    after = [it[0][1] for it in (theirs, ours, replayed)]
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [False, True, False]
    assert np.array_equal(after[0], after[2])
    for i in range(3):
        ours[i]
    ours.on_epoch_end()
    assert ours.epoch == 1


def test_ends():
    theirs, ours = keras_generator().flow(FLOATS), our_generator().flow(FLOATS)
    with pytest.raises(ValueError, match="retrieve"):
        theirs[2]
    with pytest.raises(IndexError):
        ours[2]
    assert next(keras_generator().flow(FLOATS[:0])).shape == (0, 16, 16, 3)
    with pytest.raises(StopIteration):
        next(our_generator().flow(FLOATS[:0]))


def test_save_to_dir(tmp_path):
    with pytest.raises(FileNotFoundError):
        first(keras_generator(), save_to_dir=tmp_path / "missing")
    names = []
    for made in (our_generator, our_generator, keras_style, keras_generator):
        folder = tmp_path / str(len(names))
        if made is keras_generator:
            folder.mkdir()
        first(made(rotation_range=9), save_to_dir=folder)
        names.append({file.name for file in folder.iterdir()})
    assert len(names[0]) == 16
    assert names[0] == names[1] != names[3]
    assert names[2] == names[3]


# --- files -------------------------------------------------------------------------------------------------------


def write_folder(root, names, images):
    for name, image in zip(names, images, strict=True):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return root


def test_paired_folders(tmp_path):
    images = write_folder(tmp_path / "images", [f"a/{i}.png" for i in range(6)], X[:6])
    same = write_folder(tmp_path / "same", [f"a/{i}.tif" for i in range(6)], X[:6])
    other = write_folder(tmp_path / "other", [f"a/{i}_mask.png" for i in range(6)], X[:6])
    flow = {"class_mode": None, "seed": 1, "batch_size": 6, "target_size": (16, 16)}
    options = {"rotation_range": 90}
    paired = []
    for made in (keras_generator, our_generator, keras_style):
        for masks in (same, other):
            one, two = (next(made(**options).flow_from_directory(str(root), **flow)) for root in (images, masks))
            paired.append(np.array_equal(one, two))
    assert paired == [True, True, True, False, True, True]


def broken_folder(root):
    write_folder(root, [f"a/{i}.png" for i in range(4)], X[:4])
    buffer = io.BytesIO()
    Image.fromarray(X[0]).save(buffer, "png")
    (root / "a" / "2.png").write_bytes(b"no picture")
    return str(root)


def test_bad_files(tmp_path):
    folder = broken_folder(tmp_path / "images")
    flow = {"shuffle": False, "class_mode": None, "target_size": (16, 16)}
    with pytest.raises(UnidentifiedImageError):
        next(keras_generator().flow_from_directory(folder, **flow))
    with pytest.raises(DaskaugError, match=r"2\.png"):
        next(our_generator().flow_from_directory(folder, **flow))
    with pytest.warns(UserWarning, match=r"2\.png"):
        skipping = our_generator().flow_from_directory(folder, **flow, on_error="skip")
    assert len(next(skipping)) == 3
    assert [bad.path.endswith("2.png") for bad in skipping.bad_files] == [True]
    with pytest.warns(UserWarning, match=r"2\.png"):
        assert len(next(our_generator().flow_from_directory(folder, **flow, on_error="replace"))) == 4


def test_dataframe_keywords(tmp_path):
    photograph = pictures.photographs()[1]  # wider than high
    write_folder(tmp_path, ["cat.png"], [photograph])
    table = pd.DataFrame({"filename": ["cat.png"], "class": ["cat"]})
    flow = {"directory": str(tmp_path), "target_size": (32, 32), "class_mode": None, "interpolation": "bilinear"}
    theirs = keras_generator().flow_from_dataframe(table, **flow, keep_aspect_ratio=True, traget_size=(8, 8))
    with pytest.raises(TypeError, match="traget_size"):
        our_generator().flow_from_dataframe(table, **flow, traget_size=(8, 8))
    stretched = next(our_generator().flow_from_dataframe(table, **flow))
    cropped = next(our_generator().flow_from_dataframe(table, **flow, keep_aspect_ratio=True))
    assert np.array_equal(next(theirs), stretched)
    assert not np.array_equal(cropped, stretched)


# --- checks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"fill_mode": "mirror", "rotation_range": 9}, {"width_shift_range": -0.2}, {"zoom_range": 2}],
    ids=str,
)
def test_checked_options(options):
    assert len(first(keras_generator(**options))) == 16
    with pytest.raises(ConfigError, match=next(iter(options))):
        our_generator(**options)
    late = keras_generator(rotation_range=9, interpolation_order=6)
    with pytest.raises(RuntimeError):
        first(late)
    made = our_generator()
    with pytest.raises(ConfigError, match="interpolation_order"):
        made.interpolation_order = 6


def test_warnings():
    def counted(make):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make()
        return len([w for w in caught if issubclass(w.category, UserWarning)])

    from keras.src.legacy.preprocessing.image import ImageDataGenerator as KerasGenerator

    whitening = {"zca_whitening": True, "featurewise_std_normalization": True}
    assert counted(lambda: KerasGenerator(**whitening)) == 3
    assert counted(lambda: ImageDataGenerator(**whitening)) == 2
    five = np.concatenate([FLOATS, FLOATS[..., :2]], axis=3)
    assert counted(lambda: KerasGenerator().flow(five)) == 1
    assert counted(lambda: ImageDataGenerator().flow(five)) == 0
    assert counted(lambda: ImageDataGenerator().flow(np.moveaxis(FLOATS, 3, 1))) == 1


# --- what Keras 3 refuses ----------------------------------------------------------------------------------------


@functools.cache
def small_model():
    import keras

    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def fit(batches, **options):
    return small_model().fit(batches, verbose=0, **options)


def batches(y=Y):
    small_model()  # before the iterator, which becomes a PyDataset where Keras is loaded
    return our_generator().flow(FLOATS, y, batch_size=16, seed=1)


def test_import_line():
    import keras.preprocessing.image as theirs

    import daskaug.image as ours

    assert not hasattr(theirs, "ImageDataGenerator")
    assert ours.ImageDataGenerator is ImageDataGenerator
    assert {name for name in dir(theirs) if not name.startswith("_")} <= set(ours.__all__)


def test_generator_methods():
    for name in ("fit_generator", "evaluate_generator", "predict_generator"):
        assert not hasattr(small_model(), name)
    fit(batches())
    small_model().evaluate(batches(), verbose=0)
    assert small_model().predict(batches(None), verbose=0).shape == (48, 4)


def test_whole_steps():
    for steps in (
        {"steps_per_epoch": 48 / 16},
        {"validation_data": batches(), "validation_steps": 48 / 16},
    ):
        with pytest.raises(TypeError, match="float"):
            fit(batches(), **steps)
    with pytest.raises(TypeError, match="float"):
        small_model().evaluate(batches(), steps=48 / 16, verbose=0)
    fit(batches(), steps_per_epoch=len(batches()))
    fit(batches())
    for made in (batches(), keras_generator().flow(FLOATS, Y, batch_size=16)):
        before = int(small_model().optimizer.iterations)
        with pytest.warns(UserWarning, match="ran out of data"):
            fit(made, steps_per_epoch=2, epochs=2)
        assert int(small_model().optimizer.iterations) - before == 3  # 2, and the one that was left


def test_zipped_generators():
    images, labels = batches(None), batches(None)
    with pytest.raises(ValueError, match="Unrecognized data type"):
        fit(zip(images, labels, strict=False), steps_per_epoch=3)

    def pairs():
        return ((x, y[:, 0, 0, 0] % 4) for x, y in zip(images, labels, strict=False))

    fit(pairs(), steps_per_epoch=3, shuffle=False)
    with pytest.warns(UserWarning, match="shuffle=True"):
        fit(pairs(), steps_per_epoch=3)


def test_fit_workers():
    for option in ({"workers": 4}, {"use_multiprocessing": True}, {"max_queue_size": 10}):
        with pytest.raises(TypeError, match="unexpected keyword"):
            fit(batches(), **option)


def test_keras_1_names():
    for option in ({"samples_per_epoch": 48}, {"nb_epoch": 1}, {"nb_val_samples": 48}):
        with pytest.raises(TypeError, match="unexpected keyword"):
            fit(batches(), **option)
    fit(batches(), steps_per_epoch=2, epochs=1, validation_data=batches(), validation_steps=2)


def test_np_utils():
    import keras

    assert not hasattr(keras.utils, "np_utils")
    assert callable(keras.utils.to_categorical)


def test_endless_loop():
    for made in (keras_generator(), our_generator()):
        assert len(list(itertools.islice(made.flow(FLOATS, batch_size=16), 10))) == 10
    assert len(list(batches().one_epoch())) == 3


# --- what is the same in both ------------------------------------------------------------------------------------


def everywhere():
    return keras_generator, our_generator, keras_style


def test_shift_axes():
    moved = []
    for made in everywhere():
        tx = made(height_shift_range=5.0).apply_transform(FLOATS[0], {"tx": 5})
        assert np.allclose(tx[:, :-5], FLOATS[0][:, 5:])
        ty = made(width_shift_range=5.0).apply_transform(FLOATS[0], {"ty": 5})
        assert np.allclose(ty[:-5], FLOATS[0][5:])
        parameters = made(height_shift_range=5.0).get_random_transform((16, 16, 3), seed=1)
        assert parameters["ty"] == 0
        moved.append(parameters["tx"])
    assert moved[0] == moved[1] == moved[2] != 0


def test_shift_of_one():
    for made in everywhere():
        assert np.array_equal(first(made(width_shift_range=1, height_shift_range=1)), FLOATS[:16])
        assert not np.array_equal(first(made(width_shift_range=1.0)), FLOATS[:16])
        signs = {made(width_shift_range=[2]).get_random_transform((16, 16, 3), seed=s)["ty"] for s in range(20)}
        assert signs == {-2, 2}


def test_shear_degrees():
    for made in everywhere():
        parameters = made(shear_range=0.2).get_random_transform((16, 16, 3), seed=1)
        assert 0 < abs(parameters["shear"]) < 0.2
        row = FLOATS[0].mean(axis=0, keepdims=True).repeat(16, axis=0)
        by_45 = made().apply_transform(row, {"shear": 45})
        assert np.abs(by_45 - row).max() > 1
        assert np.abs(made().apply_transform(FLOATS[0], {"shear": 0.2}) - FLOATS[0]).max() < 10


def test_wrap_period():
    row = FLOATS[:1, :1].repeat(16, axis=1)[0]  # the same row 16 times
    for made in everywhere():
        moved = made(fill_mode="wrap").apply_transform(row, {"tx": 15})
        # 15 columns further on is where it was, but for the ends, which share a place.
        assert np.allclose(moved[:, 1:-1], row[:, 1:-1], atol=1e-3)


def test_first_rows_validate(tmp_path):
    write_folder(tmp_path, [f"{c}/{i}.png" for c in "ab" for i in range(4)], X[:8])
    for made in everywhere():
        half = made(validation_split=0.5)
        flow = {"shuffle": False, "batch_size": 48, "subset": "validation"}
        assert next(half.flow(FLOATS, np.arange(48), **flow, ignore_class_split=True))[1].tolist() == list(range(24))
        files = half.flow_from_directory(str(tmp_path), **flow, target_size=(16, 16))
        assert [name.replace("\\", "/") for name in files.filenames] == ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]


def test_weights_without_labels():
    for made in everywhere():
        assert first(made(), sample_weight=np.arange(48)).shape == (16, 16, 16, 3)


def test_fit_shuffles():
    import keras

    asked = []

    class Recording(keras.utils.PyDataset):
        def __len__(self):
            return 12

        def __getitem__(self, i):
            asked.append(i)
            return FLOATS[i : i + 1], Y[i : i + 1]

    for shuffle in (True, False):
        asked.clear()
        fit(Recording(), shuffle=shuffle, epochs=2)
        epochs = [asked[-24:-12], asked[-12:]]
        assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
        assert all(epoch == list(range(12)) for epoch in epochs) is not shuffle
