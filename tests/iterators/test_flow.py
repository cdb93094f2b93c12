"""Keras' iterator contract."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import pickle
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from PIL import Image

from daskaug import ImageDataGenerator, open_images
from daskaug.errors import ConfigError, NotFittedError, SourceError, UnreadableError
from tests import pictures

X, Y = pictures.tiles(16, 50), np.arange(50)
PLAIN = ImageDataGenerator()
TURNING = ImageDataGenerator(rotation_range=30, horizontal_flip=True)


def keras_iterator(**options):
    from keras.src.legacy.preprocessing.image import ImageDataGenerator as KerasGenerator

    return KerasGenerator().flow(X, Y, **options)


def test_batches_labels_and_lengths():
    batches = PLAIN.flow(X, Y, batch_size=16, shuffle=False)
    assert len(batches) == 4
    assert batches.n == batches.samples == 50
    shapes = [(x.shape, x.dtype, y.tolist()) for x, y in batches.one_epoch()]
    assert [shape for shape, _, _ in shapes] == [(16, 16, 16, 3)] * 3 + [(2, 16, 16, 3)]
    assert {dtype for _, dtype, _ in shapes} == {np.dtype(np.float32)}
    assert list(itertools.chain(*(labels for _, _, labels in shapes))) == list(range(50))
    assert np.array_equal(next(batches)[0], X[:16].astype(np.float32))


def test_it_is_infinite_and_each_epoch_has_every_sample_once_in_another_order():
    batches = PLAIN.flow(X, Y, batch_size=16, seed=1)
    epochs = [np.concatenate([next(batches)[1] for _ in range(4)]).tolist() for _ in range(3)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 9])
def test_the_counters_run_like_keras_counters(steps):
    ours, theirs = PLAIN.flow(X, Y, batch_size=16, seed=1), keras_iterator(batch_size=16, seed=1)
    for _ in range(steps):
        next(ours)
        next(theirs)
    for name in ("n", "batch_size", "batch_index", "total_batches_seen", "seed", "shuffle"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert len(ours) == len(theirs)
    ours.reset()
    theirs.reset()
    assert ours.batch_index == theirs.batch_index == 0


def test_index_array_says_what_the_batches_hold():
    batches = ImageDataGenerator(validation_split=0.2).flow(
        X, Y, batch_size=16, seed=1, subset="training", ignore_class_split=True
    )
    order = batches.index_array
    assert sorted(order) == list(range(40))
    labels = np.concatenate([y for _, y in batches.one_epoch()])
    assert np.array_equal(batches.y[order], labels)


def test_an_epoch_ends_only_after_a_whole_epoch_was_served():
    batches = PLAIN.flow(X, Y, batch_size=16, seed=1)
    batches[0]  # Keras' probe
    batches.on_epoch_end()
    assert batches.epoch == 0
    for i in (0, 1, 2):
        batches[i]
    batches.on_epoch_end()  # steps_per_epoch=3: the probe is not counted with them
    assert batches.epoch == 0
    batches[3]
    batches.on_epoch_end()
    batches.on_epoch_end()  # Keras calls it twice after a validation pass
    assert batches.epoch == 1
    with pytest.raises(IndexError, match=r"batch 4.*4 batches"):
        batches[4]
    assert np.array_equal(batches[-1][1], batches[3][1])


def test_reset_goes_to_the_beginning_of_an_epoch():
    batches = TURNING.flow(X, Y, batch_size=16, seed=1)
    whole = [[y.tolist() for _, y in epoch] for epoch in TURNING.flow(X, Y, batch_size=16, seed=1).epochs(2)]
    batches.reset()
    assert next(batches)[1].tolist() == whole[0][0]
    batches.reset()  # of the next one, as this one has begun: Keras draws a new order, too
    assert [next(batches)[1].tolist() for _ in range(4)] == whole[1]


def test_what_keras_users_assign_is_heeded():
    batches = TURNING.flow(X, Y, batch_size=16, seed=1)
    next(batches)
    batches.shuffle = False
    assert np.concatenate([y for _, y in batches.one_epoch()]).tolist() == list(range(50))
    batches.batch_size = 7
    assert len(batches) == 8
    assert len(next(batches)[0]) == 7
    for bad in (0, 2.5):
        with pytest.raises(ConfigError, match="`batch_size`"):
            batches.batch_size = bad
    with pytest.warns(UserWarning, match="use_multiprocessing is ignored"):
        batches.use_multiprocessing = True
    assert not batches.use_multiprocessing


def test_a_generator_fitted_later_is_heeded():
    made = ImageDataGenerator(featurewise_center=True, rotation_range=20)
    batches = made.flow(X, Y, batch_size=16, seed=1, shuffle=False)
    made.fit(batches)
    expected = made.flow(X, Y, batch_size=16, seed=1, shuffle=False)
    assert np.array_equal(next(batches)[0], next(expected)[0])
    made.rescale = 0.5
    expected = made.flow(X, Y, batch_size=16, seed=1, shuffle=False)
    next(expected)
    assert np.array_equal(next(batches)[0], next(expected)[0])


def test_seed_none_is_fresh_entropy_that_can_be_asked_for():
    one, other = TURNING.flow(X, Y), TURNING.flow(X, Y)
    assert one.seed is None
    assert one.seed_used != other.seed_used
    replayed = TURNING.flow(X, Y, seed=one.seed_used)
    assert np.array_equal(next(one)[0], next(replayed)[0])


def test_threads_share_an_iterator_without_losing_or_doubling_a_batch():
    batches = PLAIN.flow(X, Y, batch_size=3, seed=1)
    served: list[int] = []

    def consume():
        for _ in range(17):
            served.extend(next(batches)[1].tolist())

    threads = [threading.Thread(target=consume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = np.bincount(served)
    assert counts.tolist() == [4] * 50


LABELS = {
    "numpy": lambda y, folder: y,
    "list": lambda y, folder: y.tolist(),
    "dask": lambda y, folder: da.from_array(y, chunks=7),
    "zarr": lambda y, folder: zarr.create_array(folder / "y.zarr", data=y, chunks=(9,)),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_and_weights_from_anywhere(kind, tmp_path):
    (tmp_path / "w").mkdir()
    y, weights = LABELS[kind](Y, tmp_path), LABELS[kind](Y / 100, tmp_path / "w")
    x, labels, w = next(PLAIN.flow(X, y, sample_weight=weights, batch_size=8, seed=2))
    assert np.array_equal(x, X[labels].astype(np.float32))
    assert np.array_equal(w, labels / 100)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1), (3,)])
@pytest.mark.parametrize("options", [{}, {"horizontal_flip": True}])
def test_statistics_that_are_assigned_broadcast_as_keras_lets_them(shape, options):
    ours = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True, **options)
    ours.mean, ours.std = np.full(shape, 5.0), np.full(shape, 2.0)
    plain = ImageDataGenerator(**options)
    expected = (next(plain.flow(X, batch_size=8, seed=1)) - 5) / (2 + 1e-6)
    assert np.allclose(next(ours.flow(X, batch_size=8, seed=1)), expected, rtol=1e-5)


def test_columns_beside_images_go_by_their_names(tmp_path):
    group = zarr.create_group(tmp_path / "x.zarr")
    for name, values in {"images": X, "y": Y, "weights": Y / 100}.items():
        group.create_array(name, data=values)
    x, labels, w = next(PLAIN.flow(tmp_path / "x.zarr", "y", sample_weight="weights", batch_size=8, seed=2))
    assert np.array_equal(x, X[labels].astype(np.float32))
    assert np.array_equal(w, labels / 100)
    with pytest.raises(SourceError, match=r"at 'labels', nor .* in .*x\.zarr, which has images, weights, y\."):
        PLAIN.flow(tmp_path / "x.zarr", "labels")


def test_after_an_error_that_has_passed_the_next_batches_are_right(tmp_path):
    images = np.tile(pictures.tiles(128, 48), (2, 1, 1, 1))
    zarr.create_array(tmp_path / "x.zarr", data=images, chunks=(8, 128, 128, 3))
    source = open_images(tmp_path / "x.zarr")
    source.read(0, 1)
    asked = ImageDataGenerator().flow(source, batch_size=16, shuffle=False)
    chunks = tmp_path / "x.zarr" / "c"
    chunks.rename(tmp_path / "away")
    with pytest.raises(UnreadableError, match="are gone"):
        asked[0]
    for batch in list(asked._ahead.values()):  # if any is still under way, it meets with the same
        with contextlib.suppress(UnreadableError):
            batch.task.pending.result()
    (tmp_path / "away").rename(chunks)
    for i in (1, 2, 3, 4, 5, 0):
        assert np.array_equal(asked[i], images[16 * i : 16 * i + 16])


def test_forms_of_a_batch_are_keras_forms():
    extra = np.random.RandomState(0).rand(50, 4)
    options = {"batch_size": 8, "shuffle": False}
    assert isinstance(next(PLAIN.flow(X, **options)), np.ndarray)
    assert len(next(PLAIN.flow(X, Y, **options))) == 2
    assert len(next(PLAIN.flow(X, Y, sample_weight=Y, **options))) == 3
    assert isinstance(next(PLAIN.flow(X, sample_weight=Y, **options)), np.ndarray)
    for extras in (extra, [extra], [extra, Y]):
        x, y = next(PLAIN.flow((X, extras), Y, **options))
        assert isinstance(x, list)
        assert len(x) == 1 + (len(extras) if isinstance(extras, list) else 1)
        assert np.array_equal(x[1], extra[:8])
        assert np.array_equal(y, Y[:8])
    assert len(next(PLAIN.flow([X, extra], **options))) == 2


def test_subsets_are_keras_subsets():
    ours = ImageDataGenerator(validation_split=0.25, rotation_range=90)
    validation = ours.flow(X, Y, batch_size=50, shuffle=False, subset="validation", ignore_class_split=True)
    training = ours.flow(X, Y, batch_size=50, shuffle=False, subset="training", ignore_class_split=True)
    assert next(validation)[1].tolist() == list(range(12))
    assert next(training)[1].tolist() == list(range(12, 50))
    assert np.array_equal(next(validation)[0], X[:12].astype(np.float32))  # not augmented
    with pytest.raises(SourceError, match="different number of classes"):
        ours.flow(X, Y, subset="training")


def test_save_to_dir_writes_what_is_handed_out(tmp_path):
    folder = tmp_path / "saved"
    batches = TURNING.flow(X, Y, batch_size=8, seed=1, save_to_dir=folder, save_prefix="turned", save_format="png")
    x, labels = next(batches)
    files = sorted(folder.iterdir())
    assert len(files) == 8
    assert {int(file.name.split("_")[1]) for file in files} == set(labels.tolist())
    by_label = {int(file.name.split("_")[1]): file for file in files}
    image = x[0] - x[0].min()
    shown = np.asarray(Image.open(by_label[int(labels[0])]), np.float32)
    assert np.abs(shown - image / image.max() * 255).max() <= 1


@pytest.mark.parametrize("n", [0, 1])
def test_no_image_and_one_image(n):
    batches = TURNING.flow(X[:n], Y[:n], batch_size=4, seed=1)
    assert len(batches) == n
    assert len(list(batches.one_epoch())) == n


def test_read_only_and_strided_images():
    big = np.repeat(X, 2, axis=1)[:, ::2]
    for x in (X, big, X[:, :, ::-1], np.asfortranarray(X)):
        assert np.array_equal(next(PLAIN.flow(x, shuffle=False))[0], x[0].astype(np.float32))


def test_the_callers_array_is_never_changed():
    x = X.astype(np.float32)
    before = x.copy()
    made = ImageDataGenerator(samplewise_center=True, rotation_range=20, rescale=1 / 255, brightness_range=(0.5, 2))
    list(made.flow(x, Y).one_epoch())
    assert np.array_equal(x, before)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ConfigError, "`batch_size`"),
        ({"batch_size": 2.5}, ConfigError, "`batch_size`"),
        ({"seed": -1}, ConfigError, "`seed`"),
        ({"seed": "one"}, ConfigError, "`seed`"),
        ({"shuffle": "yes"}, ConfigError, "`shuffle`"),
        ({"subset": "test"}, ConfigError, "`subset`"),
        ({"y": Y[:-1]}, SourceError, "`y` should have the same length"),
        ({"sample_weight": Y[:-1]}, SourceError, "`sample_weight` should have the same length"),
        ({"x": (X, Y[:-1])}, SourceError, "same length"),
        ({"x": X[0]}, SourceError, "rank 4"),
        ({"ids": Y[:-1]}, SourceError, "`ids`"),
        ({"ids": Y - 1}, SourceError, "`ids`"),
        ({"ids": Y / 2}, SourceError, "`ids`"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_before_any_work(options, error, message):
    with pytest.raises(error, match=message):
        PLAIN.flow(**{"x": X, "y": Y} | options)


def test_an_unfitted_generator_names_the_missing_line():
    batches = ImageDataGenerator(featurewise_center=True).flow(X)
    with pytest.raises(NotFittedError, match=r"`featurewise_center` is on.*datagen\.fit\(x\)"):
        next(batches)


def test_an_error_in_a_task_reaches_the_consumer_and_says_where():
    def broken(image):
        raise ZeroDivisionError("by zero")

    batches = ImageDataGenerator(preprocessing_function=broken).flow(X, batch_size=4, shuffle=False)
    with pytest.raises(ZeroDivisionError) as caught:
        next(batches)
    assert "4 rows, among them [0, 1, 2, 3]" in "".join(caught.value.__notes__)


def test_channels_on_the_other_axis_are_noticed():
    with pytest.warns(UserWarning, match='data_format="channels_first"'):
        PLAIN.flow(np.moveaxis(X, 3, 1))


def test_a_dropped_iterator_is_collected():
    batches = TURNING.flow(X, Y, batch_size=4)
    next(batches)
    gone = weakref.ref(batches)
    batches.close()
    del batches
    gc.collect()
    assert gone() is None


def test_pickling_keeps_the_place():
    batches = TURNING.flow(X, Y, batch_size=16, seed=1)
    next(batches)
    copy = pickle.loads(pickle.dumps(batches))
    for a, b in zip(next(batches), next(copy), strict=True):
        assert np.array_equal(a, b)


def test_iterators_made_after_keras_is_loaded_are_pydatasets():
    import keras

    batches = TURNING.flow(X, Y, batch_size=16, seed=1)
    assert isinstance(batches, keras.utils.PyDataset)
    assert type(batches).__name__ == "NumpyArrayIterator"
    copy = pickle.loads(pickle.dumps(batches))
    assert isinstance(copy, keras.utils.PyDataset)
    assert np.array_equal(next(copy)[0], next(batches)[0])


# --- what users bring along --------------------------------------------------------------------------------------


def test_a_preprocessing_function_sees_augmented_images_one_by_one():
    seen = []

    def halve(image):
        seen.append((image.shape, image.dtype))
        return image / 2

    made = ImageDataGenerator(preprocessing_function=halve, rescale=0.5)
    assert np.allclose(next(made.flow(X, batch_size=4, shuffle=False)), X[:4] / 4)
    assert set(seen) == {((16, 16, 3), np.dtype(np.float32))}


def test_a_preprocessing_function_must_keep_the_shape():
    batches = ImageDataGenerator(preprocessing_function=lambda image: image[:8]).flow(X)
    with pytest.raises(ConfigError, match=r"\(8, 16, 3\).*\(16, 16, 3\)"):
        next(batches)


def noisy(image, rng):
    return image + rng.normal(size=image.shape)


def test_a_preprocessing_function_may_have_random_numbers_of_the_samples_own():
    made = ImageDataGenerator(preprocessing_function=noisy)
    whole = next(made.flow(X, batch_size=50, shuffle=False, seed=3))
    for x, labels in made.flow(X, Y, batch_size=7, seed=3).one_epoch():
        assert np.array_equal(x, whole[labels])
    assert not np.array_equal(next(made.flow(X, batch_size=50, shuffle=False, seed=4)), whole)


class Doubled(ImageDataGenerator):
    def apply_transform(self, x, transform_parameters):
        return super().apply_transform(x, transform_parameters) * 2


class OnlyQuarterTurns(ImageDataGenerator):
    def get_random_transform(self, img_shape, seed=None):
        return super().get_random_transform(img_shape, seed) | {"theta": 90.0}


class Negative(ImageDataGenerator):
    def standardize(self, x):
        return 255 - super().standardize(x)


@pytest.mark.filterwarnings("ignore:.*overrides:UserWarning")
def test_overridden_methods_are_honoured():
    plain = next(TURNING.flow(X, shuffle=False, seed=1))
    doubled = next(Doubled(rotation_range=30, horizontal_flip=True).flow(X, shuffle=False, seed=1))
    assert np.allclose(doubled, plain * 2, atol=1e-3)
    negative = next(Negative(rotation_range=30, horizontal_flip=True).flow(X, shuffle=False, seed=1))
    assert np.allclose(negative, 255 - plain, atol=1e-3)
    turned = next(OnlyQuarterTurns().flow(X, shuffle=False, seed=1))
    assert np.array_equal(turned, np.rot90(X[:32], 1, axes=(1, 2)).astype(np.float32))


def test_overriding_is_announced_and_reproducible():
    class Own(ImageDataGenerator):
        def random_transform(self, x, seed=None):
            return super().random_transform(x, seed)

    with pytest.warns(UserWarning, match="overrides random_transform"):
        batches = Own(rotation_range=30).flow(X, Y, batch_size=50, shuffle=False, seed=5)
    whole = next(batches)[0]
    with pytest.warns(UserWarning, match="overrides random_transform"):
        shuffled = Own(rotation_range=30).flow(X, Y, batch_size=7, seed=5)
    for x, labels in shuffled.one_epoch():
        assert np.array_equal(x, whole[labels])


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("uint8", [0, 2, 2, 4, 255]), ("int16", [0, 2, 2, 4, 300]), ("float16", [0.5, 1.5, 2.5, 3.5, 300])],
)
def test_the_output_dtype_rounds_half_to_even_and_saturates(dtype, expected):
    x = np.zeros((1, 1, 5, 1), np.float32)
    x[0, 0, :, 0] = [0.5, 1.5, 2.5, 3.5, 300]
    made = next(ImageDataGenerator(dtype=dtype).flow(x))
    assert made.dtype == dtype
    assert made.ravel().tolist() == expected


def test_brightness_keeps_fractions_and_clips_to_the_range_of_the_source():
    bright = ImageDataGenerator(brightness_range=(2, 2))
    assert next(bright.flow(X, shuffle=False)).max() == 255
    fractions = X.astype(np.float32) / 255
    assert np.allclose(next(bright.flow(fractions, shuffle=False)), fractions[:32] * 2)
    limited = ImageDataGenerator(brightness_range=(2, 2), value_range=(0, 1))
    assert np.allclose(next(limited.flow(fractions, shuffle=False)), np.minimum(fractions[:32] * 2, 1))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_identity_parameters_return_the_input_bit_for_bit(data_format):
    every = ImageDataGenerator(
        brightness_range=(1, 1),
        zoom_range=(1, 1),
        channel_shift_range=0.0,
        width_shift_range=1,
        data_format=data_format,
    )
    for dtype in ("uint8", "uint16", "float32"):
        x = X.astype(dtype) * (200 if dtype == "uint16" else 1)
        x = x if data_format == "channels_last" else np.ascontiguousarray(np.moveaxis(x, 3, 1))
        assert np.array_equal(next(every.flow(x, shuffle=False, batch_size=50)), x.astype(np.float32))


def test_both_data_formats_give_the_same_pixels():
    options = {
        "featurewise_std_normalization": True, "featurewise_center": True, "rotation_range": 30, "zoom_range": 0.2,
        "channel_shift_range": 20.0, "horizontal_flip": True, "brightness_range": (0.5, 1.5),
    }  # fmt: skip
    first = np.ascontiguousarray(np.moveaxis(X, 3, 1))
    last = next(ImageDataGenerator(**options).fit(X).flow(X, seed=1))
    other = next(ImageDataGenerator(**options, data_format="channels_first").fit(first).flow(first, seed=1))
    assert np.array_equal(np.moveaxis(other, 1, 3), last)


def test_a_failed_batch_remains_the_next_one():
    fails = [True]

    def sometimes(image):
        if fails[0]:
            raise OSError("not now")
        return image

    batches = ImageDataGenerator(preprocessing_function=sometimes).flow(X, Y, batch_size=16, shuffle=False)
    for _ in range(3):
        with pytest.raises(OSError, match="not now"):
            next(batches)
    fails[0] = False
    assert np.concatenate([y for _, y in (next(batches) for _ in range(4))]).tolist() == list(range(50))


def test_epochs_go_on_after_a_break():
    batches = PLAIN.flow(X, Y, batch_size=16, seed=1)
    firsts = []
    for epoch in batches.epochs(3):
        for _, labels in epoch:
            firsts.append(tuple(labels))
            break
    assert len(set(firsts)) == 3
    assert batches.epoch == 2


FORK = """
import hashlib, os
import numpy as np
from daskaug import ImageDataGenerator
from tests import pictures

