"""Batches from a folder: identity of samples, bad files, and the same path as any other source."""

from __future__ import annotations

import hashlib
import os
import pickle

import numpy as np
import pytest
from PIL import Image

from daskaug import ImageDataGenerator, open_materialized
from daskaug.errors import ConfigError, SourceError
from daskaug.iterators import DirectoryIterator
from tests import files, pictures


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return files.write_digits(tmp_path_factory.mktemp("digits"))


AUGMENTING = {"rotation_range": 20, "width_shift_range": 0.2, "zoom_range": 0.1, "brightness_range": (0.5, 1.5)}
GREY = {"color_mode": "grayscale", "target_size": (8, 8)}


def test_files_give_the_pixels_that_the_same_array_gives(digits):
    root, images, labels = digits
    datagen = ImageDataGenerator(**AUGMENTING, featurewise_center=True, featurewise_std_normalization=True)
    iterator = datagen.flow_from_directory(root, **GREY, class_mode="sparse", batch_size=7, seed=3)
    datagen.fit(iterator)
    fitted = datagen.mean, datagen.std
    datagen.fit(images)
    assert np.array_equal(fitted[0], datagen.mean)
    assert np.array_equal(fitted[1], datagen.std)

    iterator = datagen.flow_from_directory(root, **GREY, class_mode="sparse", batch_size=7, seed=3)
    array = datagen.flow(images, labels.astype(np.float32), batch_size=7, seed=3, ids=iterator.ids)
    for _ in range(2 * len(array)):
        (x, y), (array_x, array_y) = next(iterator), next(array)
        assert np.array_equal(x, array_x)
        assert np.array_equal(y, array_y)


def test_augment_and_materialize_take_the_iterator(digits, tmp_path):
    root, images, labels = digits
    datagen = ImageDataGenerator(**AUGMENTING)
    iterator = datagen.flow_from_directory(root, **GREY, seed=3)
    lazily = datagen.augment(iterator, seed=3)
    expected = datagen.augment(images, seed=3, ids=iterator.ids).compute()
    assert np.array_equal(lazily.compute(), expected)
    datagen.materialize(iterator, tmp_path / "store.zarr", seed=3, standardize=True)
    store = open_materialized(tmp_path / "store.zarr")
    assert np.array_equal(store.images.read(0, len(images)), expected)
    assert np.array_equal(store.labels, labels)


def test_fit_and_materialize_stay_within_the_subset(digits, tmp_path):
    root, images, labels = digits
    datagen = ImageDataGenerator(featurewise_center=True, validation_split=0.4)
    iterator = datagen.flow_from_directory(root, **GREY, subset="training")
    training = np.concatenate([np.flatnonzero(labels == k)[int(0.4 * (labels == k).sum()) :] for k in range(10)])
    assert iterator.n == len(training) < len(images)
    datagen.fit(iterator)
    assert datagen.mean.item() == images[training].mean(dtype=np.float64)
    report = datagen.materialize(iterator, tmp_path / "store.zarr")
    assert report.rows == len(training)


def test_an_iterator_over_part_of_an_array_is_not_taken_for_the_whole(tmp_path):
    datagen = ImageDataGenerator(validation_split=0.5)
    part = datagen.flow(pictures.tiles(8, 10), subset="training")
    with pytest.raises(SourceError, match="5 of the 10 images"):
        datagen.materialize(part, tmp_path / "store.zarr")


def test_sample_id_is_a_hash_of_the_path_below_the_root(digits, tmp_path):
    root, _, _ = digits
    iterator = ImageDataGenerator().flow_from_directory(root, **GREY)
    for name, sample_id in zip(iterator.filenames, iterator.ids, strict=True):
        assert int(sample_id) == int.from_bytes(
            hashlib.sha256(os.path.splitext(name)[0].encode()).digest()[:8], "little"
        )
    assert iterator.ids.dtype == np.uint64

    # The file keeps its augmentation when the root moves and other files appear.
    moved = tmp_path / "moved"
    os.symlink(root, moved)
    Image.new("L", (8, 8)).save(root / "0" / "0.png")
    try:
        datagen = ImageDataGenerator(**AUGMENTING)
        options = GREY | {"seed": 1, "shuffle": False, "batch_size": 100}
        before = datagen.flow_from_directory(root, **options, classes=["1", "2"])
        after = datagen.flow_from_directory(moved, **options, classes=["0", "1", "2"])
        assert np.array_equal(before[0][0], after[0][0][after.classes > 0])
    finally:
        (root / "0" / "0.png").unlink()


