from __future__ import annotations

import inspect
import json
import re
import warnings

import numpy as np
import pytest

from daskaug import ImageDataGenerator
from daskaug.config import Config, keras_default
from daskaug.errors import ConfigError


def keras_generator():
    from keras.src.legacy.preprocessing.image import ImageDataGenerator as KerasGenerator

    return KerasGenerator


def test_arguments_are_keras_arguments_in_keras_order_with_keras_defaults():
    theirs = inspect.signature(keras_generator().__init__).parameters
    ours = inspect.signature(ImageDataGenerator.__init__).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    assert {name: ours[name].default for name in theirs} == {name: theirs[name].default for name in theirs}
    assert all(p.kind is p.KEYWORD_ONLY for p in list(ours.values())[len(theirs) :])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"zca_whitening": True},
        {"zca_whitening": True, "featurewise_std_normalization": True},
        {"featurewise_std_normalization": True},
        {"samplewise_std_normalization": True},
        {"zoom_range": 0.2, "brightness_range": [0.5, 1.5]},
        {"zoom_range": [0.5, 2.0], "data_format": "channels_first", "dtype": "float64"},
    ],
    ids=str,
)
def test_coercions_and_warnings_are_keras(options):
    def made(cls):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            generator = cls(**options)
        # Keras leaves out a comma and a space here and there.
        return generator, [re.sub(r"[ ,]", "", str(w.message)) for w in caught]

    theirs, their_warnings = made(keras_generator())
    ours, our_warnings = made(ImageDataGenerator)
    for name in inspect.signature(type(theirs).__init__).parameters:
        if name in ("self", "validation_split"):
            continue
        mine, keras = getattr(ours, name), getattr(theirs, name)
        assert list(np.ravel(mine)) == list(np.ravel(keras)), name
    for name in ("channel_axis", "row_axis", "col_axis"):
        assert getattr(ours, name) == getattr(theirs, name)
    # Keras warns a second time where ZCA and std were asked for: it looks at its argument, not at what it has set.
    assert set(our_warnings) <= set(their_warnings)
    assert bool(our_warnings) == bool(their_warnings)


BAD = [
    ("featurewise_center", "yes"),
    ("zca_epsilon", -1.0),
    ("zca_epsilon", float("nan")),
    ("rotation_range", "20"),
    ("rotation_range", True),
    ("rotation_range", float("inf")),
    ("width_shift_range", "a"),
    ("width_shift_range", -1),
    ("width_shift_range", [[1, 2]]),
    ("height_shift_range", [1, float("nan")]),
    ("height_shift_range", ["a"]),
    ("brightness_range", 0.5),
    ("brightness_range", (1, 2, 3)),
    ("shear_range", [1]),
    ("zoom_range", [1]),
    ("zoom_range", "big"),
    ("zoom_range", [-1, 1]),
    ("channel_shift_range", [1, 2]),
    ("fill_mode", "mirror"),
    ("fill_mode", 3),
    ("cval", "black"),
    ("horizontal_flip", "left"),
    ("rescale", "1/255"),
    ("preprocessing_function", 3),
    ("data_format", "NHWC"),
    ("validation_split", 1.0),
    ("validation_split", -0.1),
    ("interpolation_order", 6),
    ("interpolation_order", 1.0),
    ("dtype", "complex64"),
    ("dtype", object),
    ("compat", "tf"),
    ("value_range", (1, 0)),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=str)
def test_a_bad_value_is_named_with_what_is_allowed(name, value):
    with pytest.raises(ConfigError, match=f"`{name}` must be .+ Received: {name}="):
        ImageDataGenerator(**{name: value})


@pytest.mark.parametrize(("name", "value"), BAD, ids=str)
def test_a_bad_assignment_leaves_the_generator_as_it_was(name, value):
    generator = ImageDataGenerator(rotation_range=5)
    before = generator.config
    with pytest.raises(ConfigError, match=f"`{name}`"):
        setattr(generator, name, value)
    assert generator.config == before


