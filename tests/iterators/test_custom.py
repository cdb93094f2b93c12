"""Iterators that users write, as Keras documents."""

from __future__ import annotations

import numpy as np
import pytest

from daskaug import image


class Squares(image.Iterator):
    """Keras' recipe: a constructor of four arguments and one method."""

    def __init__(self, n, batch_size, shuffle, seed):
        super().__init__(n, batch_size, shuffle, seed)

    def _get_batches_of_transformed_samples(self, index_array):
        return np.asarray(index_array) ** 2


def test_a_subclass_of_keras_form_works():
    batches = Squares(10, 4, False, None)
    assert len(batches) == 3
    assert [batch.tolist() for batch in batches.one_epoch()] == [[0, 1, 4, 9], [16, 25, 36, 49], [64, 81]]
    assert batches[1].tolist() == [16, 25, 36, 49]
    shuffled = Squares(10, 4, True, 3)
    epochs = [np.concatenate(list(epoch)).tolist() for epoch in shuffled.epochs(2)]
    assert epochs[0] != epochs[1]
    assert all(sorted(epoch) == [i**2 for i in range(10)] for epoch in epochs)
    assert np.array_equal(np.concatenate(list(Squares(10, 4, True, 3).one_epoch())), epochs[0])


def test_a_subclass_without_the_method_says_so():
    with pytest.raises(NotImplementedError, match="Nothing must define _get_batches_of_transformed_samples"):
        next(type("Nothing", (image.Iterator,), {})(10, 4, False, None))


def test_all_iterators_are_one_of_these():
    for name in ("NumpyArrayIterator", "DirectoryIterator", "DataFrameIterator"):
        assert issubclass(getattr(image, name), image.Iterator)


def test_keras_queue_options_are_accepted_where_keras_is_loaded():
    import keras

    batches = Squares(10, 4, False, None)
    assert isinstance(batches, keras.utils.PyDataset)
    options = type("Options", (Squares,), {"__init__": image.Iterator.__init__})(10, 4, False, None, workers=2)
    assert options.workers == 1  # accepted, and not used


X, Y = np.arange(12 * 4 * 4 * 3, dtype=np.uint8).reshape(12, 4, 4, 3), np.arange(12)


class Negatives(image.NumpyArrayIterator):
    """Keras' hook on a concrete iterator."""

    def _get_batches_of_transformed_samples(self, index_array):
        x, y = super()._get_batches_of_transformed_samples(index_array)
        return -x, y


class Twice(image.NumpyArrayIterator):
    """The usual way to oversample."""

    def _set_index_array(self):
        self.index_array = np.repeat(np.arange(6), 2)


class AsInKeras2(image.NumpyArrayIterator):
    def next(self):
        with self.lock:
            index_array = next(self.index_generator)
        return self._get_batches_of_transformed_samples(index_array)


def test_concrete_iterators_honour_keras_hooks():
    made = image.ImageDataGenerator(rotation_range=30, horizontal_flip=True)
    options = {"batch_size": 5, "shuffle": True, "seed": 3}
    plain = list(image.NumpyArrayIterator(X, Y, made, **options).epochs(2))
    negative = list(Negatives(X, Y, made, **options).epochs(2))
    for ours, theirs in zip(plain, negative, strict=True):
        for (x, y), (other_x, other_y) in zip(ours, theirs, strict=True):
            assert np.array_equal(other_x, -x)
            assert np.array_equal(other_y, y)
    twice = Twice(X, Y, made, **options)
    assert np.concatenate([y for _, y in twice.one_epoch()]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    old = AsInKeras2(X, Y, made, **options)
    new = image.NumpyArrayIterator(X, Y, made, **options)
    for _ in range(7):
        for a, b in zip(old.next(), next(new), strict=True):
            assert np.array_equal(a, b)
