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


def test_indices_of_a_palette_are_the_values(folders):
    classes = (MASKS[:, :, :, 0] % 5).astype(np.uint8)
    for number in range(40):
        picture = Image.new("P", (32, 32))
        picture.putdata(classes[number].ravel().tolist())
        picture.putpalette([(40 * i + 20 * band) % 256 for i in range(256) for band in range(3)])
        (folders / "masks" / f"class{number % 2}" / f"{number:02d}.tif").unlink()
        picture.save(folders / "masks" / f"class{number % 2}" / f"{number:02d}.png")
    options = {"target_size": (32, 32), "class_mode": None, "shuffle": False, "batch_size": 40}
    files = ImageDataGenerator().flow_from_directory(folders / "images", masks=folders / "masks", **options)
    rows = [int(name[-6:-4]) for name in files.filenames]
    assert np.array_equal(next(files)[1][..., 0], classes[rows])


SPOILT = {"image": "class0/04", "empty mask": "class0/06", "no mask": "class1/09"}


@pytest.fixture
def spoilt(folders):
    """The folders, with an image that cannot be read, a mask that is empty, and one that is not there."""
    (folders / "images" / "class0" / "04.png").write_bytes(b"broken")
    (folders / "masks" / "class0" / "06.tif").write_bytes(b"")
    (folders / "masks" / "class1" / "09.tif").unlink()
    return folders


@pytest.mark.parametrize("on_error", ["skip", "replace"])
@pytest.mark.parametrize("kind", ["folder", "dataframe"])
def test_bad_masks_are_skipped_or_replaced_like_images(spoilt, on_error, kind):
    options = {"target_size": (32, 32), "class_mode": None, "shuffle": False, "batch_size": 40, "on_error": on_error}
    names = sorted(f"class{number % 2}/{number:02d}" for number in range(40))
    datagen = ImageDataGenerator()
    columns = {"filename": [f"images/{n}.png" for n in names], "mask": [f"masks/{n}.tif" for n in names]}

    def read():
        if kind == "folder":
            return datagen.flow_from_directory(spoilt / "images", masks=spoilt / "masks", **options)
        return datagen.flow_from_dataframe(pd.DataFrame(columns), spoilt, masks="mask", **options)

    with pytest.warns(UserWarning, match="1 of 40 image files and the masks of 2 of 40 images cannot be read"):
        batches = read()
    assert [bad.row for bad in batches.bad_files] == sorted(map(names.index, SPOILT.values()))
    assert ["begins with" in bad.reason for bad in batches.bad_files] == [True, False, False]
    x, masks = next(batches)
    kept = [name for name in names if on_error == "replace" or name not in SPOILT.values()]
    numbers = [int(name[-2:]) for name in kept]
    images, expected = X[numbers].astype(np.float32), MASKS[numbers].copy()
    if on_error == "replace":
        images[kept.index(SPOILT["image"])] = 0
        expected[[kept.index(SPOILT["empty mask"]), kept.index(SPOILT["no mask"])]] = 0
    assert np.array_equal(x, images)
    assert np.array_equal(masks, expected)


def test_cells_without_a_mask(folders):
    (folders / "masks" / "class1" / "05.tif").unlink()
    names = [f"class{number % 2}/{number:02d}" for number in range(40)]
    table = pd.DataFrame({"filename": [f"images/{n}.png" for n in names], "mask": [f"masks/{n}.tif" for n in names]})
    table.loc[3, "mask"] = None
    table.loc[8, "mask"] = ""
    options = {"masks": "mask", "class_mode": None, "target_size": (32, 32)}
    with pytest.raises(SourceError, match=r"3 of 40 images.*\(row 3\).*\(row 5\).*no such file.*\(row 8\).*holds ''"):
        ImageDataGenerator().flow_from_dataframe(table, folders, **options)
    with pytest.warns(UserWarning, match="the masks of 3 of 40 images"):
        batches = ImageDataGenerator().flow_from_dataframe(table, folders, **options, on_error="skip")
    assert batches.ids.tolist() == [row for row in range(40) if row not in (3, 5, 8)]


