"""Files, labels and batches beside Keras' own iterators over folders and dataframes."""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
import pandas as pd
import pytest
from keras.src.legacy.preprocessing import image as keras_image
from PIL import Image

from daskaug import ImageDataGenerator
from tests import files, pictures

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "lanczos", "hamming")
SHARED = (
    "batch_size",
    "class_mode",
    "color_mode",
    "data_format",
    "directory",
    "dtype",
    "filenames",
    "filepaths",
    "image_shape",
    "interpolation",
    "keep_aspect_ratio",
    "n",
    "samples",
    "save_format",
    "save_prefix",
    "save_to_dir",
    "seed",
    "shuffle",
    "split",
    "subset",
    "target_size",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return files.write_classes(tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="module")
def table(folder):
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.suffix != ".txt")
    kinds = [name.partition("/")[0] for name in names]
    n = len(names)
    return pd.DataFrame(
        {
            "filename": names,
            "class": kinds,
            "two": [kind if kind != "fish" else "dog" for kind in kinds],
            "several": [
                [kind, "odd"] if i % 3 == 0 else (kind,) if i % 3 == 1 else kind for i, kind in enumerate(kinds)
            ],
            "number": np.linspace(0, 1, n),
            "count": np.arange(n),
            "weight": np.arange(n) / 7,
        },
        index=np.arange(n)[::-1] + 50,
    )


def both(method, *args, generator=None, **options):
    """Iterators of Keras and of ours, what each printed, and what each warned of."""
    results = []
    for module in (keras_image, None):
        made = (module.ImageDataGenerator if module else ImageDataGenerator)(**(generator or {}))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            results.append(
                (getattr(made, method)(*args, **options), printed.getvalue(), [str(w.message) for w in warned])
            )
    return results


def equal(ours, theirs):
    if isinstance(theirs, tuple | list):
        assert type(ours) is type(theirs)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            equal(one, other)
        return
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert np.array_equal(ours, theirs)


def compare(pair, batches=None):
    (theirs, their_text, _), (ours, our_text, _) = pair
    assert our_text == their_text
    assert len(ours) == len(theirs)
    for name in SHARED:
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("class_indices", "num_classes"):
        if hasattr(theirs, name):
            assert getattr(ours, name) == getattr(theirs, name)
    if hasattr(theirs, "classes"):
        assert list(ours.classes) == list(theirs.classes)
        assert type(ours.classes) is type(theirs.classes)
    for number in range(len(theirs) if batches is None else batches):
        equal(ours[number], theirs[number])
    return ours, theirs


@pytest.mark.parametrize("class_mode", ["categorical", "sparse", "input", None])
def test_class_modes_of_a_folder(folder, class_mode):
    compare(
        both("flow_from_directory", folder, class_mode=class_mode, shuffle=False, batch_size=4, target_size=(20, 30))
    )


def test_binary_and_named_classes_of_a_folder(folder):
    options = {"classes": ["fish", "cat"], "class_mode": "binary", "shuffle": False, "target_size": (16, 16)}
    ours, _ = compare(both("flow_from_directory", str(folder), **options))
    assert ours.class_indices == {"fish": 0, "cat": 1}


@pytest.mark.parametrize("keep_aspect_ratio", [False, True])
@pytest.mark.parametrize("color_mode", ["rgb", "rgba", "grayscale"])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_color_modes_and_interpolations(folder, color_mode, interpolation, keep_aspect_ratio):
    options = {"color_mode": color_mode, "interpolation": interpolation, "keep_aspect_ratio": keep_aspect_ratio}
    compare(both("flow_from_directory", folder, shuffle=False, batch_size=7, target_size=(24, 17), **options))


@pytest.mark.parametrize("levels", [16, 32])
def test_deep_grey_levels_keep_their_range(tmp_path, levels):
    (tmp_path / "x").mkdir()
    digits = pictures.digits()[0][:4, ..., 0].astype(np.int64)
    for i, digit in enumerate(digits):
        deep = digit * (257 if levels == 16 else 2**20)
        if i != 1:  # one of them has 8 bits
            deep = deep.astype(np.uint16 if levels == 16 else np.int32)
        name = f"{i}.png" if levels == 16 else f"{i}.tif"
        Image.fromarray(deep.astype(np.uint8) if i == 1 else deep).save(tmp_path / "x" / name)
    ours, _ = compare(both("flow_from_directory", tmp_path, color_mode="grayscale", shuffle=False, target_size=(8, 8)))
    assert ours.source.dtype == (np.uint16 if levels == 16 else np.int32)
    assert ours[0][0].max() > 255


