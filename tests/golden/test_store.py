"""A materialised store, pinned: the same decoded bytes on every machine and in every later version."""

from __future__ import annotations

from daskaug import ImageDataGenerator
from tests import pictures

DIGITS_HASH = "71f05c745d4f480bd0ecf2fb357b15f8068ed5d36615bbe29fe4f013dbde9328"


def test_the_hash_of_materialised_digits(tmp_path):
    images, labels = pictures.digits()
    datagen = ImageDataGenerator(
        featurewise_center=True,
        featurewise_std_normalization=True,
        rotation_range=20,
        width_shift_range=0.1,
        height_shift_range=[0, 1, 2],
        shear_range=10,
        zoom_range=0.2,
        horizontal_flip=True,
        channel_shift_range=20,
        brightness_range=(0.8, 1.2),
        fill_mode="reflect",
    ).fit(images)
    report = datagen.materialize(images, tmp_path / "digits.zarr", y=labels, epochs=2, seed=2026)
    assert report.store_hash == DIGITS_HASH