def test_a_name_that_is_no_utf8_is_a_name(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    path = os.path.join(os.fsencode(tmp_path / "x"), b"\xe9t\xe9.png")
    Image.fromarray(pictures.tiles(8, 1)[0]).save(os.fsdecode(path))
    iterator = ImageDataGenerator().flow_from_directory(tmp_path, target_size=(8, 8))
    assert int(iterator.ids[0]) == int.from_bytes(hashlib.sha256(b"x/\xe9t\xe9").digest()[:8], "little")
    assert next(iterator)[0].shape == (1, 8, 8, 3)


def test_loops_of_links_end(tmp_path):
    root = files.write_classes(tmp_path / "root")
    plain = ImageDataGenerator().flow_from_directory(root)
    (root / "dog" / "again").symlink_to(root / "dog")
    (root / "cat" / "up").symlink_to(root)
    (root / "fish" / "other").symlink_to(root / "cat")
    (root / "cat" / "other").symlink_to(root / "fish")
    assert ImageDataGenerator().flow_from_directory(root).filenames == plain.filenames
    followed = ImageDataGenerator().flow_from_directory(root, follow_links=True)
    assert set(plain.filenames) < set(followed.filenames)
    assert len(set(followed.filenames)) == len(followed.filenames)
    assert not [name for name in followed.filenames if "again" in name]


def test_a_folder_without_images_is_explained(tmp_path, capsys):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.gif").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"no image file.*png, jpg"):
        iterator = ImageDataGenerator().flow_from_directory(tmp_path)
    assert capsys.readouterr().out == "Found 0 images belonging to 1 classes.\n"
    assert list(iterator) == []
    with pytest.warns(UserWarning, match="no subfolders.*its parent"):
        ImageDataGenerator().flow_from_directory(tmp_path / "x")
    with pytest.raises(SourceError, match="cannot be listed: No such file"):
        ImageDataGenerator().flow_from_directory(tmp_path / "nowhere")
    with (
        pytest.warns(UserWarning, match=r"1 of the classes have no folder.*'y'"),
        pytest.warns(UserWarning, match="no image file"),
    ):
        ImageDataGenerator().flow_from_directory(tmp_path, classes=["x", "y"])


@pytest.fixture
def bad(tmp_path):
    reasons = files.write_bad(tmp_path / "x")
    return tmp_path, reasons


def open_bad(root, on_error, **options):
    flow = {"target_size": (64, 64), "shuffle": False, "class_mode": "sparse"} | options
    return ImageDataGenerator().flow_from_directory(root, **flow, on_error=on_error)


def test_raise_names_the_first_bad_file(bad):
    root, _ = bad
    iterator = open_bad(root, "raise")
    assert iterator.bad_files == ()
    with pytest.raises(SourceError, match=r"bomb.png \(row 1\): .*decompression bomb"):
        next(iterator)


@pytest.mark.parametrize("on_error", ["skip", "replace"])
def test_skip_and_replace_count_and_list_every_bad_file(bad, on_error, capsys):
    root, reasons = bad
    with pytest.warns(UserWarning, match=r"6 of 9 image files cannot be read.*bomb.png.*bad_files"):
        iterator = open_bad(root, on_error)
    assert capsys.readouterr().out == "Found 9 images belonging to 1 classes.\n"  # as Keras counts
    assert {os.path.basename(file.path): file.row for file in iterator.bad_files} == {
        name: row for row, name in enumerate(sorted([*reasons, *files.GOOD])) if name in reasons
    }
    for file in iterator.bad_files:
        assert reasons[os.path.basename(file.path)] in file.reason
    kept = 3 if on_error == "skip" else 9
    assert len(iterator.filenames) == len(iterator.classes) == iterator.n == iterator.samples == kept
    x, y = next(iterator)
    assert len(x) == len(y) == kept
    black = [name for name, image in zip(iterator.filenames, x, strict=True) if not image.any()]
    assert [os.path.basename(name) for name in black] == ([] if on_error == "skip" else sorted(reasons))


def test_skipping_moves_no_file_into_the_other_subset_and_changes_no_pixel(tmp_path):
    root = files.write_classes(tmp_path)
    datagen = ImageDataGenerator(rotation_range=30, validation_split=0.5)
    flow = {"target_size": (16, 16), "shuffle": False, "seed": 4, "batch_size": 100}
    before = {s: datagen.flow_from_directory(root, **flow, subset=s) for s in ("training", "validation")}
    pixels = {s: dict(zip(it.filenames, it[0][0], strict=True)) for s, it in before.items()}
    spoilt = before["validation"].filenames[0]
    (root / spoilt).write_bytes(b"")
    for subset, iterator in before.items():
        if subset == "validation":
            with pytest.warns(UserWarning, match="1 of "):
                after = datagen.flow_from_directory(root, **flow, subset=subset, on_error="skip")
        else:
            after = datagen.flow_from_directory(root, **flow, subset=subset, on_error="skip")
        assert after.filenames == [name for name in iterator.filenames if name != spoilt]
        for name, image in zip(after.filenames, after[0][0], strict=True):
            assert np.array_equal(image, pixels[subset][name])


def test_good_files_are_not_warned_of(digits):
    root, images, _ = digits
    iterator = ImageDataGenerator().flow_from_directory(root, **GREY, on_error="skip")
    assert iterator.bad_files == ()
    assert iterator.n == len(images)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"on_error": "ignore"}, "on_error='ignore'"),
        ({"class_mode": "raw"}, "Invalid class_mode: raw"),
        ({"subset": "test"}, "Invalid subset name: test"),
        ({"target_size": 8}, "target_size"),
        ({"interpolation": "cubic"}, "Invalid interpolation method cubic"),
    ],
)
def test_bad_arguments(digits, options, match):
    with pytest.raises((ConfigError, TypeError), match=match):
        ImageDataGenerator().flow_from_directory(digits[0], **options)
    with pytest.raises(TypeError, match="batchsize"):
        ImageDataGenerator().flow_from_directory(digits[0], batchsize=3)


