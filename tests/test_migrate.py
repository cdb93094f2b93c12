"""``daskaug migrate``: which rows of the guide concern a call or a script."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from daskaug.cli import app
from daskaug.errors import ConfigError
from daskaug.migration import CHANGED, EDITS, KEPT, ROWS, compare_with_keras, explain
from daskaug.migration.rules import RULES


def names(code: str) -> set[str]:
    return {finding.row.name for finding in compare_with_keras(code)}


def changed(code: str) -> set[str]:
    return names(code) & {row.name for row in CHANGED}


def test_every_row_has_a_rule_and_a_name_of_its_own():
    assert list(RULES) == list(ROWS)
    assert len(ROWS) == len(CHANGED) + len(EDITS) + len(KEPT)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("ImageDataGenerator()", set()),
        ("ImageDataGenerator(rescale=1./255)", set()),
        ("ImageDataGenerator(rotation_range=0, zoom_range=[1, 1], horizontal_flip=False)", set()),
        ("ImageDataGenerator(horizontal_flip=True)", {"keyed_draws"}),
        ("ImageDataGenerator(rotation_range=20)", {"keyed_draws", "interpolation"}),
        ("ImageDataGenerator(rotation_range=20, interpolation_order=0)", {"keyed_draws"}),
        ("ImageDataGenerator(rotation_range=20, interpolation_order=3)", {"keyed_draws"}),
        ("ImageDataGenerator(brightness_range=(0, 0))", {"keyed_draws", "brightness"}),
        ("ImageDataGenerator(False, True, False, True)", {"standardize_batch"}),
        ("ImageDataGenerator(True)", {"exact_statistics", "unfitted"}),
        ("ImageDataGenerator(zca_whitening=True)", {"exact_statistics", "unfitted", "null_directions"}),
        (
            "ImageDataGenerator(featurewise_center=True, preprocessing_function=f)",
            {"exact_statistics", "unfitted", "fit_sees_training", "standardize_batch", "global_numbers"},
        ),
        (
            "ImageDataGenerator(validation_split=0.2, vertical_flip=True)",
            {"keyed_draws", "validation_subset"},
        ),
        (
            "ImageDataGenerator(width_shift_range=[-3, -2], interpolation_order=0)",
            {"keyed_draws", "negative_shifts"},
        ),
        ("ImageDataGenerator(width_shift_range=[-0.3, 0.2], interpolation_order=0)", {"keyed_draws"}),
        ("ImageDataGenerator(width_shift_range=1)", set()),
        ("ImageDataGenerator(width_shift_range=1.0)", {"keyed_draws", "interpolation"}),
        ("ImageDataGenerator(dtype='uint8')", {"integer_dtype"}),
        ("ImageDataGenerator(dtype=np.uint8)", {"integer_dtype"}),
        ("ImageDataGenerator(fill_mode='mirror')", {"checked_options"}),
        ("ImageDataGenerator(dim_ordering='th')", {"checked_options"}),
        ("keras.preprocessing.image.ImageDataGenerator(horizontal_flip=True)", {"keyed_draws"}),
    ],
)
def test_a_call_is_told_what_concerns_its_options(call, expected):
    assert changed(call) == expected
    assert changed("datagen = " + call) == expected


def test_compat_leaves_what_it_does_not_switch():
    options = "rotation_range=20, brightness_range=(0.5, 2), validation_split=0.2, featurewise_center=True"
    assert changed(f'ImageDataGenerator({options}, compat="keras")') == {"exact_statistics"}
    assert len(changed(f"ImageDataGenerator({options})")) == 6


def test_what_is_no_literal_counts_as_switched_on_and_nothing_is_run():
    code = "ImageDataGenerator(rotation_range=[open('gone.txt', 'w') for _ in range(3)], horizontal_flip=FLIP)"
    assert changed(code) == {"keyed_draws", "interpolation"}
    assert "taken for switched on: line 1: rotation_range=[open" in explain(code)
    assert "horizontal_flip=FLIP" in explain(code)
    assert "**options" in explain("ImageDataGenerator(**options)")


def test_names_that_stand_for_one_literal_are_followed():
    once = "ANGLE = 0\noptions = dict(rotation_range=ANGLE, horizontal_flip=False)\nd = ImageDataGenerator(**options)\n"
    assert changed(once) == set()
    assert "keyed_draws" in changed(once.replace("ANGLE = 0", "ANGLE = 20") + "d.flow(x, seed=1)")
    assert "keyed_draws" in changed("ANGLE = 0\nANGLE = 20\n" + once + "d.flow(x, seed=1)")
    assert changed("a = b\nb = a\nd = ImageDataGenerator(rotation_range=a)") == {"interpolation"}


SCRIPT = """
from tensorflow.keras.preprocessing.image import ImageDataGenerator as Generator
from keras.utils import np_utils

train = Generator(rescale=1./255, shear_range=0.2, horizontal_flip=True, featurewise_center=True)
test = Generator(rescale=1./255)
train.fit(x_train, augment=True)
batches = train.flow(x_train, y_train, seed=1)
model.fit_generator(batches, steps_per_epoch=len(x_train) / 32, epochs=50, workers=4,
                    validation_data=test.flow_from_directory("data/validation"), validation_steps=800)
