"""Batches for training: Keras' iterator contract over any source."""

from __future__ import annotations

from daskaug.iterators.base import BatchIterator
from daskaug.iterators.columns import Columns, Masks, open_input, sample_ids, warn_about_channels
from daskaug.iterators.dataframe import DataFrameIterator, accept_deprecated
from daskaug.iterators.directory import DirectoryIterator
from daskaug.iterators.files import check_files
from daskaug.iterators.listing import list_files
from daskaug.iterators.numpy_array import NumpyArrayIterator
from daskaug.iterators.source import PictureSaver, SourceIterator

__all__ = [
    "BatchIterator",
    "Columns",
    "DataFrameIterator",
    "DirectoryIterator",
    "Masks",
    "NumpyArrayIterator",
    "PictureSaver",
    "SourceIterator",
    "accept_deprecated",
    "check_files",
    "list_files",
    "open_input",
    "sample_ids",
    "warn_about_channels",
]