def test_validation_files_are_not_augmented(digits):
    root, _, _ = digits
    datagen = ImageDataGenerator(rotation_range=90, validation_split=0.5)
    flow = GREY | {"subset": "validation", "shuffle": False}
    augmented = datagen.flow_from_directory(root, **flow)
    plain = ImageDataGenerator(validation_split=0.5).flow_from_directory(root, **flow)
    assert np.array_equal(augmented[0][0], plain[0][0])


def test_paths_are_joined_once(digits):
    root, _, _ = digits
    iterator = ImageDataGenerator().flow_from_directory(root, **GREY)
    assert iterator.filepaths == [os.path.join(root, name) for name in iterator.filenames]
    assert iterator.filepaths is iterator.filepaths


def test_images_of_their_own_size(digits):
    root, images, _ = digits
    iterator = ImageDataGenerator().flow_from_directory(root, color_mode="grayscale", target_size=None, shuffle=False)
    assert iterator.target_size == (8, 8)
    assert np.array_equal(iterator[0][0], images[:32].astype(np.float32))


def test_without_a_generator_images_stay_as_they_are(digits):
    root, images, _ = digits
    iterator = DirectoryIterator(root, None, **GREY, shuffle=False, class_mode="input")
    x, y = iterator[0]
    assert np.array_equal(x, images[:32].astype(np.float32))
    assert np.array_equal(x, y)
    assert x is not y


def test_pictures_are_saved(digits, tmp_path):
    iterator = ImageDataGenerator().flow_from_directory(
        digits[0], **GREY, batch_size=4, shuffle=False, save_to_dir=tmp_path / "out", save_prefix="p", save_format="png"
    )
    next(iterator)
    assert [path.name.split("_")[:2] for path in sorted((tmp_path / "out").iterdir())] == [
        ["p", str(i)] for i in range(4)
    ]


def test_pickled_iterator_goes_on(digits):
    iterator = ImageDataGenerator(**AUGMENTING).flow_from_directory(digits[0], **GREY, seed=2, batch_size=6)
    next(iterator)
    copy = pickle.loads(pickle.dumps(iterator))
    for _ in range(3):
        (x, y), (copied_x, copied_y) = next(iterator), next(copy)
        assert np.array_equal(x, copied_x)
        assert np.array_equal(y, copied_y)
    assert copy.filenames == iterator.filenames


def test_workers_of_a_cluster_give_the_same(bad, tmp_path_factory):
    from distributed import Client, LocalCluster

    root, _ = bad
    files.write_classes(root)
    datagen = ImageDataGenerator(rotation_range=30, featurewise_center=True)
    flow = {"target_size": (20, 20), "seed": 8, "batch_size": 5, "on_error": "replace"}

    def everything():
        with pytest.warns(UserWarning, match="image files cannot be read and are replaced by black"):
            iterator = datagen.flow_from_directory(root, **flow)
        datagen.fit(iterator)
        iterator = datagen.flow_from_directory(root, **flow | {"on_error": "raise"}, classes=["cat", "dog"])
        batches = [x for x, _ in iterator.one_epoch()]
        return datagen.mean, np.concatenate(batches), datagen.augment(iterator, seed=8).compute(), iterator.ids

    here = everything()
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            dashboard_address=None,
            local_directory=tmp_path_factory.mktemp("workers"),
        ) as local,
        Client(local),
    ):
        there = everything()
    for one, other in zip(here, there, strict=True):
        assert np.array_equal(one, other)
