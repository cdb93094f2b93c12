"""daskaug: Keras' ImageDataGenerator, distributed with dask and reproducible to the bit.

Importing this package loads nothing but the standard library: each public name is fetched from its module when it
is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from daskaug._version import __version__

if TYPE_CHECKING:
    from daskaug import image
    from daskaug.generator import ImageDataGenerator
    from daskaug.materialize import open_materialized, replay, verify
    from daskaug.sources import open_images
    from daskaug.statistics import Statistics

__all__ = [
    "ImageDataGenerator",
    "Statistics",
    "__version__",
    "image",
    "open_images",
    "open_materialized",
    "replay",
    "verify",
]

_HOME_OF = {
    "ImageDataGenerator": "daskaug.generator",
    "Statistics": "daskaug.statistics",
    "open_images": "daskaug.sources",
    "open_materialized": "daskaug.materialize",
    "replay": "daskaug.materialize",
    "verify": "daskaug.materialize",
}


def __getattr__(name: str) -> Any:
    if name == "image":
        return importlib.import_module("daskaug.image")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its names are {', '.join(__all__)}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