@pytest.mark.parametrize("subset", ["training", "validation"])
@pytest.mark.parametrize("share", [0.2, 0.34, 0.5])
def test_a_folder_is_split_class_by_class_and_a_table_by_rows(folder, table, subset, share):
    options = {"subset": subset, "shuffle": False, "target_size": (8, 8), "generator": {"validation_split": share}}
    compare(both("flow_from_directory", folder, **options))
    compare(both("flow_from_dataframe", table, folder, **options))


def test_channels_first(folder):
    options = {"shuffle": False, "target_size": (9, 12), "generator": {"data_format": "channels_first"}}
    compare(both("flow_from_directory", folder, **options))


@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8"])
def test_other_dtypes(folder, dtype):
    scaled = {"dtype": dtype, "rescale": 1 / 255 if dtype.startswith("float") else 0.7}
    flow = {"shuffle": False, "target_size": (9, 12)}
    theirs = keras_image.ImageDataGenerator(**scaled).flow_from_directory(folder, **flow)
    replayed = ImageDataGenerator(**scaled, compat="keras").flow_from_directory(folder, **flow)
    equal(replayed[0], theirs[0])
    (x, y), (keras_x, keras_y) = ImageDataGenerator(**scaled).flow_from_directory(folder, **flow)[0], theirs[0]
    assert x.dtype == keras_x.dtype
    equal(y, keras_y)
    # Keras works in float32 whatever the dtype, and cuts off fractions instead of rounding.
    assert np.abs(x.astype(float) - keras_x.astype(float)).max() <= (1 if dtype == "uint8" else 1e-3)


@pytest.mark.parametrize("follow_links", [False, True])
def test_links_to_folders(tmp_path, follow_links):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    files.write_classes(root)
    files.write_classes(elsewhere)
    (root / "dog" / "linked").symlink_to(elsewhere / "cat")
    (root / "bird").symlink_to(elsewhere / "fish")
    options = {"follow_links": follow_links, "shuffle": False, "target_size": (8, 8)}
    compare(both("flow_from_directory", root, **options), batches=1)


@pytest.mark.parametrize(
    ("class_mode", "y_col"),
    [
        ("categorical", "class"),
        ("categorical", "several"),
        ("sparse", "class"),
        ("binary", "two"),
        ("raw", "number"),
        ("raw", ["number", "count"]),
        ("multi_output", ["number", "count"]),
        ("input", "class"),
        (None, "class"),
    ],
)
@pytest.mark.parametrize("weight_col", [None, "weight"])
def test_class_modes_of_a_table(folder, table, class_mode, y_col, weight_col):
    options = {"class_mode": class_mode, "y_col": y_col, "weight_col": weight_col, "shuffle": False, "batch_size": 4}
    ours, theirs = compare(both("flow_from_dataframe", table, str(folder), target_size=(16, 12), **options))
    if class_mode in ("raw", "multi_output"):
        equal(ours.labels, theirs.labels)
    if weight_col:
        equal(ours.sample_weight, theirs.sample_weight)


@pytest.mark.parametrize("y_col", ["class", "several"])
def test_classes_of_a_table_can_be_chosen(folder, table, y_col):
    options = {"classes": ["odd", "fish", "dog"] if y_col == "several" else ["fish", "dog"], "y_col": y_col}
    ours, _ = compare(both("flow_from_dataframe", table, folder, shuffle=False, target_size=(8, 8), **options))
    assert ours.n < len(table) or y_col == "several"


def test_rows_without_a_file_are_left_out_with_keras_warning_first(folder, table):
    broken = pd.concat([table, table.assign(filename=[f"no/{name}" for name in table["filename"]])])
    pair = both("flow_from_dataframe", broken, folder, shuffle=False, target_size=(8, 8))
    compare(pair)
    (_, _, [theirs]), (_, _, [ours]) = pair
    assert ours.startswith(theirs)