for e in range(epochs):
    for x_batch, y_batch in train.flow(x_train, y_train):
        model.fit(x_batch, y_batch)
images = train.flow_from_directory("data/images", class_mode=None, seed=1)
masks = train.flow_from_directory("data/masks", class_mode=None, seed=1)
both = zip(images, masks)
model.fit(both, steps_per_epoch=2000)
first = batches[0]
"""


def test_a_script():
    found = {(finding.row.name, finding.line) for finding in compare_with_keras(SCRIPT)}
    assert found >= {
        ("import_line", 2),
        ("np_utils", 3),
        ("keyed_draws", 5),
        ("shear_degrees", 5),
        ("fit_augmented", 7),
        ("sample_order", 8),
        ("generator_methods", 9),
        ("whole_steps", 9),
        ("fit_workers", 9),
        ("fit_shuffles", 9),
        ("unseeded", 10),
        ("bad_files", 10),
        ("endless_loop", 12),
        ("unseeded", 12),
        ("paired_folders", 15),
        ("zipped_generators", 17),
        ("batch_by_index", 18),
    }
    assert not {name for name, _ in found} & {"unfitted", "brightness", "checked_options", "keras_1_names"}


def test_the_edits_of_the_guide_are_all_that_is_asked_for():
    """A script with the edits made has nothing left that Keras 3 refuses."""
    edited = SCRIPT.replace("tensorflow.keras.preprocessing.image", "daskaug").replace("np_utils", "to_categorical")
    edited = edited.replace("fit_generator", "fit").replace("len(x_train) / 32", "len(x_train) // 32")
    edited = edited.replace(" workers=4,", "").replace("zip(images, masks)", "(p for p in zip(images, masks))")
    edited = edited.replace("model.fit(x_batch, y_batch)", "model.fit(x_batch, y_batch)\n        break")
    assert names(edited) & {row.name for row in EDITS} == set()


@pytest.mark.parametrize(
    ("line", "is_old"),
    [
        ("from keras.preprocessing.image import ImageDataGenerator, load_img", True),
        ("from keras.preprocessing.image import random_rotation as rotate", True),
        ("from keras.preprocessing.image import *", True),
        ("from keras_preprocessing.image import ImageDataGenerator", True),
        ("from keras.preprocessing import image", True),
        ("import tensorflow.keras.preprocessing.image as kpi", True),
        ("from keras.preprocessing.image import load_img, img_to_array as to_array", False),
        ("from keras.preprocessing import sequence", False),
        ("from keras.preprocessing.text import Tokenizer", False),
        ("from daskaug.image import ImageDataGenerator", False),
    ],
)
def test_imports_of_what_is_gone(line, is_old):
    assert ("import_line" in names(f"{line}\nImageDataGenerator()")) is is_old


@pytest.mark.parametrize(
    ("body", "ends"),
    [
        ("if n > 3: break", True),
        ("with a: return 1", True),
        ("while True: return 1", True),
        ("try: pass\n    finally: break", True),
        ("while True: break", False),
        ("for i in range(3): break", False),
        ("model.fit(x, y)", False),
    ],
)
def test_loops_that_never_end_are_noticed(body, ends):
    code = f"def f():\n  for x, y in datagen.flow(data):\n    {body}"
    assert ("endless_loop" in names(code)) is not ends


def test_generators_of_one_name_are_told_apart():
    code = """
datagen = ImageDataGenerator(featurewise_center=True)
datagen.fit(x)
datagen.flow(x, seed=1)
datagen = ImageDataGenerator(featurewise_std_normalization=True)
datagen.flow(x, seed=1)
other = ImageDataGenerator(featurewise_center=True).fit(x)
third = ImageDataGenerator(featurewise_center=True)
third.mean = 3
"""
    unfitted = [finding for finding in compare_with_keras(code) if finding.row.name == "unfitted"]
    assert [finding.line for finding in unfitted] == [5]


@pytest.mark.parametrize("code", ["ImageDataGenerator(", "\0", "1 + 1", ""])
def test_what_is_no_python_or_has_no_generator(code):
    with pytest.raises(ConfigError):
        explain(code)


def test_the_command(tmp_path):
    run = CliRunner().invoke
    call = run(app, ["migrate", "ImageDataGenerator(brightness_range=(0.5, 1.5))"])
    assert call.exit_code == 0
    assert "line 1: brightness_range=(0.5, 1.5)" in call.output
    assert 'switch   compat="keras"' in call.output
    (tmp_path / "old.py").write_text(SCRIPT)
    script = run(app, ["migrate", str(tmp_path / "old.py")])
    assert script.exit_code == 0
    assert "line 9: fit_generator(...)" in script.output
    assert run(app, ["migrate", "ImageDataGenerator()"]).output.strip() == "Nothing differs from Keras."
    missing = run(app, ["migrate", str(tmp_path / "gone.py")])
    assert missing.exit_code == 1
    assert "gone.py" in missing.output
