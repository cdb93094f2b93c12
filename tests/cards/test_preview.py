"""Previews: their pixels, their captions, and every kind of image."""

from __future__ import annotations

import io
import sys

import dask.array as da
import numpy as np
import pytest
import zarr
from PIL import Image

from daskaug import ImageDataGenerator, open_materialized
from daskaug.errors import ConfigError, DaskaugError, NotFittedError, SourceError
from daskaug.pictures.captions import caption_of
from daskaug.pictures.sheet import as_picture, levels_of
from tests import pictures

X = pictures.tiles(16, 40)
OPTIONS = {
    "rotation_range": 25,
    "width_shift_range": 0.2,
    "height_shift_range": 3,
    "zoom_range": 0.2,
    "shear_range": 5.0,
    "horizontal_flip": True,
    "vertical_flip": True,
    "channel_shift_range": 12.0,
    "brightness_range": (0.7, 1.3),
}


def picture_of(png: bytes) -> Image.Image:
    opened = Image.open(io.BytesIO(png))
    opened.load()
    return opened


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_standardised_pixels_are_those_of_flow(data_format):
    x = X if data_format == "channels_last" else np.ascontiguousarray(np.moveaxis(X, 3, 1))

    def with_noise(image, rng):
        return image + rng.normal(size=image.shape)

    datagen = ImageDataGenerator(
        **OPTIONS, featurewise_center=True, data_format=data_format, preprocessing_function=with_noise
    ).fit(x)
    preview = datagen.preview(x, 5, draws=2, seed=7, standardize=True)
    batches = datagen.flow(x, batch_size=40, shuffle=False, seed=7)
    for epoch in range(2):
        expected = next(batches)
        assert np.array_equal(preview.drawn[:, epoch], expected[preview.rows])
    assert np.array_equal(preview.originals, x[preview.rows])
    assert preview.drawn.dtype == np.float32


def test_pixels_as_they_are_are_those_of_a_store(tmp_path):
    datagen = ImageDataGenerator(**OPTIONS)
    preview = datagen.preview(X, rows=[3, 1, 39], draws=2, seed=7)
    datagen.materialize(X, tmp_path / "m.zarr", epochs=2, seed=7)
    stored = open_materialized(tmp_path / "m.zarr").images.read(0, 80).reshape(2, 40, 16, 16, 3)
    assert preview.drawn.dtype == np.uint8
    assert np.array_equal(preview.drawn, np.moveaxis(stored[:, [3, 1, 39]], 0, 1))


def test_parameters_make_the_pixels():
    datagen = ImageDataGenerator(**OPTIONS)
    preview = datagen.preview(X, 4, draws=3, seed=2)
    for i, row in enumerate(preview.rows):
        for epoch in range(3):
            again = datagen.apply_transform(X[row], preview.parameters[i][epoch])
            assert np.array_equal(np.rint(again).astype(np.uint8), preview.drawn[i, epoch])
    assert set(preview.parameters[0][0]) == set(datagen.get_random_transform((16, 16, 3), seed=1))


def test_captions_are_the_parameters_in_words():
    preview = ImageDataGenerator(**OPTIONS).preview(X, 4, draws=3, seed=2)
    for parameters, captions in zip(preview.parameters, preview.captions, strict=True):
        for drawn, caption in zip(parameters, captions, strict=True):
            said = caption.split("\n")
            assert f"rotation {drawn['theta']:.3g}°" in said
            assert f"height shift {drawn['tx']:.3g} px".replace("-0 ", "0 ") in said
            assert f"width shift {drawn['ty']:.3g} px" in said
            assert f"zoom {drawn['zx']:.3g}, {drawn['zy']:.3g}" in said
            assert f"channel shift {drawn['channel_shift_intensity']:.3g}" in said
            assert f"brightness {drawn['brightness']:.3g}" in said
            flips = {(True, False): "flipped horizontally", (False, True): "flipped vertically"}
            flip = flips.get((drawn["flip_horizontal"], drawn["flip_vertical"]))
            assert (flip in said) if flip else True
            assert ("flipped both ways" in said) == (drawn["flip_horizontal"] and drawn["flip_vertical"])


def test_only_what_is_switched_on_is_in_the_caption():
    (captions,) = ImageDataGenerator(rotation_range=20).preview(X, 1, draws=2).captions
    assert all(caption.startswith("rotation ") and "\n" not in caption for caption in captions)
    assert ImageDataGenerator(rescale=1 / 255).preview(X, 1, draws=1).captions == (("unchanged",),)
    assert caption_of({"theta": 0, "zx": 1, "zy": 1.5}, set()) == "zoom 1, 1.5"
    assert caption_of({"theta": -0.0001, "brightness": None}, {"theta", "brightness"}) == "rotation -0.0001°"
    assert caption_of({"swirl": "a\nb"}, set()) == "swirl a␊b"