def test_without_validation_the_count_is_called_non_validated(folder, table):
    pair = both("flow_from_dataframe", table, folder, validate_filenames=False, shuffle=False, target_size=(8, 8))
    compare(pair)
    assert "non-validated" in pair[1][1]


def test_absolute_names_need_no_folder(folder, table):
    absolute = table.assign(filename=[str(folder / name) for name in table["filename"]])
    compare(both("flow_from_dataframe", absolute, shuffle=False, target_size=(8, 8)))


@pytest.mark.parametrize(
    "options",
    [
        {"class_mode": "sparse", "y_col": "number"},
        {"class_mode": "binary", "y_col": "class"},
        {"class_mode": "binary", "y_col": "class", "classes": ["cat"]},
        {"class_mode": "categorical", "y_col": "number"},
        {"class_mode": "multi_output", "y_col": "number"},
        {"class_mode": "nonsense"},
        {"color_mode": "cmyk"},
        {"subset": "test"},
        {"weight_col": "class"},
        {"x_col": "number"},
    ],
)
def test_what_keras_refuses_is_refused_with_an_error_of_the_same_kind(folder, table, options):
    with pytest.raises((TypeError, ValueError)) as theirs:
        keras_image.ImageDataGenerator().flow_from_dataframe(table, folder, **options)
    with pytest.raises(theirs.type) as ours:
        ImageDataGenerator().flow_from_dataframe(table, folder, **options)
    # In the same words, but for Keras' listing of a set in random order.
    assert str(ours.value)[:30] == str(theirs.value)[:30]


@pytest.mark.parametrize("options", [{"has_ext": True}, {"sort": True}, {"drop_duplicates": False}])
def test_deprecated_keywords_warn_and_do_nothing(folder, table, options):
    pair = both("flow_from_dataframe", table, folder, shuffle=False, target_size=(8, 8), **options)
    compare(pair)
    (_, _, [theirs]), (_, _, [ours]) = pair
    assert ours.replace(" ", "") == theirs.replace(" ", "")


def test_class_mode_other_is_raw(folder, table):
    options = {"class_mode": "other", "y_col": "number", "shuffle": False, "target_size": (8, 8)}
    pair = both("flow_from_dataframe", table, folder, **options)
    compare(pair)
    assert pair[0][2] == pair[1][2]


def test_tiff_files_are_warned_of(tmp_path):
    (tmp_path / "x").mkdir()
    for i, tile in enumerate(pictures.tiles(16, 3)):
        Image.fromarray(tile).save(tmp_path / "x" / f"{i}.tiff")
    pair = both("flow_from_directory", tmp_path, shuffle=False, target_size=(16, 16))
    compare(pair)
    assert set(pair[0][2]) == set(pair[1][2])


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("method", ["flow_from_directory", "flow_from_dataframe"])
def test_compat_replays_order_and_pixels(folder, table, method, shuffle):
    args = (folder,) if method == "flow_from_directory" else (table, folder)
    options = {"rotation_range": 30, "zoom_range": 0.2, "horizontal_flip": True, "channel_shift_range": 20}
    flow = {"seed": 5, "shuffle": shuffle, "target_size": (24, 20), "batch_size": 6}
    theirs = getattr(keras_image.ImageDataGenerator(**options), method)(*args, **flow)
    ours = getattr(ImageDataGenerator(**options, compat="keras"), method)(*args, **flow)
    for _ in range(2 * len(theirs) + 1):
        (x, y), (keras_x, keras_y) = next(ours), next(theirs)
        assert np.array_equal(y, keras_y)
        assert (x != keras_x).mean() <= 0.005


def test_compat_saves_under_keras_names(folder, tmp_path):
    names = {}
    for module in (keras_image, None):
        out = tmp_path / str(module is None)
        out.mkdir()
        made = module.ImageDataGenerator() if module else ImageDataGenerator(compat="keras")
        flow = {"seed": 3, "target_size": (8, 8), "save_to_dir": str(out), "save_prefix": "p", "save_format": "bmp"}
        next(made.flow_from_directory(folder, **flow))
        names[module] = sorted(path.name for path in out.iterdir())
    assert names[None] == names[keras_image]
