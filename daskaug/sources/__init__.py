"""Where images come from."""

from __future__ import annotations

from daskaug.sources.base import BlockReader, Source
from daskaug.sources.opening import open_column, open_images

__all__ = ["BlockReader", "Source", "open_column", "open_images"]
