"""Batches for training: Keras' iterator contract over any source."""

from __future__ import annotations

from daskaug.iterators.base import BatchIterator
from daskaug.iterators.columns import Columns, Masks, open_input, sample_ids, warn_about_channels
from daskaug.iterators.numpy_array import NumpyArrayIterator
from daskaug.iterators.source import PictureSaver, SourceIterator

__all__ = [
    "BatchIterator",
    "Columns",
    "Masks",
    "NumpyArrayIterator",
    "PictureSaver",
    "SourceIterator",
    "open_input",
    "sample_ids",
    "warn_about_channels",
]
