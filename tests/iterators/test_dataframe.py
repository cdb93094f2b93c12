"""Batches from a dataframe: identity of samples, and what is said about rows that are left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from daskaug import ImageDataGenerator, open_materialized
from daskaug.errors import ColumnTypeError, ConfigError, SourceError
from daskaug.iterators import DataFrameIterator
from tests import files, pictures

GREY = {"color_mode": "grayscale", "target_size": (8, 8)}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Folder, table and images: rows in the order of the digits, with labels as text."""
    root = tmp_path_factory.mktemp("digits")
    images, labels = (part[:40] for part in pictures.digits())
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(root / f"{i:02}.png")
    names = [f"{i:02}.png" for i in range(40)]
    kinds = ["even" if label % 2 == 0 else "odd" for label in labels]
    return root, pd.DataFrame({"filename": names, "class": kinds, "digit": labels, "weight": labels / 4}), images


def test_sample_id_is_the_row_before_any_is_left_out(digits):
    root, table, images = digits
    datagen = ImageDataGenerator(rotation_range=40, validation_split=0.25)
    whole = datagen.augment(images, seed=6, standardize=True).compute()
    broken = table.copy()
    broken.loc[3, "filename"] = "gone.png"
    with pytest.warns(UserWarning, match="Found 1 invalid"):
        iterator = datagen.flow_from_dataframe(
            broken, root, **GREY, classes=["odd"], subset="training", seed=6, shuffle=False, batch_size=40
        )
    kept = [row for row in range(40) if table["class"][row] == "odd" and row != 3]
    kept = kept[int(0.25 * len(kept)) :]
    assert iterator.ids.tolist() == kept
    assert np.array_equal(iterator[0][0], whole[kept])


def test_the_dataframe_is_not_changed(digits):
    root, table, _ = digits
    before = table.copy()
    ImageDataGenerator().flow_from_dataframe(table, root, **GREY, classes=["odd"])
    pd.testing.assert_frame_equal(table, before)


def test_fit_materialize_and_weights(digits, tmp_path):
    root, table, images = digits
    datagen = ImageDataGenerator(featurewise_center=True)
    iterator = datagen.flow_from_dataframe(
        table, root, **GREY, class_mode="raw", y_col="digit", weight_col="weight", seed=1, batch_size=9
    )
    assert datagen.fit(iterator).mean.item() == images.mean(dtype=np.float64)
    datagen.materialize(iterator, tmp_path / "store.zarr")
    store = open_materialized(tmp_path / "store.zarr")
    assert np.array_equal(store.images.read(0, 40), images)
    assert np.array_equal(store.labels, table["digit"])
    assert np.array_equal(store.sample_weight, table["weight"])
    _, y, weight = next(datagen.flow_from_dataframe(table, root, **GREY, y_col="class", weight_col="weight", seed=1))
    assert y.shape == (32, 2)
    assert weight.shape == (32,)


def test_several_labels_are_stored_as_zeros_and_ones(digits, tmp_path):
    root, table, _ = digits
    several = table.assign(labels=[[kind, "small"] if digit < 5 else kind for kind, digit in zip(
        table["class"], table["digit"], strict=True)])  # fmt: skip
    iterator = ImageDataGenerator().flow_from_dataframe(several, root, **GREY, y_col="labels", shuffle=False)
    assert iterator.class_indices == {"even": 0, "odd": 1, "small": 2}
    assert iterator.labels[0] == [0, 2]
    ImageDataGenerator().materialize(iterator, tmp_path / "store.zarr")
    expected = np.stack([table["digit"] % 2 == 0, table["digit"] % 2 == 1, table["digit"] < 5], axis=1)
    assert np.array_equal(open_materialized(tmp_path / "store.zarr").labels, expected)


def test_several_outputs_cannot_be_stored_and_the_message_says_what_can(digits, tmp_path):
    root, table, _ = digits
    iterator = ImageDataGenerator().flow_from_dataframe(
        table, root, **GREY, class_mode="multi_output", y_col=["digit", "weight"]
    )
    with pytest.raises(SourceError, match=r"multi_output.*y="):
        ImageDataGenerator().materialize(iterator, tmp_path / "store.zarr")
    report = ImageDataGenerator().materialize(iterator, tmp_path / "store.zarr", y=table["digit"])
    assert report.rows == 40


