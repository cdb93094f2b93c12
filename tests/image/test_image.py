"""What `daskaug.image` promises beyond Keras: errors, round trips, random generators, what it loads."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from daskaug import image
from daskaug.errors import ConfigError, SourceError
from tests import pictures


def cat(dtype: str = "uint8") -> np.ndarray:
    """(60, 80, 3)"""
    return pictures.photographs()[1][100:160, 100:180].astype(dtype)


def test_star_import_serves_an_old_script():
    names: dict = {}
    exec("from daskaug.image import *", names)
    assert set(image.__all__) <= set(names)
    for kind in ("NumpyArrayIterator", "DirectoryIterator", "DataFrameIterator"):
        assert issubclass(names[kind], names["Iterator"])
    flow = names["ImageDataGenerator"](rotation_range=10).flow(cat()[np.newaxis], batch_size=1, seed=1)
    assert isinstance(flow, names["NumpyArrayIterator"])
    assert next(flow).shape == (1, 60, 80, 3)


def test_it_works_without_a_framework():
    code = (
        "import sys, numpy as np, daskaug.image as d;"
        "x = np.arange(300.).reshape(10, 10, 3);"
        "d.smart_resize(x, (5, 7)); d.random_brightness(x, (0.5, 1)); d.random_rotation(x, 9, 0, 1, 2);"
        "print({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


def test_kerasjson_decides_what_none_means(tmp_path):
    (tmp_path / "keras.json").write_text('{"floatx": "float64", "image_data_format": "channels_first"}')
    code = (
        "import numpy as np, daskaug.image as d;"
        "a = d.img_to_array(d.array_to_img(np.zeros((3, 4, 5)))); b = d.apply_brightness_shift(a, 0.5);"
        "print(a.shape, a.dtype, b.shape, b.dtype)"
    )
    environment = {"KERAS_HOME": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(3, 4, 5) float64 (3, 4, 5) float64"


# --- round trips -------------------------------------------------------------------------------------------------


ENDINGS = ["png", "PNG", "bmp", "ppm", "tif", "tiff"]
WITHOUT_ALPHA = ("bmp", "ppm")  # as Pillow reads them
KINDS = [(e, channels) for e in ENDINGS for channels in (1, 3, 4) if channels < 4 or e not in WITHOUT_ALPHA]


@pytest.mark.parametrize(("ending", "channels"), KINDS)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_pixels_survive_a_file(tmp_path, ending, channels, data_format):
    x = np.concatenate([cat(), 255 - cat()], axis=2)[:, :, :channels]
    x = np.moveaxis(x, 2, 0) if data_format == "channels_first" else x
    file = tmp_path / f"picture.{ending}"
    image.save_img(file, x, data_format, scale=False)
    mode = {1: "grayscale", 3: "rgb", 4: "rgba"}[channels]
    found = image.img_to_array(image.load_img(file, mode), data_format, "uint8")
    np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_survive_a_file(tmp_path, ending):
    x = cat("float64")[:, :, :1] * 257
    image.save_img(tmp_path / f"deep.{ending}", x, scale=False)
    found = image.img_to_array(image.load_img(tmp_path / f"deep.{ending}", "grayscale"))
    np.testing.assert_array_equal(found, x)


def test_values_that_a_picture_cannot_hold_are_clipped():
    x = np.array([-20.0, 0, 254.9, 255, 300, 1e9] * 3).reshape(3, 6, 1).transpose(1, 0, 2).repeat(3, 2)
    found = np.asarray(image.array_to_img(x, scale=False))
    np.testing.assert_array_equal(found, np.clip(np.trunc(x), 0, 255))
    assert np.asarray(image.array_to_img(x.astype(np.int64), dtype="int64")).max() == 255


def test_a_picture_is_written_to_a_file_object_in_the_format_asked_for():
    buffer = io.BytesIO()
    image.save_img(buffer, cat(), file_format="JPG", quality=95)
    buffer.seek(0)
    assert Image.open(buffer).format == "JPEG"


def test_loading_leaves_no_file_open_and_takes_the_centre(tmp_path):
    Image.fromarray(cat()).save(tmp_path / "cat.png")
    picture = image.load_img(tmp_path / "cat.png", target_size=(60, 40), keep_aspect_ratio=True)
    (tmp_path / "cat.png").unlink()
    np.testing.assert_array_equal(np.asarray(picture), cat()[:, 20:60])
    square = image.smart_resize(cat(), (60, 40), "nearest")
    np.testing.assert_array_equal(square, cat()[:, 20:60])


# --- identity, rounding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", range(6))
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint16", "int64", "uint64", "float16", "float32"])
def test_parameters_that_do_nothing_return_the_image(order, dtype):
    x = (cat() // 2).astype(dtype)
    same = image.apply_affine_transform(x, row_axis=0, col_axis=1, channel_axis=2, order=order)
    assert same.dtype == x.dtype
    np.testing.assert_array_equal(same, x)
    square = x[:, :60]
    turned = image.apply_affine_transform(square, theta=180, row_axis=0, col_axis=1, channel_axis=2, order=order)
    assert turned.dtype == x.dtype
    apart = np.abs(turned.astype(float) - square[::-1, ::-1])
    assert apart.max() <= (0.1 if dtype == "float16" else 1e-4)


def test_integers_are_rounded_away_from_zero_and_saturate():
    x = np.array([[0, 1, 2, 255]], np.uint8)[:, :, np.newaxis]
    options = {"row_axis": 0, "col_axis": 1, "channel_axis": 2, "fill_mode": "constant"}
    np.testing.assert_array_equal(
        image.apply_affine_transform(x, tx=0.5, cval=999, **options)[0, :, 0], [1, 2, 129, 255]
    )
    wide = np.array([[0, 2**63 - 1]], np.int64)[:, :, np.newaxis]
    np.testing.assert_array_equal(
        image.apply_affine_transform(wide, tx=1, cval=-1e30, **options)[0, :, 0], [2**63 - 1, -(2**63)]
    )


def test_channel_shift_by_an_int_keeps_the_dtype_and_does_not_wrap():
    x = cat()
    for intensity in (20, -20, 1000, -1000, 0):
        wanted = np.clip(x.astype(int) + intensity, x.min(), x.max())
        found = image.apply_channel_shift(x, intensity, 2)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, wanted)


def test_images_of_many_channels_and_none_of_pixels():
    x = np.concatenate([cat()] * 3, axis=2)
    assert image.random_rotation(x, 20, 0, 1, 2, rng=1).shape == x.shape
    empty = np.zeros((0, 5, 3))
    assert image.apply_affine_transform(empty, 5, row_axis=0, col_axis=1, channel_axis=2).shape == (0, 5, 3)


# --- random ------------------------------------------------------------------------------------------------------

LAST = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}
RANDOM = {
    "rotation": lambda rng: image.random_rotation(cat(), 30, **LAST, rng=rng),
    "shift": lambda rng: image.random_shift(cat(), 0.2, 0.2, **LAST, rng=rng),
    "shear": lambda rng: image.random_shear(cat(), 30, **LAST, rng=rng),
    "zoom": lambda rng: image.random_zoom(cat(), (0.5, 1.5), **LAST, rng=rng),
    "channel shift": lambda rng: image.random_channel_shift(cat(), 50, 2, rng=rng),
    "brightness": lambda rng: image.random_brightness(cat(), (0.2, 1.8), rng=rng),
}
random_functions = pytest.mark.parametrize("function", RANDOM.values(), ids=RANDOM)


@random_functions
def test_the_given_generator_decides_and_no_other(function):
    np.random.seed(3)
    before = np.random.get_state()
    assert not np.array_equal(function(None), function(None))
    after = np.random.get_state()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    np.testing.assert_array_equal(function(5), function(np.random.RandomState(5)))
    philox = [np.random.Generator(np.random.Philox(7)) for _ in range(2)]
    first, second = function(philox[0]), function(philox[0])
    np.testing.assert_array_equal(function(philox[1]), first)
    assert not np.array_equal(first, second)


@random_functions
@pytest.mark.parametrize("rng", ["seed", 1.5, True, -1, 2**32])
def test_anything_else_is_no_generator(function, rng):
    with pytest.raises(ConfigError, match=r"rng|seed"):
        function(rng)


# --- lists of files ----------------------------------------------------------------------------------------------


def test_pictures_are_listed_and_recognised(tmp_path: Path):
    (tmp_path / "b" / "deeper.png").mkdir(parents=True)
    for name in ("z.jpg", "a.PNG", "notes.txt", "b/c.tiff", "b/deeper.png/d.bmp", "nodot_png"):
        (tmp_path / name).write_bytes(b"")
    found = [str(Path(path).relative_to(tmp_path)) for path in image.list_pictures(tmp_path)]
    assert found == ["a.PNG", "z.jpg", "b/c.tiff", "b/deeper.png/d.bmp"]
    assert len(image.list_pictures(str(tmp_path), ext="jpg|tiff")) == 2
    assert len(image.list_pictures(tmp_path, ext="png")) == 1
    assert image.list_pictures(tmp_path / "not there") == []
    formats = ("png", "jpg")
    assert image.validate_filename(str(tmp_path / "a.PNG"), formats)
    assert image.validate_filename(tmp_path / "z.jpg", set(formats))
    assert not image.validate_filename(str(tmp_path / "notes.txt"), formats)
    assert not image.validate_filename(str(tmp_path / "missing.png"), formats)
    assert not image.validate_filename(str(tmp_path / "b" / "deeper.png"), formats)


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("file") / "cat.png"
    Image.fromarray(cat()).save(path)
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"color_mode": "cmyk"}, "color_mode.*grayscale, rgb, rgba.*'cmyk'"),
        ({"target_size": (3, 3), "interpolation": "cubic"}, "interpolation.*'cubic'.*bicubic"),
        ({"target_size": 7}, "target_size.*7"),
        ({"target_size": (0, 7)}, r"target_size.*\(0, 7\)"),
        ({"target_size": (7,)}, "target_size"),
        ({"target_size": (1000, 1), "keep_aspect_ratio": True}, "60 × 80 pixels.*keep_aspect_ratio"),
    ],
)
def test_options_of_load_img_that_are_none(file, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        image.load_img(file, **options)
    assert isinstance(caught.value, ConfigError | SourceError)


def test_files_that_cannot_be_loaded(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        image.load_img(tmp_path / "missing.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(PIL.UnidentifiedImageError):
        image.load_img(str(tmp_path / "text.png"))
    with pytest.raises(TypeError, match=r"path-like or io\.BytesIO"):
        image.load_img(5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: image.array_to_img(np.zeros((4, 4))), r"rank 3.*\(4, 4\)"),
        (lambda: image.array_to_img(np.zeros((4, 4, 2))), r"1, 3 or 4 channels; found 2.*\(4, 4, 2\)"),
        (lambda: image.array_to_img(cat(), "channels_first"), "found 60.*data_format"),
        (lambda: image.array_to_img(np.zeros((0, 4, 3))), "needs pixels"),
        (lambda: image.array_to_img(cat(), "first"), "data_format.*'first'"),
        (lambda: image.img_to_array(np.zeros(3)), r"\(3,\)"),
        (lambda: image.img_to_array(Image.new("L", (3, 3)), "first"), "data_format.*'first'"),
        (lambda: image.save_img(io.BytesIO(), cat()), "file_format.*must be given"),
        (lambda: image.save_img("no-ending", cat()), "file_format.*must be given"),
        (lambda: image.save_img(io.BytesIO(), cat(), file_format="pgn"), "file_format.*'pgn'.*png"),
        (lambda: image.smart_resize(cat(), (3, 3, 3)), "2 integers"),
        (lambda: image.smart_resize(cat(), 3), "2 integers"),
        (lambda: image.smart_resize(cat(), (0, 3)), "1 or more"),
        (lambda: image.smart_resize(cat(), (2.5, 3)), "2 integers"),
        (lambda: image.smart_resize(cat(), (3, 3), "box"), "interpolation.*lanczos5.*'box'"),
        (lambda: image.smart_resize(cat()[:, :, 0], (3, 3)), r"\(60, 80\)"),
        (lambda: image.smart_resize(cat()[:0], (3, 3)), "without pixels"),
        (lambda: image.smart_resize(cat(), (3, 3), "nearest", "last"), "data_format.*'last'"),
        (lambda: image.apply_affine_transform(cat(), 1, row_axis=1, col_axis=1), "distinct"),
        (lambda: image.apply_affine_transform(cat(), 1, row_axis=-1), "Invalid axis"),
        (lambda: image.apply_affine_transform(cat(), 1, row_axis=0, col_axis=2, channel_axis=1), "first and last"),
        (lambda: image.apply_affine_transform(cat()[0], 1), "rank 3"),
        (lambda: image.apply_affine_transform(cat().astype(complex), 1), "complex128"),
        (lambda: image.apply_affine_transform(cat(), 1, fill_mode="edge"), "fill_mode.*nearest.*'edge'"),
        (lambda: image.apply_affine_transform(cat(), 1, order=6), "0 to 5.*6"),
        (lambda: image.random_shift(cat()[0], 0.1, 0.1), "rank 3"),
        (lambda: image.random_zoom(cat(), 0.2), "zoom_range.*two floats.*0.2"),
        (lambda: image.random_zoom(cat(), (1, 2, 3)), "zoom_range.*two floats"),
        (lambda: image.random_brightness(cat(), (1,)), "brightness_range.*two floats"),
        (lambda: image.apply_brightness_shift(cat()[:, :, :2], 1), "1, 3 or 4 channels"),
        (lambda: image.apply_brightness_shift(cat()[0], 1), "rank 3"),
        (lambda: image.apply_brightness_shift(cat()[:0], 1), "needs pixels"),
        (lambda: image.apply_channel_shift(cat(), 3.0, 5), "channel_axis.*5"),
        (lambda: image.apply_channel_shift(cat()[:0], 3.0), "needs pixels"),
    ],
)
def test_errors_say_what_was_wrong(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert isinstance(caught.value, ConfigError | SourceError)


def test_flipping_an_axis_that_is_not_there():
    with pytest.raises(ValueError, match="axis 3 is out of bounds"):
        image.flip_axis(cat(), 3)
