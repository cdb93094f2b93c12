"""What Keras' page says of the arguments of ``flow_from_directory`` and ``flow_from_dataframe``.

``docs/arguments.md`` links here. Most tests take both, as the page describes most of their arguments in the same words.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from daskaug import ImageDataGenerator
from daskaug.errors import ConfigError
from tests import pictures

SIZE = (20, 30)
DIGITS, LABELS = pictures.digits()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """12 digits, 28 pixels high and 16 wide, in folders one, three and two."""
    root = tmp_path_factory.mktemp("files") / "digits"
    for number, name in enumerate(("one", "two", "three"), start=1):
        (root / name).mkdir(parents=True)
        for i, image in enumerate(DIGITS[number == LABELS][:4]):
            Image.fromarray(image[..., 0]).resize((16, 28)).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def table(folder):
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    kinds = [name.split("/")[0] for name in names]
    n = len(names)
    return pd.DataFrame(
        {
            "filename": names,
            "class": kinds,
            "several": [[kind, "digit"] for kind in kinds],
            "number": np.arange(n) / n,
            "other": np.arange(n) ** 2,
            "weight": np.linspace(1, 2, n),
        }
    )


@pytest.fixture(params=["directory", "dataframe"])
def flow(request, folder, table):
    """A function that makes an iterator from the folder, in either way."""

    def make(generator=None, **options):
        made = generator or ImageDataGenerator()
        options = {"target_size": SIZE, "shuffle": False} | options
        if request.param == "directory":
            return made.flow_from_directory(str(folder), **options)
        return made.flow_from_dataframe(table, str(folder), **options)

    return make


def test_directory(folder):
    """One subfolder for each class; PNG, JPG, BMP, PPM and TIF in the whole tree of each."""
    batches = ImageDataGenerator().flow_from_directory(str(folder))
    assert batches.n == batches.samples == 12
    assert batches.class_indices == {"one": 0, "three": 1, "two": 2}
    assert batches.filenames[:2] == ["one/0.png", "one/1.png"]


def test_formats_and_nested_folders(tmp_path):
    for i, ending in enumerate(("png", "jpg", "bmp", "ppm", "tif", "PNG")):
        inner = tmp_path / "all" / ("deep/deeper" if i % 2 else "")
        inner.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DIGITS[0][..., 0]).save(inner / f"{i}.{ending}")
    (tmp_path / "all" / "readme.txt").write_text("no image")
    assert len(next(ImageDataGenerator().flow_from_directory(str(tmp_path), target_size=(8, 8)))[0]) == 6


def test_target_size(flow, folder):
    assert next(flow())[0].shape == (12, *SIZE, 3)
    assert flow().image_shape == (*SIZE, 3)
    assert next(ImageDataGenerator().flow_from_directory(str(folder), batch_size=1))[0].shape == (1, 256, 256, 3)


@pytest.mark.parametrize(("color_mode", "channels"), [("grayscale", 1), ("rgb", 3), ("rgba", 4)])
def test_color_mode(flow, color_mode, channels):
    assert next(flow(color_mode=color_mode))[0].shape == (12, *SIZE, channels)
    with pytest.raises(ConfigError, match="sepia"):
        flow(color_mode="sepia")


def test_classes(flow):
    chosen = flow(classes=["two", "one"])
    assert chosen.class_indices == {"two": 0, "one": 1}
    assert chosen.n == 8
    assert flow().class_indices == {"one": 0, "three": 1, "two": 2}  # alphanumeric


def test_class_mode_categorical(flow):
    for batches in (flow(), flow(class_mode="categorical")):
        assert np.array_equal(next(batches)[1], np.eye(3)[np.repeat([0, 1, 2], 4)])


@pytest.mark.parametrize("class_mode", ["binary", "sparse"])
def test_class_mode_binary_and_sparse(flow, class_mode):
    labels = next(flow(class_mode=class_mode, classes=["two", "one"]))[1]
    assert labels.ndim == 1
    assert sorted(labels.tolist()) == [0] * 4 + [1] * 4


def test_class_mode_input(flow):
    images, labels = next(flow(class_mode="input"))
    assert np.array_equal(images, labels)


def test_class_mode_none(flow):
    assert next(flow(class_mode=None)).shape == (12, *SIZE, 3)


def test_class_mode_unknown(flow):
    with pytest.raises(ConfigError, match="class_mode"):
        flow(class_mode="triple")


def test_batch_size(flow):
    assert len(flow(batch_size=5)) == 3
    assert [len(x) for x, _ in flow(batch_size=5).one_epoch()] == [5, 5, 2]
    assert flow().batch_size == 32


def test_shuffle(flow):
    plain, shuffled = (next(flow(shuffle=shuffle, seed=1, class_mode="sparse"))[1] for shuffle in (False, True))
    assert plain.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert shuffled.tolist() != plain.tolist()
    assert sorted(shuffled.tolist()) == plain.tolist()


def test_seed(flow):
    def batch(seed):
        return next(flow(ImageDataGenerator(rotation_range=40), seed=seed, shuffle=True))[0]

    assert np.array_equal(batch(1), batch(1))
    assert not np.array_equal(batch(1), batch(2))


@pytest.mark.parametrize("save_format", ["png", "jpeg"])
def test_save(flow, tmp_path, save_format):
    next(flow(batch_size=3, save_to_dir=str(tmp_path), save_prefix="seen", save_format=save_format))
    names = sorted(file.name for file in tmp_path.iterdir())
    assert [name.split("_")[:2] for name in names] == [["seen", str(i)] for i in range(3)]
    assert all(name.endswith(f".{save_format}") for name in names)


def test_follow_links(folder, tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "linked").symlink_to(folder / "one")
    assert ImageDataGenerator().flow_from_directory(str(tmp_path), follow_links=True).n == 4
    with pytest.warns(UserWarning, match="no image"):
        assert ImageDataGenerator().flow_from_directory(str(tmp_path)).n == 0


def test_subset(flow):
    made = ImageDataGenerator(validation_split=0.25)
    validation, training = flow(made, subset="validation"), flow(made, subset="training")
    assert (validation.n, training.n) == (3, 9)
    assert sorted(validation.filenames + training.filenames) == sorted(flow().filenames)
    with pytest.raises(ConfigError, match="subset"):
        flow(made, subset="test")


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
def test_interpolation(flow, folder, interpolation):
    batch = next(flow(interpolation=interpolation, color_mode="grayscale"))[0]
    with Image.open(folder / "one" / "0.png") as picture:
        expected = np.asarray(picture.resize(SIZE[::-1], getattr(Image.Resampling, interpolation.upper())))
    assert np.array_equal(batch[0, ..., 0], expected)


def test_interpolation_by_default_and_unknown(flow):
    assert np.array_equal(next(flow())[0], next(flow(interpolation="nearest"))[0])
    with pytest.raises(ConfigError, match="interpolation"):
        flow(interpolation="guess")


def test_keep_aspect_ratio(flow, folder):
    """The centre with the proportions of the target, resized; nothing is stretched."""
    batch = next(flow(keep_aspect_ratio=True, target_size=(8, 8), color_mode="grayscale"))[0]
    with Image.open(folder / "one" / "0.png") as picture:
        expected = np.asarray(picture.resize((8, 8), Image.Resampling.NEAREST, box=(0, 6, 16, 22)))
    assert np.array_equal(batch[0, ..., 0], expected)


# --- dataframes alone --------------------------------------------------------------------------------------------


def frame(table, folder=None, **options):
    options = {"target_size": SIZE, "shuffle": False} | options
    return ImageDataGenerator().flow_from_dataframe(table, folder, **options)


def test_dataframe_and_directory(table, folder):
    """Names relative to the directory; without it they are absolute."""
    relative = frame(table, str(folder))
    absolute = frame(table.assign(filename=[str(folder / name) for name in table["filename"]]))
    assert np.array_equal(next(relative)[0], next(absolute)[0])
    assert relative.filenames == table["filename"].tolist()


def test_x_col_and_y_col(table, folder):
    renamed = table.rename(columns={"filename": "file", "class": "kind"})
    batches = frame(renamed, str(folder), x_col="file", y_col="kind")
    assert np.array_equal(next(batches)[1], next(frame(table, str(folder)))[1])


def test_weight_col(table, folder):
    _, _, weights = next(frame(table, str(folder), weight_col="weight"))
    assert np.array_equal(weights, table["weight"])


def test_class_mode_of_several_labels(table, folder):
    labels = next(frame(table, str(folder), y_col="several"))[1]
    assert labels.shape == (12, 4)
    assert labels.sum(axis=1).tolist() == [2] * 12


def test_class_mode_raw(table, folder):
    assert np.array_equal(next(frame(table, str(folder), y_col="number", class_mode="raw"))[1], table["number"])
    both = next(frame(table, str(folder), y_col=["number", "other"], class_mode="raw"))[1]
    assert np.array_equal(both, table[["number", "other"]])


def test_class_mode_multi_output(table, folder):
    outputs = next(frame(table, str(folder), y_col=["number", "other"], class_mode="multi_output"))[1]
    assert [np.array_equal(o, table[c]) for o, c in zip(outputs, ("number", "other"), strict=True)] == [True, True]
    with pytest.raises(TypeError, match="list"):
        frame(table, str(folder), y_col="number", class_mode="multi_output")


def test_validate_filenames(table, folder):
    wrong = table.assign(filename=["gone.png", *table["filename"][1:]])
    with pytest.warns(UserWarning, match="1 invalid image filename"):
        assert frame(wrong, str(folder)).n == 11
    assert frame(wrong, str(folder), validate_filenames=False).n == 12


@pytest.mark.parametrize("keyword", ["has_ext", "sort", "drop_duplicates"])
def test_deprecated_keywords(table, folder, keyword):
    with pytest.warns(DeprecationWarning, match=f"{keyword} is deprecated"):
        batches = frame(table, str(folder), **{keyword: True})
    assert batches.filenames == table["filename"].tolist()


def test_class_mode_other(table, folder):
    with pytest.warns(DeprecationWarning, match="raw"):
        batches = frame(table, str(folder), y_col="number", class_mode="other")
    assert np.array_equal(next(batches)[1], table["number"])
