"""What the guide to statistics says about Keras, and about the file, is so."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from daskaug import ImageDataGenerator, Statistics
from daskaug.statistics import archive, encoding
from tests import pictures

GUIDE = (Path(__file__).parents[1] / "docs" / "statistics.md").read_text(encoding="utf-8")


BLOWN_UP = 1e5
"""How far Keras goes wrong depends on how its float32 decomposition rounds; so far at least."""

# --- beside Keras ------------------------------------------------------------------------------------------------


def numbers_of(row: str) -> tuple[float, float]:
    """What the table says in a row: of Keras, and of us."""
    found = re.search(rf"^\| {re.escape(row)}[^|]*\| ([\d.,]+) \| ([\d.,]+) \|$", GUIDE, re.M)
    assert found is not None, row
    keras, ours = (float(number.replace(",", "")) for number in found.groups())
    return keras, ours


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """(1797, 8, 8, 1) float32, 0 to 16."""
    return load_digits().images[..., np.newaxis].astype(np.float32)


@pytest.fixture(scope="module")
def fitted(digits):
    """Keras' generator, and ours."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator as KerasGenerator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Keras warns of one channel
        made = tuple(kind(featurewise_center=True, zca_whitening=True) for kind in (KerasGenerator, ImageDataGenerator))
        for generator in made:
            generator.fit(digits.copy())
    return made


def whitened(generator, images: np.ndarray) -> np.ndarray:
    """(n, 64), each image by itself, as both do in training."""
    return np.stack([generator.standardize(image.copy()) for image in images]).reshape(len(images), -1)


def test_directions_that_are_kept(digits, fitted):
    flat = digits.reshape(len(digits), -1).astype(np.float64)
    singular = np.linalg.svd(flat - flat.mean(), compute_uv=False)
    varying = np.count_nonzero(singular > singular[0] * 1e-6)
    keras, ours = fitted
    assert numbers_of("directions kept") == (64, varying)
    assert ours.statistics.whitening.rank == varying
    assert np.linalg.matrix_rank(np.asarray(keras.zca_whitening_matrix, np.float64), tol=1e-9) == 64
    said = numbers_of("largest entry of the matrix")
    assert np.abs(ours.zca_whitening_matrix).max() == pytest.approx(said[1], rel=0.05)
    assert min(np.abs(keras.zca_whitening_matrix).max(), said[0]) > BLOWN_UP


@pytest.mark.parametrize(
    ("row", "axis"), [("the digits themselves", None), ("the digits moved left", 2), ("the digits moved up", 1)]
)
def test_largest_values(digits, fitted, row, axis):
    images = digits
    if axis is not None:
        images = np.roll(digits, -1, axis)
        images[(slice(None),) * axis + (-1,)] = 0
    said = numbers_of(f"largest value, {row}")
    keras, ours = (whitened(generator, images) for generator in fitted)
    assert np.isfinite(keras).all()
    assert np.abs(ours).max() == pytest.approx(said[1], rel=0.05)
    if axis is None:
        assert np.abs(keras).max() == pytest.approx(said[0], rel=0.05)
    else:
        assert min(np.abs(keras).max(), said[0]) > BLOWN_UP


def test_second_moment(digits, fitted):
    flat = digits.reshape(len(digits), -1).astype(np.float64)
    directions = np.linalg.svd((flat - flat.mean()).T)[0]
    kept, null = directions[:, :62], directions[:, 62:]
    said = numbers_of("deviation of the second moment"), numbers_of("root mean square")
    for number, generator in enumerate(fitted):
        coordinates = whitened(generator, digits).astype(np.float64)
        moment = (coordinates @ kept).T @ (coordinates @ kept) / len(digits)
        assert np.abs(moment - np.eye(62)).max() < 2 * said[0][number] < 1e-4
        blown_up = np.sqrt(np.mean((coordinates @ null) ** 2))
        assert blown_up < 1e-6 if number else blown_up > 1e-3


# --- the file ----------------------------------------------------------------------------------------------------


def fits() -> dict[str, Statistics]:
    images = pictures.tiles(8, 400)
    bad = images.astype(np.float32)
    bad[3, 2, 1, 0] = np.nan
    plain, whitener = (ImageDataGenerator(featurewise_center=True, zca_whitening=zca) for zca in (False, True))
    whole = plain.fit(images, histogram=True, keep_gram=True).statistics
    part = plain.fit(images[:100]).statistics
    return {
        "everything": whole,
        "withdrawn": plain.fit(images).statistics.withdraw(part),
        "float": plain.fit(images.astype(np.float32), keep_gram=True).statistics,
        "omitting": plain.fit(bad, nan_policy="omit").statistics,
        "whitened": whitener.fit(images, zca_components=10).statistics,
    }


def test_the_table_has_every_entry_of_a_file():
    named = set(re.findall(r"`(\w+)`", GUIDE[GUIDE.index("### The file") : GUIDE.index("## ZCA whitening")]))
    entries = {"header", "format", "version", "digest", "zca_directions", "is_complete", "interval_mean"}
    for statistics in fits().values():
        header, arrays = encoding.encode(statistics)
        entries |= {*header, *arrays}
    assert entries <= named, entries - named
    assert f"'daskaug statistics', {archive.VERSION}," in GUIDE