batches = ImageDataGenerator(rotation_range=30).flow(pictures.tiles(16, 50), np.arange(50), batch_size=4, seed=1)
next(batches)  # several more are under way now
reading, writing = os.pipe()
child = os.fork()
digest = hashlib.sha256(b"".join(next(batches)[0].tobytes() for _ in range(15))).hexdigest()
if child == 0:
    os.write(writing, digest.encode())
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert os.read(reading, 64).decode() == digest
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_goes_on_where_its_parent_is():
    """In a process of its own: this one may have loaded JAX, which cannot be forked."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_statistics_of_other_images_are_refused_before_any_work():
    grey = X[..., :1]
    for options in ({"featurewise_center": True}, {"zca_whitening": True, "featurewise_center": True}):
        made = ImageDataGenerator(**options).fit(X[:, :8, :8])
        for refused in (lambda g: g.flow(grey), lambda g: g.augment(grey, seed=1)):
            with pytest.raises(ConfigError, match=r"\(16, 16, 1\)"):
                refused(made)


def test_a_subset_without_a_split_is_refused():
    with pytest.raises(ConfigError, match="`validation_split` is 0"):
        PLAIN.flow(X, Y, subset="validation")


def test_keras_attributes_are_there():
    extra = np.arange(50) * 2
    made = ImageDataGenerator(validation_split=0.2)
    batches = made.flow((X, extra), Y, subset="training", ignore_class_split=True, save_prefix="p", save_format="jpg")
    assert np.array_equal(batches.x, X[10:])
    assert np.array_equal(batches.y, Y[10:])
    assert np.array_equal(batches.x_misc[0], extra[10:])
    assert (batches.save_to_dir, batches.save_prefix, batches.save_format) == (None, "p", "jpg")
    assert batches.image_data_generator is made
    assert batches.data_format == "channels_last"


def test_batches_beside_a_damaged_chunk_are_delivered(tmp_path):
    digits = pictures.digits()[0][:1024]
    stored = zarr.create_array(tmp_path / "x.zarr", data=digits, chunks=(256, *digits.shape[1:]))
    (tmp_path / "x.zarr" / "c" / "2" / "0" / "0" / "0").write_bytes(b"damaged")  # rows 512 to 767

    batches = ImageDataGenerator().flow(stored, batch_size=256, shuffle=False)

    for first in (0, 256):
        np.testing.assert_array_equal(next(batches), digits[first : first + 256])
    with pytest.raises(UnreadableError, match="Zstd"):
        next(batches)
    batches.batch_index = 3
    np.testing.assert_array_equal(next(batches), digits[768:])


class Counted(ImageDataGenerator):
    """Counts the images that it works on."""

    images = 0

    def standardize(self, x):
        type(self).images += 1
        return x


@pytest.mark.filterwarnings("ignore:Counted overrides")
@pytest.mark.parametrize("how", ["epochs", "next", "fit"])
def test_what_was_computed_ahead_of_an_epochs_end_is_used(how):
    batches = Counted().flow(X, Y, batch_size=5, seed=1)
    before = Counted.images
    if how == "epochs":
        for epoch in batches.epochs(6):
            list(epoch)
    elif how == "next":
        for _ in range(60):
            next(batches)
    else:
        for _ in range(6):
            for i in range(10):
                batches[i]
            batches.on_epoch_end()
            batches.on_epoch_end()
    batches.close()
    assert 300 <= Counted.images - before <= 300 + 5 * 16


def test_shuffling_again_is_shuffling_as_before(tmp_path):
    store = zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(8, *X.shape[1:]))
    batches = TURNING.flow(store, Y, batch_size=16, seed=1, shuffle_unit=8, shuffle_mix=2)
    kind = batches.shuffling
    batches.shuffle = False
    assert np.concatenate([y for _, y in batches.one_epoch()]).tolist() == list(range(50))
    batches.shuffle = True
    assert batches.shuffling == kind
