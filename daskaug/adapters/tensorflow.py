"""TensorFlow: batches as a ``tf.data`` pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from daskaug.adapters.epochs import Batches, Epochs, map_arrays


def tensorflow_dataset(batches: Batches) -> Any:
    """A ``tf.data.Dataset`` of the batches, whose every pass is the next epoch.

    Parameters
    ----------
    batches : iterator
        As a `flow` method returns it. The first batch of the epoch is computed to know types and shapes.

    Returns
    -------
    tf.data.Dataset
        All shapes are static but for the length of a batch; that too, with ``drop_last=True`` or where the batch size
        divides the number of images. Its cardinality is the number of batches. Add ``.prefetch(1)`` to copy to a device
        ahead of time.
    """
    first = batches[0]
    whole = _rows(batches[len(batches) - 1]) == _rows(first)
    rows = _rows(first) if whole else None
    signature = _as_tuples(map_arrays(lambda array: _spec(array, rows), first))
    epochs = Epochs(batches)

    def one_pass() -> Iterator[Any]:
        return epochs.passing(_as_tuples)

    made = tf.data.Dataset.from_generator(one_pass, output_signature=signature)
    return made.apply(tf.data.experimental.assert_cardinality(len(batches)))


def _spec(array: NDArray[Any], rows: int | None) -> Any:
    return tf.TensorSpec((rows, *array.shape[1:]), tf.as_dtype(array.dtype))


def _rows(batch: Any) -> int:
    while isinstance(batch, tuple | list | dict):
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
    return len(batch)


def _as_tuples(batch: Any) -> Any:
    """``tf.data`` takes a list for one tensor."""
    if isinstance(batch, dict):
        return {name: _as_tuples(each) for name, each in batch.items()}
    return tuple(map(_as_tuples, batch)) if isinstance(batch, tuple | list) else batch
