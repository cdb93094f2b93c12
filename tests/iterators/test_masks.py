"""Masks beside images: one draw for both."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from PIL import Image

from daskaug import ImageDataGenerator, open_materialized
from daskaug.errors import ConfigError, SourceError
from tests import pictures

X = pictures.tiles(32, 40)
MASKS = ((X[..., :1] > 120).astype(np.uint8) * 7 + (X[..., 1:2] > 200) * 100).astype(np.uint8)

OPTIONS = {
    "featurewise_center": True,
    "rescale": 1 / 255,
    "rotation_range": 40,
    "width_shift_range": 0.2,
    "zoom_range": 0.3,
    "horizontal_flip": True,
    "channel_shift_range": 30.0,
    "brightness_range": (0.5, 1.5),
    "fill_mode": "reflect",
}


def generator(**changes):
    return ImageDataGenerator(**OPTIONS | changes).fit(X)


def expected_masks(epoch=0, **changes) -> np.ndarray:
    """The documented recipe: a second generator with the same seed."""
    plain = {key: OPTIONS[key] for key in ("rotation_range", "width_shift_range", "zoom_range", "horizontal_flip")}
    second = ImageDataGenerator(**plain, fill_mode="reflect", interpolation_order=0, dtype="uint8", **changes)
    return second.augment(MASKS, seed=9, epoch=epoch).compute(scheduler="threads")


@pytest.mark.parametrize("kind", ["numpy", "zarr", "dask"])
def test_masks_follow_their_images_and_keep_their_values(kind, tmp_path):
    masks = MASKS
    if kind == "zarr":
        masks = zarr.create_array(tmp_path / "m.zarr", data=MASKS, chunks=(7, 16, 32, 1))
    elif kind == "dask":
        masks = da.from_array(MASKS, chunks=(11, 32, 32, 1)) + np.uint8(0)
    batches = generator().flow(X, masks=masks, batch_size=7, seed=9)
    alone = generator().flow(X, batch_size=7, seed=9)
    for epoch in range(2):
        wanted = expected_masks(epoch)
        for _ in range(len(batches)):
            place = batches.batch_index
            rows = batches.index_array[place * 7 : place * 7 + 7]
            x, found = next(batches)
            assert np.array_equal(x, next(alone))
            assert found.dtype == np.uint8
            assert np.array_equal(found, wanted[rows])
    assert set(np.unique(expected_masks())) <= set(np.unique(MASKS))


def test_what_a_batch_looks_like():
    y = np.arange(40)
    _, both = next(generator().flow(X, y, masks=MASKS, batch_size=5, shuffle=False))
    assert isinstance(both, list)
    assert np.array_equal(both[0], y[:5])
    assert both[1].shape == (5, 32, 32, 1)
    _, masks, weights = next(generator().flow(X, sample_weight=y, masks=MASKS, batch_size=5, shuffle=False))
    assert masks.shape == (5, 32, 32, 1)
    assert np.array_equal(weights, y[:5])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float32"])
def test_masks_of_any_dtype_are_untouched_where_nothing_moves(dtype):
    masks = MASKS.astype(dtype) if dtype != "int64" else MASKS.astype("int64") * 2**40
    _, found = next(ImageDataGenerator(brightness_range=(2, 3), rescale=2).flow(X, masks=masks, shuffle=False))
    assert found.dtype == dtype
    assert np.array_equal(found, masks[:32])


def test_the_three_sinks_agree(tmp_path):
    images, masks = generator().augment(X, seed=9, epoch=1, masks=MASKS)
    assert np.array_equal(masks.compute(scheduler="threads"), expected_masks(1))
    generator().materialize(X, tmp_path / "m.zarr", masks=MASKS, epochs=2, seed=9)
    group = zarr.open_group(tmp_path / "m.zarr", mode="r")
    assert np.array_equal(group["masks"][:], np.concatenate([expected_masks(0), expected_masks(1)]))
    stored = open_materialized(tmp_path / "m.zarr").flow(batch_size=40, shuffle=False)
    next(stored)
    assert np.array_equal(next(stored)[1], expected_masks(1))
    assert images.shape == X.shape


def test_compat_draws_once_for_both():
    options = {"rotation_range": 40, "horizontal_flip": True, "compat": "keras"}
    x, masks = next(ImageDataGenerator(**options).flow(X, masks=MASKS, seed=4, batch_size=8))
    second = next(ImageDataGenerator(**options, interpolation_order=0).flow(MASKS, seed=4, batch_size=8))
    assert np.array_equal(masks, second)
    assert np.array_equal(x, next(ImageDataGenerator(**options).flow(X, seed=4, batch_size=8)))


class Quarter(ImageDataGenerator):
    def get_random_transform(self, img_shape, seed=None):
        return super().get_random_transform(img_shape, seed) | {"theta": 90.0}


class Whole(ImageDataGenerator):
    def random_transform(self, x, seed=None):
        return x


class Rolled(ImageDataGenerator):
    def apply_transform(self, x, transform_parameters):
        return np.roll(super().apply_transform(x, transform_parameters), 5, axis=0)


@pytest.mark.filterwarnings("ignore:.*overrides:UserWarning")
def test_overridden_draws_move_the_masks_too():
    _, masks = next(Quarter().flow(X, masks=MASKS, shuffle=False, batch_size=40))
    assert np.array_equal(masks, np.rot90(MASKS, 1, axes=(1, 2)))
    for made in (Whole(), Rolled()):
        with pytest.raises(ConfigError, match=r"overrides (random|apply)_transform"):
            next(made.flow(X, masks=MASKS))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"masks": MASKS[1:]}, SourceError, r"`masks` must have as many rows.*\(39, 32, 32, 1\)"),
        ({"masks": MASKS[:, :16]}, SourceError, "`masks` must have as many rows"),
        ({"masks": MASKS[..., 0]}, SourceError, "rank 4"),
        ({"masks": MASKS, "mask_order": 7}, ConfigError, "`interpolation_order`"),
    ],
    ids=range(4),
)
def test_masks_that_do_not_fit_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        generator().flow(X, **options)


# --- files -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    """The images and masks as PNG files in two folders of the same structure."""
    for number in range(40):
        for kind, pixels in (("images", X[number]), ("masks", MASKS[number, :, :, 0])):
            folder = tmp_path / kind / f"class{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            ending = "png" if kind == "images" else "tif"
            Image.fromarray(pixels).save(folder / f"{number:02d}.{ending}")
    return tmp_path


PLAIN = {"rotation_range": 40, "zoom_range": 0.3, "horizontal_flip": True, "fill_mode": "reflect"}


def test_masks_in_a_folder_beside_the_images(folders, capsys):
    options = {"target_size": (32, 32), "class_mode": None, "batch_size": 7, "seed": 3}
    both = ImageDataGenerator(**PLAIN).flow_from_directory(folders / "images", masks=folders / "masks", **options)
    alone = ImageDataGenerator(**PLAIN).flow_from_directory(folders / "images", **options)
    order = both.index_array
    rows = np.array([int(name[-6:-4]) for name in both.filenames])[order]
    pairs = [next(both) for _ in range(len(both))]
    assert np.array_equal(np.concatenate([x for x, _ in pairs]), np.concatenate(list(alone.one_epoch())))
    masks = np.concatenate([masks for _, masks in pairs])
    assert masks.dtype == np.uint8
    direct = ImageDataGenerator(**PLAIN, interpolation_order=0, dtype="uint8").flow(
        MASKS[rows], ids=both.ids[order], batch_size=40, shuffle=False, seed=3
    )
    assert np.array_equal(masks, next(direct))
    with_labels = ImageDataGenerator(**PLAIN).flow_from_directory(
        folders / "images", masks=folders / "masks", target_size=(32, 32), class_mode="sparse"
    )
    _, (labels, beside) = next(with_labels)
    assert labels.shape == (32,)
    assert beside.shape == (32, 32, 32, 1)


def test_masks_in_a_column_of_a_dataframe(folders):
    names = [f"class{number % 2}/{number:02d}" for number in range(40)]
    table = pd.DataFrame(
        {
            "image": [f"images/{name}.png" for name in names],
            "mask": [f"masks/{name}.tif" for name in names],
        }
    )
    (folders / "images" / "class0" / "04.png").write_bytes(b"broken")
    with pytest.warns(UserWarning, match="1 of 40 image files cannot be read"):
        batches = ImageDataGenerator().flow_from_dataframe(
            table, folders, x_col="image", masks="mask", target_size=(32, 32), class_mode=None, shuffle=False,
            batch_size=40, on_error="skip",
        )  # fmt: skip
    x, masks = next(batches)
    kept = [number for number in range(40) if number != 4]
    assert np.array_equal(x, X[kept].astype(np.float32))
    assert np.array_equal(masks, MASKS[kept])  # the mask of the skipped image is skipped with it


def test_masks_of_files_reach_the_other_sinks(folders, tmp_path):
    options = {"target_size": (32, 32), "class_mode": "sparse", "shuffle": False}
    files = ImageDataGenerator().flow_from_directory(folders / "images", masks=folders / "masks", **options)
    made = ImageDataGenerator(**PLAIN)
    images, masks = made.augment(files, seed=2)
    made.materialize(files, tmp_path / "m.zarr", seed=2)
    group = zarr.open_group(tmp_path / "m.zarr", mode="r")
    assert np.array_equal(group["masks"][:], masks.compute(scheduler="threads"))
    assert images.shape == X.shape


def test_missing_masks_are_counted(folders):
    (folders / "masks" / "class0" / "06.tif").unlink()
    with pytest.raises(SourceError, match=r"1 of 40 images have no mask.*class0/06\.png"):
        ImageDataGenerator().flow_from_directory(folders / "images", masks=folders / "masks")
    with pytest.raises(ConfigError, match="masks='nothing' is no column"):
        ImageDataGenerator().flow_from_dataframe(
            pd.DataFrame({"filename": ["a.png"]}), masks="nothing", class_mode=None
        )
