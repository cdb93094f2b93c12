"""Image files as a source: what is read, what is refused, and what travels to a task."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from daskaug.errors import ConfigError, SourceError
from daskaug.sources import Decoding, ImageFiles
from daskaug.sources.image_files import TASK_SECONDS
from tests import files, pictures


@pytest.fixture
def tiles(tmp_path):
    images = pictures.tiles(16, 12)
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i:02}.png")
    return tmp_path, [f"{i:02}.png" for i in range(12)], images


def test_reads_what_was_written(tiles):
    root, names, images = tiles
    source = ImageFiles(names, root)
    assert source.shape == (12, 16, 16, 3)
    assert source.dtype == np.uint8
    assert source.locator == str(root)
    assert np.array_equal(source.read(3, 9), images[3:9])
    assert np.array_equal(source.take(np.array([7, 2, 7])), images[[7, 2, 7]])
    assert source.read(4, 4).shape == (0, 16, 16, 3)


def test_channels_first_and_greyscale(tiles):
    root, names, images = tiles
    first = ImageFiles(names, root, Decoding(data_format="channels_first"))
    assert np.array_equal(first.read(0, 12), np.moveaxis(images, 3, 1))
    grey = ImageFiles(names, root, Decoding(color_mode="grayscale", data_format="channels_first"))
    assert grey.shape == (12, 1, 16, 16)


@pytest.mark.parametrize(
    ("ending", "deepest", "dtype"),
    [
        ("png", None, "uint8"),
        ("png", np.uint16, "uint16"),
        ("tif", None, "uint8"),
        ("tif", np.uint16, "uint16"),
        ("tif", np.int32, "int32"),
        ("ppm", None, "uint8"),
        ("ppm", np.uint16, "int32"),  # Pillow reads these as 32 bits
    ],
)
def test_greyscale_is_as_wide_as_the_deepest_file(tmp_path, ending, deepest, dtype):
    digits = pictures.digits()[0][:3, ..., 0]
    for i, digit in enumerate(digits):
        Image.fromarray(digit).save(tmp_path / f"{i}.{ending}")
    expected = digits.astype(dtype)
    if deepest is not None:
        expected[2] *= 200
        Image.fromarray(expected[2].astype(deepest)).save(tmp_path / f"2.{ending}")
    source = ImageFiles([f"{i}.{ending}" for i in range(3)], tmp_path, Decoding(color_mode="grayscale"))
    assert source.dtype == dtype
    assert np.array_equal(source.read(0, 3)[..., 0], expected)


def test_deep_file_behind_the_wrong_ending_is_named_and_not_cut(tmp_path):
    deep = pictures.digits()[0][0, ..., 0].astype(np.uint16) * 200
    (tmp_path / "deep.jpg").write_bytes(files.encoded(deep, "PNG"))
    source = ImageFiles(["deep.jpg"], tmp_path, Decoding("grayscale", (8, 8)))
    with pytest.raises(SourceError, match=r"deep.jpg.*uint16.*uint8"):
        source.read(0, 1)


def test_own_size_is_that_of_most_and_others_are_refused(tiles):
    root, names, images = tiles
    Image.fromarray(images[5][:8]).save(root / names[5])
    source = ImageFiles(names, root)
    assert source.shape[1:] == (16, 16, 3)
    with pytest.raises(SourceError, match=r"05.png \(row 5\).*\(8, 16, 3\).*target_size"):
        source.read(0, 12)
    for i, name in enumerate(names):
        Image.fromarray(images[i][: i + 4]).save(root / name)
    with pytest.raises(SourceError, match=r"12 different sizes.*target_size"):
        ImageFiles(names, root)


@pytest.mark.parametrize(
    "options",
    [{"color_mode": "cmyk"}, {"interpolation": "cubic"}, {"target_size": (8,)}, {"target_size": (8, 0)}],
)
def test_options_that_are_none(options):
    with pytest.raises(ConfigError, match=str(next(iter(options.values()))).strip("(),")[:1]):
        Decoding(**options)


@pytest.mark.parametrize("name", ["bomb.png", "cut.png", "empty.png", "gone.png", "text.png", "truncated.jpg"])
def test_bad_file_is_named_with_row_and_reason(tmp_path, name):
    reasons = files.write_bad(tmp_path)
    source = ImageFiles(["a.png", name], tmp_path, Decoding(target_size=(64, 64)), row_numbers=np.array([4, 17]))
    with pytest.raises(SourceError, match=rf"{name} \(row 17\).*{reasons[name]}.*on_error"):
        source.read(0, 2)
    [bad] = source.find_bad(0, 2)
    assert (bad.row, bad.path) == (17, str(tmp_path / name))
    assert reasons[name] in bad.reason


def test_large_files_are_read_and_warned_of_once_as_pillow_does(tiles, monkeypatch):
    root, names, images = tiles
    source = ImageFiles(names, root)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # of 256; above 400 they would be refused
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert np.array_equal(source.read(0, 3), images[:3])
    assert [one.category for one in warned] == [Image.DecompressionBombWarning] * 3


MASK = np.array([[0, 1, 2, 3], [255, 1, 2, 3]], np.uint8)


def palette_png(path, pixels=MASK):
    """Indices with the colours of VOC, whose grey levels have nothing to do with them."""
    picture = Image.new("P", pixels.shape[::-1])
    picture.putdata(pixels.ravel().tolist())
    picture.putpalette([128 * (i >> bit & 1) for i in range(256) for bit in range(3)])
    picture.save(path)


def test_masks_are_read_as_the_numbers_they_are(tmp_path):
    palette_png(tmp_path / "palette.png")
    with Image.open(tmp_path / "palette.png") as picture:
        assert picture.mode == "P"
    Image.fromarray(MASK).save(tmp_path / "grey.png")
    Image.fromarray(MASK > 1).save(tmp_path / "bits.png")
    Image.fromarray(MASK.astype(np.uint16) * 250).save(tmp_path / "deep.png")

    def read(*names, size=None):
        source = ImageFiles(names, tmp_path, Decoding(target_size=size, is_mask=True, interpolation="bicubic"))
        return source.read(0, len(names))[..., 0]

    assert read("palette.png").dtype == np.uint8
    assert np.array_equal(read("palette.png", "grey.png", "bits.png"), [MASK, MASK, MASK > 1])
    assert np.array_equal(read("deep.png", "palette.png"), [MASK.astype(np.uint16) * 250, MASK])
    for name in ("palette.png", "grey.png"):
        assert np.array_equal(read(name, size=(4, 8))[0], np.kron(MASK, np.ones((2, 2), np.uint8)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "F"])
def test_masks_of_colours_or_fractions_are_refused(tmp_path, mode):
    name = "mask.tif" if mode == "F" else "mask.png"
    Image.fromarray(MASK).convert(mode).save(tmp_path / name)
    source = ImageFiles([name], tmp_path, Decoding(is_mask=True))
    with pytest.raises(SourceError, match=rf"{name} \(row 0\): .*mode '{mode}'; save it as PNG"):
        source.read(0, 1)


def test_file_without_permission(tiles, monkeypatch):
    root, names, _ = tiles
    source = ImageFiles(names, root)
    read = Path.read_bytes

    def read_bytes(path):  # the tests may run as root, who may read everything
        if path.name == "03.png":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(SourceError, match=r"03.png \(row 3\): permission denied"):
        source.read(0, 12)


def test_wrong_ending_decodes(tmp_path):
    files.write_bad(tmp_path)
    source = ImageFiles(["a.png", "wrong-ending.jpg"], tmp_path)
    first, second = source.read(0, 2)
    assert np.array_equal(first, second)


def test_replaced_files_are_black_and_only_these(tmp_path):
    files.write_bad(tmp_path)
    source = ImageFiles(["a.png", "empty.png", "z.jpg", "text.png"], tmp_path, Decoding(target_size=(64, 64)))
    replacing = source.replacing(np.array([1]))
    block = replacing.read(0, 3)
    assert not block[1].any()
    assert np.array_equal(block[0], source.read(0, 1)[0])
    with pytest.raises(SourceError, match=r"text.png"):
        replacing.read(3, 4)
    assert not replacing.only(np.array([1, 2])).read(0, 1).any()


def test_reader_carries_its_own_rows_alone(tiles):
    root, names, images = tiles
    source = ImageFiles(names * 1000, root)
    travelling = pickle.dumps(source.reader(4, 6))
    assert len(travelling) < 2000
    assert np.array_equal(pickle.loads(travelling).load(), images[4:6])
    rows = np.array([11, 3])
    assert np.array_equal(pickle.loads(pickle.dumps(source.rows_reader(rows))).load(), images[rows])
    assert len(pickle.dumps(source.as_dask(source.plan(0, 12)))) < 20_000


def test_relative_root_is_found_from_another_working_directory(tiles, monkeypatch):
    root, names, images = tiles
    monkeypatch.chdir(root.parent)
    source = ImageFiles(names, root.name)
    monkeypatch.chdir("/")
    assert np.array_equal(pickle.loads(pickle.dumps(source.reader(0, 2))).load(), images[:2])


def test_plan_follows_the_size_of_the_files(tmp_path):
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    Image.fromarray(pictures.tiles(16, 1)[0]).save(small)
    Image.new("RGB", (4000, 3000)).save(large)
    decoding = Decoding(target_size=(8, 8))
    quick, slow = (ImageFiles([str(path)] * 20_000, "", decoding) for path in (small, large))
    assert 1000 < len(quick.plan(0, 20_000)[0]) <= TASK_SECONDS / 2e-4
    assert 1 <= len(slow.plan(0, 20_000)[0]) < 20
    assert [len(block) for block in slow.plan(0, 3, target_nbytes=1)] == [1, 1, 1]


def test_no_files_at_all(tmp_path):
    source = ImageFiles([], tmp_path, Decoding(target_size=(8, 8)))
    assert source.shape == (0, 8, 8, 3)
    assert source.read(0, 0).shape == (0, 8, 8, 3)
    assert source.as_dask(source.plan(0, 0)).shape == (0, 8, 8, 3)
    with pytest.raises(SourceError, match="target_size"):
        ImageFiles([], tmp_path)