def test_fewer_files_than_rows_says_how_many_why_and_which(digits, capsys):
    root, table, _ = digits
    broken = table.copy()
    broken.loc[5:9, "filename"] = [f"gone-{i}.png" for i in range(5)]
    broken.loc[12, "filename"] = "12.gif"
    with pytest.warns(UserWarning) as warned:  # noqa: PT030  the whole text is looked at
        iterator = ImageDataGenerator().flow_from_dataframe(broken, root, **GREY)
    [message] = [str(one.message) for one in warned]
    assert message.startswith(
        'Found 6 invalid image filename(s) in x_col="filename". These filename(s) will be ignored.'
    )
    assert "6 of 40 rows" in message
    assert "5 because there is no such file" in message
    assert "1 because the name ends in none of png, jpg" in message
    assert message.count(str(root)) == 3
    assert iterator.n == 34
    assert capsys.readouterr().out == "Found 34 validated image filenames belonging to 2 classes.\n"


def test_no_files_at_all_says_where_they_were_looked_for(digits, monkeypatch):
    _, table, _ = digits
    with pytest.warns(UserWarning, match=r"40 of 40 rows.*No row is left: there is no folder directory='/nowhere'"):
        iterator = ImageDataGenerator().flow_from_dataframe(table, "/nowhere", **GREY)
    assert list(iterator) == []
    monkeypatch.chdir("/")
    with pytest.warns(UserWarning, match=r"No row is left.*the working directory, '/'.*need their ending"):
        ImageDataGenerator().flow_from_dataframe(table, **GREY)


def test_a_missing_file_is_found_when_its_batch_comes_if_names_are_not_validated(digits):
    root, table, _ = digits
    broken = table.assign(filename=["gone.png", *table["filename"][1:]])
    options = GREY | {"validate_filenames": False, "shuffle": False}
    with pytest.raises(SourceError, match=r"gone.png \(row 0\): there is no such file"):
        next(ImageDataGenerator().flow_from_dataframe(broken, root, **options))
    with pytest.warns(UserWarning, match="1 of 40 image files cannot be read and are left out"):
        iterator = ImageDataGenerator().flow_from_dataframe(broken, root, **options, on_error="skip")
    assert iterator.n == len(iterator.classes) == 39
    assert iterator.ids.tolist() == list(range(1, 40))


@pytest.mark.parametrize("on_error", ["skip", "replace"])
def test_bad_files_are_listed_by_their_row(tmp_path, on_error):
    reasons = files.write_bad(tmp_path)
    names = sorted([*reasons, *files.GOOD])[::-1]
    table = pd.DataFrame({"filename": names, "a": range(9), "b": np.arange(9) / 2})
    options = {"target_size": (64, 64), "class_mode": "multi_output", "y_col": ["a", "b"], "weight_col": "b"}
    # The dangling link is no file, so that it is left out before anything is decoded.
    with pytest.warns(UserWarning, match="invalid image filename"), pytest.warns(UserWarning, match="5 of 8 image"):
        iterator = ImageDataGenerator().flow_from_dataframe(
            table, tmp_path, **options, shuffle=False, on_error=on_error
        )
    assert [names[bad.row] for bad in iterator.bad_files] == [
        name for name in names if name in reasons and name != "gone.png"
    ]
    rows = [
        row for row, name in enumerate(names) if name in files.GOOD or (on_error == "replace" and name != "gone.png")
    ]
    x, (a, b), weight = next(iterator)
    assert a.tolist() == iterator.ids.tolist() == rows
    assert np.array_equal(weight, b)
    assert [bool(image.any()) for image in x] == [names[row] in files.GOOD for row in rows]


def test_keywords_that_never_were_any_are_refused(digits):
    with pytest.raises(TypeError, match="unexpected keyword arguments: colour"):
        ImageDataGenerator().flow_from_dataframe(digits[1], digits[0], colour="rgb")


def test_columns_that_are_not_there_are_listed(digits):
    root, table, _ = digits
    for option in ("x_col", "y_col", "weight_col"):
        with pytest.raises(ConfigError, match=f"{option}='nothing'.*'filename', 'class'"):
            ImageDataGenerator().flow_from_dataframe(table, root, **{option: "nothing"})


def test_errors_of_type_are_errors_of_value_as_well(digits):
    # One may catch what daskaug raises on purpose by one name, and what Keras raises by its own.
    assert issubclass(ColumnTypeError, SourceError)
    assert issubclass(ColumnTypeError, TypeError)


def test_unused_classes_are_warned_of(digits):
    with pytest.warns(UserWarning, match="`classes` will be ignored"):
        ImageDataGenerator().flow_from_dataframe(digits[1], digits[0], **GREY, classes=["odd"], class_mode=None)


def test_without_a_generator_images_stay_as_they_are(digits):
    root, table, images = digits
    iterator = DataFrameIterator(table, root, **GREY, class_mode=None, shuffle=False, batch_size=40)
    assert np.array_equal(iterator[0], images.astype(np.float32))
    assert iterator.labels is None
