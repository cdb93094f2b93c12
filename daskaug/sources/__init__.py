"""Where images come from."""

from __future__ import annotations

from daskaug.sources.base import BlockReader, Source
from daskaug.sources.joining import join_readers
from daskaug.sources.opening import open_column, open_images

__all__ = ["BlockReader", "Source", "join_readers", "open_column", "open_images"]
