"""`daskaug.image` beside Keras' own functions, on real images and random parameters."""

from __future__ import annotations

import inspect
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from daskaug import image as ours
from tests import pictures

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "lanczos", "hamming")
RESIZING = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")
DTYPES = ("uint8", "uint16", "int8", "int16", "int32", "float32", "float64")


@pytest.fixture(scope="module")
def utils():
    from keras.preprocessing import image

    return image


@pytest.fixture(scope="module")
def legacy():
    from keras.src.legacy.preprocessing import image

    return image


def logo() -> np.ndarray:
    """(500, 500, 4) uint8 with transparent parts."""
    from skimage import data

    return data.logo()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pictures of every mode that Keras distinguishes."""
    path = tmp_path_factory.mktemp("pictures")
    cat = pictures.photographs()[1][100:220, 60:240]
    grey = cat.mean(axis=2)
    Image.fromarray(cat).save(path / "rgb.png")
    Image.fromarray(cat).save(path / "photo.JPG", quality=90)
    Image.fromarray(cat).save(path / "rgb.bmp")
    Image.fromarray(cat).save(path / "rgb.ppm")
    Image.fromarray(cat).quantize(32).save(path / "palette.png")
    Image.fromarray(cat).convert("CMYK").save(path / "cmyk.tif")
    Image.fromarray(cat).convert("LA").save(path / "grey-alpha.png")
    Image.fromarray(grey > 128).save(path / "bits.png")
    Image.fromarray(grey.astype(np.uint8)).save(path / "grey8.png")
    Image.fromarray((grey * 257).astype(np.uint16)).save(path / "grey16.png")
    Image.fromarray((grey * 70_000).astype(np.int32)).save(path / "grey32.tif")
    Image.fromarray(grey.astype(np.float32)).save(path / "float.tif")
    Image.fromarray(logo()[60:200, 40:230]).save(path / "logo.png")
    Image.fromarray(pictures.digits()[0][0, :, :, 0] * 16).save(path / "digit.png")
    return path


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


def assert_same_picture(found: Image.Image, wanted: Image.Image) -> None:
    assert (found.mode, found.size) == (wanted.mode, wanted.size)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))


def crop(number: int, dtype: str = "uint8") -> np.ndarray:
    """A piece of a photograph, seldom square, (h, w, c), as large as its dtype lets values be without danger."""
    state = np.random.RandomState(number)
    photograph = pictures.photographs()[state.randint(4)]
    h, w = state.randint(5, 40, 2)
    y, x = state.randint(photograph.shape[0] - h), state.randint(photograph.shape[1] - w)
    piece = photograph[y : y + h, x : x + w, : state.choice([1, 3])].astype(np.float64)
    if dtype == "uint16":
        piece *= 257
    if np.dtype(dtype).kind == "i":
        piece = piece // 2 - 60
    return piece.astype(dtype)


# --- files -------------------------------------------------------------------------------------------------------


def test_signatures_are_those_of_keras(utils, legacy):
    for name in ours.__all__:
        theirs = getattr(utils, name, None) or getattr(legacy, name, None)
        if not inspect.isfunction(theirs) or name == "smart_resize":
            continue
        wanted = [(p.name, p.default) for p in inspect.signature(theirs).parameters.values()]
        found = [(p.name, p.default) for p in inspect.signature(getattr(ours, name)).parameters.values()]
        assert [pair for pair in found if pair[0] != "rng"] == wanted, name


def test_the_list_is_that_of_keras(utils, legacy):
    public = {name for name in vars(utils) if not name.startswith("_") and callable(getattr(utils, name))}
    documented = {name for name in vars(legacy) if name.startswith(("random_", "apply_")) or name.endswith("Iterator")}
    assert public | documented <= set(ours.__all__)


def test_every_file_loads_bit_for_bit_in_every_colour_mode(utils, folder):
    files = sorted(folder.iterdir())
    assert len(files) == 14
    for file in files:
        for mode in ("rgb", "rgba", "grayscale"):
            wanted = utils.load_img(file, mode)
            for path in (file, str(file), bytes(file), io.BytesIO(file.read_bytes())):
                assert_same_picture(ours.load_img(path, mode), wanted)


def test_files_are_resized_bit_for_bit(utils, folder):
    state = np.random.RandomState(0)
    for file in sorted(folder.iterdir()):
        for mode in ("rgb", "rgba", "grayscale"):
            for interpolation in INTERPOLATIONS:
                size = tuple(int(n) for n in state.randint(3, 200, 2))
                options = (mode, size, interpolation, bool(state.randint(2)))
                assert_same_picture(ours.load_img(file, *options), utils.load_img(file, *options))


def test_pictures_become_the_same_arrays(utils, folder):
    for file in folder.iterdir():
        with Image.open(file) as picture:
            for data_format in (None, "channels_last", "channels_first", "Channels_First"):
                for dtype in (None, "float64", "int32"):
                    wanted = utils.img_to_array(picture, data_format, dtype)
                    assert_same(ours.img_to_array(picture, data_format, dtype), wanted)


def test_arrays_become_the_same_pictures(utils):
    for number in range(60):
        x = crop(number, ("uint8", "float32", "float64", "int16", "uint16")[number % 5])
        scale = bool(number % 2) or x.dtype in (np.int16, np.uint16)  # what does not fit wraps around in Keras
        first = np.ascontiguousarray(np.moveaxis(x, 2, 0))
        assert_same_picture(ours.array_to_img(x, scale=scale), utils.array_to_img(x, scale=scale))
        given = (first, "channels_first", scale, "float64")
        assert_same_picture(ours.array_to_img(*given), utils.array_to_img(*given))
    assert_same_picture(ours.array_to_img(logo()), utils.array_to_img(logo()))
    flat = np.full((3, 4, 3), 7.0)
    assert_same_picture(ours.array_to_img(flat), utils.array_to_img(flat))
    deep = crop(3, "uint16")[:, :, :1]
    assert ours.array_to_img(deep, scale=False).mode == "I"
    assert_same_picture(ours.array_to_img(deep, scale=False), utils.array_to_img(deep, scale=False))


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.JPEG", "x.bmp", "x.ppm", "x.tiff"])
def test_files_are_written_byte_for_byte(utils, tmp_path, name):
    (tmp_path / "ours").mkdir()
    for scale in (True, False):
        x = pictures.photographs()[0][:40, :50]
        ours.save_img(tmp_path / "ours" / name, x, scale=scale)
        utils.save_img(tmp_path / name, x, scale=scale)
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / name).read_bytes()
        mine, theirs = io.BytesIO(), io.BytesIO()
        ending = name[2:].lower()
        ours.save_img(mine, np.moveaxis(x, 2, 0), "channels_first", ending, scale)
        utils.save_img(theirs, np.moveaxis(x, 2, 0), "channels_first", ending, scale)
        assert mine.getvalue() == theirs.getvalue()


def test_alpha_is_dropped_for_jpeg_with_keras_warning(utils, tmp_path):
    with pytest.warns(UserWarning, match="does not support RGBA images, converting to RGB") as mine:
        ours.save_img(tmp_path / "ours.jpg", logo(), quality=80)
    with pytest.warns(UserWarning, match="RGBA") as theirs:
        utils.save_img(tmp_path / "theirs.jpg", logo(), quality=80)
    assert str(mine[0].message) == str(theirs[0].message)
    assert (tmp_path / "ours.jpg").read_bytes() == (tmp_path / "theirs.jpg").read_bytes()


# --- smart_resize ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", RESIZING)
def test_smart_resize_agrees_with_keras_on_jax(utils, interpolation):
    state = np.random.RandomState(1)
    tolerance = 0 if interpolation == "nearest" else 5e-3
    for number in range(8):
        x = pictures.photographs()[number % 4][: state.randint(2, 400), : state.randint(2, 500)]
        if number % 2:
            x = np.stack([x, x[::-1]])
        data_format = ("channels_last", "channels_first")[number // 2 % 2]
        if data_format == "channels_first":
            x = np.ascontiguousarray(np.moveaxis(x, -1, -3))
        size = tuple(int(n) for n in state.randint(1, 600, 2))
        wanted = utils.smart_resize(x, size, interpolation, data_format)
        found = ours.smart_resize(x, size, interpolation, data_format)
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        assert np.abs(found.astype(np.float64) - wanted).max() <= tolerance


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_smart_resize_returns_keras_dtypes(utils, interpolation):
    for dtype in ("bool", "uint8", "int16", "int64", "uint64", "float16", "float32", "float64"):
        x = (pictures.photographs()[1][:30, :20] > 100).astype(dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # JAX's, for 64 bits
            wanted = utils.smart_resize(x, (17, 23), interpolation)
        found = ours.smart_resize(x, (17, 23), interpolation)
        assert found.dtype == wanted.dtype
        assert np.abs(found.astype(np.float64) - wanted).max() <= (1e-3 if dtype == "float16" else 1e-4)


# --- affine ------------------------------------------------------------------------------------------------------


def random_warp(number: int) -> dict:
    state = np.random.RandomState(number)

    def sometimes(value, otherwise=0):
        return value if state.randint(2) else otherwise

    return {
        "theta": sometimes(state.uniform(-180, 180)),
        "tx": sometimes(state.uniform(-6, 6)),
        "ty": sometimes(state.uniform(-6, 6)),
        "shear": sometimes(state.uniform(-40, 40)),
        "zx": sometimes(state.uniform(0.5, 1.5), 1),
        "zy": sometimes(state.uniform(0.5, 1.5), 1),
        "fill_mode": state.choice(["nearest", "constant", "reflect", "wrap"]),
        "cval": state.choice([0.0, 12.5, -3.0]),
    }


def axes_of(number: int) -> dict:
    """Every order of axes that Keras allows."""
    rows, columns, channels = [(0, 1, 2), (1, 2, 0), (1, 0, 2), (2, 1, 0)][number % 4]
    return {"row_axis": rows, "col_axis": columns, "channel_axis": channels}


@pytest.mark.parametrize("order", range(6))
def test_affine_transform_agrees_with_keras(legacy, order):
    for number in range(140):
        dtype = DTYPES[number % len(DTYPES)]
        axes = axes_of(number)
        x = np.ascontiguousarray(np.moveaxis(crop(number, dtype), 2, axes["channel_axis"]))
        before = x.copy()
        options = random_warp(number) | axes | {"order": order}
        wanted = legacy.apply_affine_transform(x, **options)
        found = ours.apply_affine_transform(x, **options)
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_array_equal(x, before)
        apart = np.abs(found.astype(np.float64) - wanted)
        if dtype in ("float32", "float64"):
            assert apart.max() <= 1e-3, options
        else:
            # A level of difference where a spline's value is a half up to the last bit; larger where the signed and
            # short integers overflow, which SciPy leaves to the compiler.
            assert (apart > 0).mean() <= 0.005, options


@pytest.mark.parametrize("fill_mode", ["mirror", "grid-mirror", "grid-constant", "grid-wrap"])
def test_scipys_other_fill_modes_work_too(legacy, fill_mode):
    for order in range(6):
        x = crop(order, "float32")
        options = {"theta": 20, "tx": 3.5, "fill_mode": fill_mode, "order": order} | axes_of(0)
        wanted = legacy.apply_affine_transform(x, **options)
        np.testing.assert_allclose(ours.apply_affine_transform(x, **options), wanted, atol=1e-3)


def test_offset_of_the_centre_is_keras_bit_for_bit(legacy):
    state = np.random.RandomState(2)
    for _ in range(50):
        matrix, (x, y) = state.uniform(-2, 2, (3, 3)), state.randint(1, 300, 2)
        wanted = legacy.transform_matrix_offset_center(matrix, x, y)
        assert_same(ours.transform_matrix_offset_center(matrix, x, y), wanted)


# --- colours and flips -------------------------------------------------------------------------------------------


def test_channel_shift_is_keras_bit_for_bit(legacy):
    for number in range(70):
        axis = (0, 2)[number % 2]
        x = np.moveaxis(crop(number, DTYPES[number % 7]), 2, axis)
        for intensity in (-30.5, 0.0, 17.25, np.float64(300)):
            wanted = legacy.apply_channel_shift(x, intensity, axis)
            assert_same(ours.apply_channel_shift(x, intensity, axis), wanted)


def test_brightness_is_keras_bit_for_bit(legacy):
    for number in range(90):
        x = crop(number, ("uint8", "float32", "float64", "uint16", "int32", "int8")[number % 6])
        if number % 4 == 1:
            x = (x / 255).astype(np.float32)
        if number % 4 == 2:
            x = x.astype(np.float32) - 100
        for factor in (0, 0.4, 1, 1.7):
            for scale in (True, False):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)  # int8: high - low overflows in Keras
                    wanted = legacy.apply_brightness_shift(x, factor, scale)
                found = ours.apply_brightness_shift(x, factor, scale)
                if x.dtype == np.int8 and not scale:
                    assert found.min() >= x.min() - 1
                    continue
                assert_same(found, wanted)
    assert_same(ours.apply_brightness_shift(logo(), 0.5), legacy.apply_brightness_shift(logo(), 0.5))


def test_flip_is_keras_view(legacy):
    x = crop(0)
    for axis in (0, 1, 2, -1):
        assert_same(ours.flip_axis(x, axis), legacy.flip_axis(x, axis))
        assert np.shares_memory(ours.flip_axis(x, axis), x)


# --- random ------------------------------------------------------------------------------------------------------

RANDOM = [
    ("random_rotation", (25,)),
    ("random_shift", (0.2, 0.3)),
    ("random_shear", (20.0,)),
    ("random_zoom", ((0.7, 1.4),)),
    ("random_zoom", ((1, 1),)),
    ("random_channel_shift", (40.0,)),
    ("random_brightness", ((0.4, 1.6),)),
]


@pytest.mark.parametrize(("name", "arguments"), RANDOM)
def test_random_functions_give_keras_result_for_the_same_seed(legacy, name, arguments):
    for number in range(12):
        x = crop(number, "float32")
        options = {} if name in ("random_channel_shift", "random_brightness") else axes_of(0)
        state = np.random.RandomState(number)
        np.random.seed(number)
        for _ in range(2):
            wanted = getattr(legacy, name)(x, *arguments, **options)
            found = getattr(ours, name)(x, *arguments, **options, rng=state)
            assert found.dtype == wanted.dtype
            np.testing.assert_allclose(found, wanted, atol=1e-3)
        again = getattr(ours, name)(x, *arguments, **options, rng=number)
        np.random.seed(number)
        np.testing.assert_allclose(again, getattr(legacy, name)(x, *arguments, **options), atol=1e-3)
