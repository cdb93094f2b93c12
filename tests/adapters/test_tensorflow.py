"""Batches as a tf.data pipeline."""

from __future__ import annotations

import importlib
import importlib.util

import numpy as np
import pytest

from daskaug import ImageDataGenerator
from tests import pictures

tf = importlib.import_module("tensorflow") if importlib.util.find_spec("tensorflow") else None
pytestmark = pytest.mark.tensorflow

X, Y = (each[:50] for each in pictures.digits())


def flow(**options):
    return ImageDataGenerator(rotation_range=20).flow(X, Y, seed=5, **{"batch_size": 8} | options)


def dataset(iterator):
    from daskaug.adapters.tensorflow import tensorflow_dataset

    return tensorflow_dataset(iterator)


def test_a_pass_is_an_epoch():
    made, expected = dataset(flow()), flow()
    assert int(made.cardinality()) == 7
    for _ in range(2):
        for (images, labels), (x, y) in zip(made, expected.one_epoch(), strict=True):
            np.testing.assert_array_equal(images, x)
            np.testing.assert_array_equal(labels, y)


@pytest.mark.parametrize(("options", "rows"), [({}, None), ({"batch_size": 10}, 10), ({"drop_last": True}, 8)])
def test_shapes_are_static(options, rows):
    images, labels = dataset(flow(**options)).element_spec
    assert images.shape.as_list() == [rows, 8, 8, 1]
    assert labels.shape.as_list() == [rows]


def test_several_inputs_and_weights():
    inputs = (X, [Y.astype(np.float32)])
    made = dataset(ImageDataGenerator().flow(inputs, Y, sample_weight=np.ones(50), batch_size=10, shuffle=False))
    (images, extra), labels, weights = next(iter(made))
    np.testing.assert_array_equal(images, X[:10])
    np.testing.assert_array_equal(extra, Y[:10])
    assert labels.shape == weights.shape == (10,)