def test_a_preview_is_the_same_every_time():
    datagen = ImageDataGenerator(**OPTIONS)
    first, again = datagen.preview(X, 3, draws=2), datagen.preview(X, 3, draws=2)
    assert first.png() == again.png() == first._repr_png_()
    assert first.png() != datagen.preview(X, 3, draws=2, seed=1).png()
    state = np.random.get_state()
    datagen.preview(X, 1)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), state, strict=True))


def test_every_source(tmp_path):
    for number, image in enumerate(X):
        (tmp_path / "f" / "all").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "f" / "all" / f"{number:02}.png")
    array = zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(7, 8, 16, 3))
    datagen = ImageDataGenerator(**OPTIONS)
    expected = datagen.preview(X, 3, draws=2)
    files = datagen.flow_from_directory(tmp_path / "f", target_size=(16, 16), shuffle=False)
    for x in (array, str(tmp_path / "x.zarr"), da.from_array(X, chunks=(6, 8, 16, 3)), datagen.flow(X, seed=5)):
        assert np.array_equal(datagen.preview(x, 3, draws=2).drawn, expected.drawn)
    assert np.array_equal(datagen.preview(files, 3, draws=2).originals, expected.originals)
    # The ids of files, which key their draws, are hashes of their paths.
    assert np.array_equal(datagen.preview(X, 3, draws=2, ids=files.ids).drawn, datagen.preview(files, 3, draws=2).drawn)


KINDS = {
    "grey": X[..., :1],
    "rgba": np.concatenate([X, 255 - X[..., :1]], axis=3),
    "two channels": X[..., :2],
    "shares": X / np.float32(255),
    "16 bits": X.astype(np.uint16) * 200,
    "large floats": (X.astype(np.float64) - 128) * 1e306,
    "tiny floats": X.astype(np.float32) * 1e-30,
    "bool": X > 100,
    "constant": np.full_like(X, 3, dtype=np.float32),
    "not finite": np.where(X > 200, np.nan, np.where(X > 150, np.inf, X)).astype(np.float32),
}


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image(kind, data_format):
    x = KINDS[kind] if data_format == "channels_last" else np.moveaxis(KINDS[kind], 3, 1)
    datagen = ImageDataGenerator(horizontal_flip=True, data_format=data_format)
    preview = datagen.preview(x, 2, draws=2)
    assert np.array_equal(preview.originals, x[preview.rows], equal_nan=x.dtype.kind == "f")
    sheet = picture_of(preview.png())
    assert sheet.mode == "RGB"
    assert sheet.width > 3 * 112
    assert preview.figure.axes


def test_pixels_are_shown_where_they_belong():
    preview = ImageDataGenerator(vertical_flip=True).preview(X, rows=[4], draws=3, seed=3)
    sheet = np.asarray(preview.picture)
    tile = 112
    for column, image in enumerate([preview.originals[0], *preview.drawn[0]]):
        shown = sheet[8 : 8 + tile, 84 + column * (tile + 4) :][:, :tile]
        assert np.array_equal(shown, image.repeat(7, axis=0).repeat(7, axis=1))
    assert {tuple(ax.images[0].get_array().shape) for ax in preview.figure.axes} == {(16, 16, 3)}
    assert np.array_equal(preview.figure.axes[2].images[0].get_array(), preview.drawn[0, 1])


def test_standardised_pixels_are_scaled_and_it_is_said():
    datagen = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True).fit(X)
    preview = datagen.preview(X, 2, draws=1, standardize=True)
    low, high = preview.drawn.min(), preview.drawn.max()
    for band, row in zip(preview.bands, preview.rows, strict=True):
        assert band.title == f"row {row}\nscaled from\n{low:.3g}\nto {high:.3g}"
    assert np.array_equal(np.asarray(preview.bands[0].pictures()[0]), X[0])
    assert "scaled" not in datagen.preview(X, 2, draws=1).bands[0].title
    assert preview.figure.axes[0].get_ylabel().startswith("row 0\nscaled from")
    wide = X.astype(np.uint16) * 200
    (band,) = ImageDataGenerator(brightness_range=(0.5, 0.5)).preview(wide, rows=[2], draws=1).bands
    assert band.title == f"row 2\nscaled from\n{wide[2].min() // 2:.3g}\nto {wide[2].max():.3g}"
    bright, dark = (np.asarray(picture, np.float64) for picture in band.pictures())
    assert abs(bright.mean() - 2 * dark.mean()) < 3 + bright.min()


