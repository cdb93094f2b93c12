from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskaug.config import Config
from daskaug.seeding import Operation, uniforms
from daskaug.transforms.affine import matrices
from daskaug.transforms.draws import Draws, draw
from tests.transforms import in_numpy

EVERYTHING = {
    "rotation_range": 20,
    "width_shift_range": 0.1,
    "height_shift_range": [-3, 1, 4],
    "shear_range": 10.0,
    "zoom_range": (0.7, 1.4),
    "horizontal_flip": True,
    "vertical_flip": True,
    "channel_shift_range": 20.0,
    "brightness_range": (0.8, 1.2),
}
IDS = np.arange(20_000)


def test_ranges_and_means():
    draws = draw(Config(**EVERYTHING), (40, 60), 1, 0, IDS)
    for values, low, high in [
        (draws.theta, -20, 20),
        (draws.ty, -6, 6),
        (draws.shear, -10, 10),
        (draws.zx, 0.7, 1.4),
        (draws.zy, 0.7, 1.4),
        (draws.channel_shift_intensity, -20, 20),
        (draws.brightness, 0.8, 1.2),
    ]:
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() < high
        assert abs(values.mean() - (low + high) / 2) < 0.02 * (high - low)
    assert set(draws.tx) == {-4, -3, -1, 1, 3, 4}
    for flip in (draws.flip_horizontal, draws.flip_vertical):
        assert abs(flip.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(draws.zx, draws.zy)[0, 1]) < 0.03


@pytest.mark.parametrize("option", EVERYTHING)
def test_an_operation_draws_the_same_whatever_else_is_on(option):
    alone = draw(Config(**{option: EVERYTHING[option]}), (40, 60), 5, 3, IDS[:100])
    together = draw(Config(**EVERYTHING), (40, 60), 5, 3, IDS[:100])
    named = {
        "rotation_range": ("theta",),
        "width_shift_range": ("ty",),
        "height_shift_range": ("tx",),
        "shear_range": ("shear",),
        "zoom_range": ("zx", "zy"),
        "horizontal_flip": ("flip_horizontal",),
        "vertical_flip": ("flip_vertical",),
        "channel_shift_range": ("channel_shift_intensity",),
        "brightness_range": ("brightness",),
    }
    for name in named[option]:
        assert np.array_equal(getattr(alone, name), getattr(together, name))


@pytest.mark.parametrize(
    ("extent", "expected"),
    [
        (0, {0}),
        (1, {0}),
        (3, {-2, -1, 0, 1, 2}),
        ([2, 5], {-5, -2, 2, 5}),
        ((0.1, 0.2), {-12, -6, 6, 12}),
        ([-3, -2], {-3, -2, 2, 3}),  # pixels; Keras takes them for fractions
        (np.array([0.5, 7]), {-7, -0.5, 0.5, 7}),
    ],
    ids=str,
)
def test_shift_ranges_with_values_to_choose_from(extent, expected):
    draws = draw(Config(width_shift_range=extent), (40, 60), 1, 0, IDS[:1000])
    assert set(np.round(draws.ty, 9)) == expected


@pytest.mark.parametrize(("extent", "reach"), [(0.25, 15), (0.999, 60), (1.0, 1), (7.5, 7.5)])
def test_shift_ranges_as_floats(extent, reach):
    ty = draw(Config(width_shift_range=extent), (40, 60), 1, 0, IDS).ty
    assert 0.99 * reach < np.abs(ty).max() <= reach


def test_off_means_untouched():
    draws = draw(Config(), (40, 60), 1, 0, IDS[:5])
    assert draws.row(3) == {
        "theta": 0,
        "tx": 0,
        "ty": 0,
        "shear": 0,
        "zx": 1,
        "zy": 1,
        "flip_horizontal": False,
        "flip_vertical": False,
        "channel_shift_intensity": None,
        "brightness": None,
    }
    assert matrices(draws, (40, 60)) is None


def test_dictionaries_and_back():
    draws = draw(Config(**EVERYTHING), (40, 60), 1, 0, IDS[:50])
    again = Draws.from_dicts([draws.row(i) for i in range(50)])
    for name, values in vars(draws).items():
        if name == "given":
            continue
        assert np.array_equal(getattr(again, name), values)


def sine_cosine(degrees):
    """From the matrices of rotations, which hold nothing else."""
    found = matrices(Draws.from_dicts([{"theta": angle} for angle in degrees]), (1, 1))
    return found[:, 0, 1], found[:, 1, 1]


@given(st.floats(-1e6, 1e6))
def test_sine_and_cosine(degrees):
    (sine, _), (cosine, _) = sine_cosine([degrees, 1.0])  # the second one turns, so that there are matrices
    # The oracle gets the angle within one turn, where degrees turn into radians without loss.
    exact = np.deg2rad(np.longdouble(np.fmod(degrees, 360.0)))
    assert abs(sine - np.sin(exact)) < 4e-16
    assert abs(cosine - np.cos(exact)) < 4e-16


def test_quarter_turns_are_exact():
    sine, cosine = sine_cosine([0.0, 90, 180, 270, 360, -90])
    assert sine.tolist() == [0, 1, 0, -1, 0, -1]
    assert cosine.tolist() == [1, 0, -1, 0, 1, 0]


PARAMETERS = st.fixed_dictionaries(
    {"theta": st.floats(-1e6, 1e6), "shear": st.sampled_from([0.0, 10.0, -90.0, 200.0]) | st.floats(-1e3, 1e3)}
    | dict.fromkeys(("tx", "ty"), st.sampled_from([0.0, -0.0, 3.0]) | st.floats(-1e3, 1e3))
    | dict.fromkeys(("zx", "zy"), st.sampled_from([1.0, 0.5]) | st.floats(0.01, 100))
)


@given(st.lists(PARAMETERS, min_size=1, max_size=5), st.tuples(st.integers(1, 1000), st.integers(1, 1000)))
def test_matrices_have_the_bits_of_the_formula_in_numpy(parameters, size):
    draws = Draws.from_dicts([*parameters, {}])
    found, expected = matrices(draws, size), in_numpy.matrices(draws, size)
    if expected is None:
        assert found is None
    else:
        assert found.tobytes() == expected.tobytes()


def test_columns_of_an_operation_are_as_documented():
    """Column 0 picks the amount and column 1 the sign: part of the contract of stored results."""
    columns = uniforms(9, 4, (Operation.HEIGHT_SHIFT,), IDS[:200])[0]
    tx = draw(Config(height_shift_range=[1, 2, 3, 4]), (8, 8), 9, 4, IDS[:200]).tx
    assert np.array_equal(np.abs(tx), np.floor(columns[:, 0] * 4) + 1)
    assert np.array_equal(tx > 0, columns[:, 1] >= 0.5)
