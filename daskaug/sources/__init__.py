"""Where images come from."""

from __future__ import annotations

from daskaug.sources.base import BlockReader, Source
from daskaug.sources.cached import CachedSource, with_cache
from daskaug.sources.image_files import BadFile, Decoding, ImageFiles
from daskaug.sources.joining import join_readers
from daskaug.sources.opening import open_column, open_images

__all__ = [
    "BadFile",
    "BlockReader",
    "CachedSource",
    "Decoding",
    "ImageFiles",
    "Source",
    "join_readers",
    "open_column",
    "open_images",
    "with_cache",
]
