"""The facade: signatures and documentation, no arithmetic."""

from __future__ import annotations

from daskaug.generator.image_data_generator import ImageDataGenerator

__all__ = ["ImageDataGenerator"]
