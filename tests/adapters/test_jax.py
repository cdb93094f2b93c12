"""Batches on a device of JAX."""

from __future__ import annotations

import jax
import numpy as np

from daskaug import ImageDataGenerator
from daskaug.adapters.jax import JaxBatches
from tests import pictures

X, Y = (each[:32] for each in pictures.digits())


def test_batches_are_arrays_on_the_device_that_was_asked_for():
    device = jax.devices()[0]
    for images, labels in JaxBatches(ImageDataGenerator().flow(X, Y, batch_size=8), device):
        assert images.devices() == labels.devices() == {device}
        assert images.dtype == np.float32


def test_a_batch_keeps_its_numbers_while_later_ones_are_made():
    batches = list(JaxBatches(ImageDataGenerator().flow(X, batch_size=8, shuffle=False)))
    np.testing.assert_array_equal(np.concatenate(batches), X)
