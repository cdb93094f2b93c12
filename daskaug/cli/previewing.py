"""The sheet of ``daskaug preview``."""

from __future__ import annotations

from typing import Any

import numpy as np

from daskaug.config import DTYPES
from daskaug.execution import as_loaded, check_workers, current_executor
from daskaug.iterators import open_input
from daskaug.pictures.sheet import Band, draw_sheet
from daskaug.sources.base import CarryingReader

TILE = 112


def sheet(generator: Any, x: Any, images: int, draws: int, seed: int) -> Any:
    """Originals in the first column, and what the first epochs of ``flow(x, seed=seed)`` show in the others.

    Parameters
    ----------
    generator : ImageDataGenerator
    x : Source or iterator
    images, draws : int
        Rows and further columns of the sheet.
    seed : int

    Returns
    -------
    PIL.Image.Image
    """
    source, columns = open_input(x, None, None, None)
    rows = np.unique(np.linspace(0, source.shape[0] - 1, min(images, source.shape[0])).astype(np.int64))
    executor = current_executor()
    if executor.is_remote:
        check_workers(source.probes())
    raw = executor.submit(as_loaded, source.rows_reader(rows), (), "daskaug-preview").result()
    config = generator.config
    dtype = raw.dtype.name if raw.dtype.name in DTYPES else "float32"
    shown = config.replace(**config.without_standardizing(), dtype=dtype)
    transform = generator.block_transform(seed=seed, standardize=False, config=shown)
    tasks = [
        executor.submit(
            transform, CarryingReader(raw, "images of the sheet"), (columns.ids[rows], epoch), "daskaug-preview"
        )
        for epoch in range(draws)
    ]
    made = [task.result() for task in tasks]
    captions = ("original", *(f"epoch {epoch}" for epoch in range(draws)))
    bands = [
        Band(f"row {row}", [_channels_last(each[i], config) for each in (raw, *made)], captions)
        for i, row in enumerate(rows)
    ]
    return draw_sheet(bands, tile=TILE, columns=1 + draws)


def _channels_last(image: Any, config: Any) -> Any:
    return image if config.data_format == "channels_last" else np.moveaxis(image, 0, -1)