def test_masks_move_with_their_images():
    masks = (X[..., :1] > 100).astype(np.uint8) * 3
    datagen = ImageDataGenerator(**OPTIONS)
    preview = datagen.preview(X, 3, draws=2, seed=4, masks=masks)
    batches = datagen.flow(X, batch_size=40, shuffle=False, seed=4, masks=masks)
    for epoch in range(2):
        assert np.array_equal(preview.masks[:, 1 + epoch], next(batches)[1][preview.rows])
    assert np.array_equal(preview.masks[:, 0], masks[preview.rows])
    titles = [band.title for band in preview.bands]
    assert titles[1::2] == ["mask, from\n0\nto 3"] * 3
    iterator = datagen.flow(X, seed=4, masks=masks)
    assert np.array_equal(datagen.preview(iterator, 3, draws=2, seed=4).masks, preview.masks)


def test_overridden_methods_are_honoured():
    class Drawn(ImageDataGenerator):
        def get_random_transform(self, img_shape, seed=None):
            return super().get_random_transform(img_shape, seed) | {"tx": 2.0, "mine": "<b>"}

    class Moved(ImageDataGenerator):
        def apply_transform(self, x, transform_parameters):
            return x[::-1]

    with pytest.warns(UserWarning, match="overrides"):
        preview = Drawn().preview(X, 2, draws=1)
    assert preview.captions[0][0] == "height shift 2 px\nmine <b>"
    assert np.array_equal(preview.drawn[0, 0][:, :-2], X[0][:, 2:])  # sideways, as in Keras
    with pytest.warns(UserWarning, match="overrides"):
        preview = Moved().preview(X, 2, draws=1)
    assert preview.captions[0] == ("not told",)
    assert np.array_equal(preview.drawn[:, 0], X[preview.rows][:, ::-1])
    with pytest.warns(UserWarning, match="overrides"), pytest.raises(ConfigError, match="mask"):
        Moved().preview(X, 2, draws=1, masks=X[..., :1])


def test_like_keras_it_says_that_flow_draws_otherwise():
    preview = ImageDataGenerator(rotation_range=20, compat="keras").preview(X, 2, draws=1)
    assert "order" in preview.note
    assert preview.png()


def test_files_and_text(tmp_path):
    preview = ImageDataGenerator(rotation_range=20).preview(X, 2, draws=1)
    preview.save(tmp_path / "sheet.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "sheet.png")), np.asarray(preview.picture))
    preview.figure.savefig(tmp_path / "sheet.pdf")
    assert (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF")
    assert repr(preview) == "<Preview: 2 images × 1 draws, 16×16×3 uint8, seed 0>"
    assert preview.figure._repr_png_().startswith(b"\x89PNG")


def test_without_matplotlib(monkeypatch):
    from daskaug.pictures import figures

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    figures._figure_class.cache_clear()
    preview = ImageDataGenerator(rotation_range=20).preview(X, 2, draws=1)
    assert picture_of(preview.png()).width > 200
    with pytest.raises(DaskaugError, match=r"pip install 'daskaug\[jupyter\]'"):
        _ = preview.figure
    with pytest.raises(DaskaugError, match=r"pip install 'daskaug\[jupyter\]'"):
        ImageDataGenerator(featurewise_center=True).fit(X).statistics.plot()
    figures._figure_class.cache_clear()


def test_what_cannot_be_shown():
    datagen = ImageDataGenerator(featurewise_center=True)
    for arguments in (
        {"n": 0},
        {"n": 2.5},
        {"draws": 0},
        {"draws": True},
        {"rows": [40]},
        {"rows": [-1]},
        {"rows": []},
    ):
        with pytest.raises(ConfigError, match=next(iter(arguments))):
            datagen.preview(X, **arguments)
    with pytest.raises(SourceError, match="no images"):
        datagen.preview(X[:0])
    with pytest.raises(NotFittedError):
        datagen.preview(X, standardize=True)
    assert len(datagen.preview(X[:2], 8).rows) == 2


def test_levels():
    assert levels_of([X]) == (0, 255)
    assert levels_of([np.array([[[0.0], [1.0]]])]) == (0, 1)
    assert levels_of([np.array([[[-3.0], [np.nan], [5.0]]])]) == (-3, 5)
    assert levels_of([np.full((1, 2, 1), np.inf)]) == (0, 1)
    assert levels_of([np.array([[[0], [1]]])]) == (0, 255)
    # Shares that were made brighter are not nearly black.
    assert levels_of([np.array([[[0.0], [1.3]]])]) == (0, 1.3)
    assert levels_of([np.array([[[0.0], [130.0]]])]) == (0, 255)


def test_what_is_transparent_is_shown_so():
    clear = np.zeros((24, 24, 4), np.uint8)
    opaque = clear.copy()
    opaque[..., 3] = 255
    assert np.asarray(as_picture(opaque, (0, 255))).max() == 0
    shown = np.asarray(as_picture(clear, (0, 255)))
    assert sorted(set(shown.ravel().tolist())) == [195, 235]