def test_integer_dtype_after_centring_is_refused():
    with pytest.raises(ConfigError, match=r"`dtype` is 'uint8'.*'samplewise_center'"):
        ImageDataGenerator(samplewise_center=True, dtype="uint8")


def preprocess(image):
    return image * 2


ROUND_TRIPS = [
    {},
    {"width_shift_range": 3, "height_shift_range": 3.0},
    {"width_shift_range": [-2, 4], "height_shift_range": np.array([0.1, 0.2])},
    {"zoom_range": 0.3, "brightness_range": (0.1, 2), "value_range": (0, 1), "compat": "keras", "rescale": 1 / 255},
    {"data_format": "channels_first", "dtype": "float16", "fill_mode": "wrap", "cval": -3, "interpolation_order": 0},
]


@pytest.mark.parametrize("options", ROUND_TRIPS, ids=str)
def test_json_round_trip(options):
    config = Config(**options)
    again = Config.from_json(config.to_json())
    assert again == config
    assert again.to_json() == config.to_json()
    for name in ("width_shift_range", "height_shift_range"):  # an int and a float mean different things
        assert type(getattr(again, name)) is type(getattr(config, name))
    assert eval(repr(config), {"Config": Config}) == config


def test_int_and_float_shifts_are_different_configurations():
    assert Config(width_shift_range=3).to_json() != Config(width_shift_range=3.0).to_json()


def test_an_importable_function_survives_the_round_trip_and_others_are_asked_for(tmp_path, monkeypatch):
    (tmp_path / "user_functions.py").write_text("def twice(image):\n    return image * 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    import user_functions

    config = Config(preprocessing_function=user_functions.twice)
    assert Config.from_json(config.to_json()) == config
    assert json.loads(config.to_json())["preprocessing_function"]["qualname"] == "twice"
    nameless = Config(preprocessing_function=lambda image: image).to_json()
    with pytest.raises(ConfigError, match=r"preprocessing_function=\.\.\."):
        Config.from_json(nameless)
    handed_in = Config.from_json(nameless, preprocessing_function=preprocess)
    assert handed_in.preprocessing_function is preprocess


def test_changed_code_of_a_function_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "edited_functions.py").write_text("def f(image):\n    return image * 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    import edited_functions

    text = Config(preprocessing_function=edited_functions.f).to_json()
    exec("def f(image):\n    return image * 3\n", vars(edited_functions))
    edited_functions.f.__module__ = "edited_functions"
    with pytest.warns(UserWarning, match="has other code"):
        Config.from_json(text)


def test_unknown_options_are_errors():
    with pytest.raises(ConfigError, match="rotation_rnge"):
        Config.from_dict({"rotation_rnge": 3})
    with pytest.raises(TypeError):
        ImageDataGenerator(rotation_rnge=3)


def test_defaults_come_from_keras_json(tmp_path, monkeypatch):
    import sys

    for name in [m for m in sys.modules if m == "keras"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert keras_default("floatx", "float32") == "float32"
    (tmp_path / "keras.json").write_text('{"floatx": "float64", "image_data_format": "channels_first"}')
    config = Config()
    assert (config.dtype, config.data_format) == ("float64", "channels_first")
    (tmp_path / "keras.json").write_text("not json")
    assert Config().dtype == "float32"


def test_options_can_be_read_and_assigned_like_keras_attributes():
    generator = ImageDataGenerator(rotation_range=20)
    generator.rotation_range = 40
    generator.zoom_range = 0.5
    assert generator.config == Config(rotation_range=40, zoom_range=0.5)


def test_generator_configuration_round_trip():
    generator = ImageDataGenerator(rotation_range=20, zoom_range=0.1)
    assert ImageDataGenerator.from_config(generator.to_config()).config == generator.config
    assert "rotation_range=20" in repr(generator)
    assert "shear" not in repr(generator)
