"""Batches for training: Keras' iterator contract over any source."""

from __future__ import annotations

from daskaug.iterators.array import ArrayIterator, Columns, PictureSaver
from daskaug.iterators.base import BatchIterator

__all__ = ["ArrayIterator", "BatchIterator", "Columns", "PictureSaver"]