def test_masks_behind_links_are_found_where_links_are_followed(folders):
    for kind in ("images", "masks"):
        (folders / kind / "class0").rename(folders / f"{kind}-elsewhere")
        (folders / kind / "class0").mkdir()
        (folders / kind / "class0" / "inner").symlink_to(folders / f"{kind}-elsewhere")
        (folders / kind / "class0" / "loop").symlink_to(folders / kind)
    files = ImageDataGenerator().flow_from_directory(
        folders / "images", masks=folders / "masks", follow_links=True, target_size=(32, 32), class_mode=None,
        shuffle=False, batch_size=100,
    )  # fmt: skip
    assert files.n > 40
    rows = [int(name[-6:-4]) for name in files.filenames]
    x, masks = next(files)
    assert np.array_equal(x, X[rows].astype(np.float32))
    assert np.array_equal(masks, MASKS[rows])
    with pytest.raises(SourceError, match="no folder of masks"):
        ImageDataGenerator().flow_from_directory(folders / "images", masks=folders / "nowhere")


@pytest.mark.parametrize(("size", "fits"), [((16, 16), True), ((17, 16), True), ((32, 24), False), ((16, 12), False)])
def test_keeping_proportions_needs_masks_of_the_same(folders, size, fits):
    path = folders / "masks" / "class0" / "06.tif"
    Image.fromarray(MASKS[6, : size[0], : size[1], 0]).save(path)
    options = {"masks": folders / "masks", "target_size": (16, 32), "class_mode": None}
    datagen = ImageDataGenerator()
    datagen.flow_from_directory(folders / "images", **options)  # stretches both
    if fits:
        datagen.flow_from_directory(folders / "images", **options, keep_aspect_ratio=True)
        return
    with pytest.raises(
        SourceError, match=rf"06.tif \(row 3\): it has {size[0]}×{size[1]} .*images/class0/06.png with 32×32"
    ):
        datagen.flow_from_directory(folders / "images", **options, keep_aspect_ratio=True)


def test_the_mask_of_the_same_full_name_comes_first(tmp_path):
    for name, number in {"images/c/1.png": 0, "images/c/1.bmp": 1, "images/c/2.png": 2, "images/c/2.bmp": 3}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(X[number]).save(tmp_path / name)
    for name, number in {"masks/c/1.png": 0, "masks/c/1.bmp": 1, "masks/c/2.png": 2}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(MASKS[number, ..., 0]).save(tmp_path / name)
    options = {"masks": tmp_path / "masks", "target_size": (32, 32), "class_mode": None, "shuffle": False}
    files = ImageDataGenerator().flow_from_directory(tmp_path / "images", **options)
    assert files.filenames == ["c/1.bmp", "c/1.png", "c/2.bmp", "c/2.png"]
    assert np.array_equal(next(files)[1], MASKS[[1, 0, 2, 2]])  # the third has but the mask of its neighbour
    (tmp_path / "images" / "c" / "1.jpg").write_bytes((tmp_path / "images" / "c" / "1.png").read_bytes())
    with pytest.raises(SourceError, match=r"1.jpg \(row 1\): it has 2 masks of its name \(c/1.bmp, c/1.png\)"):
        ImageDataGenerator().flow_from_directory(tmp_path / "images", **options)


def test_masks_stand_behind_several_outputs(folders):
    names = [f"class{number % 2}/{number:02d}" for number in range(40)]
    table = pd.DataFrame(
        {
            "filename": [f"images/{name}.png" for name in names],
            "mask": [f"masks/{name}.tif" for name in names],
            "a": range(40),
            "b": np.arange(40) / 2,
        }
    )
    batches = ImageDataGenerator().flow_from_dataframe(
        table, folders, masks="mask", class_mode="multi_output", y_col=["a", "b"], weight_col="b",
        target_size=(32, 32), shuffle=False, batch_size=40,
    )  # fmt: skip
    _, (a, b, masks), weights = next(batches)
    assert np.array_equal(a, table["a"])
    assert np.array_equal(b, table["b"])
    assert np.array_equal(weights, b)
    assert np.array_equal(masks, MASKS)
