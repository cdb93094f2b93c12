"""Real photographs as large stores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

SIZE = 224


def photographs_store(path: Path, n: int = 4096, chunk: int = 32) -> Path:
    """Write `n` crops of 224×224×3 uint8 of real photographs, blosc-lz4, unless they are there."""
    if path.exists():
        return path
    from daskaug.demo import load_photographs

    photographs = [p for p in load_photographs() if min(p.shape[:2]) >= SIZE]
    state = np.random.RandomState(0)
    array = zarr.create_array(
        path,
        shape=(n, SIZE, SIZE, 3),
        chunks=(chunk, SIZE, SIZE, 3),
        dtype=np.uint8,
        compressors=zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
    )
    for start in range(0, n, chunk):
        crops = np.empty((min(chunk, n - start), SIZE, SIZE, 3), np.uint8)
        for i in range(len(crops)):
            photograph = photographs[state.randint(len(photographs))]
            y, x = (state.randint(extent - SIZE + 1) for extent in photograph.shape[:2])
            crop = photograph[y : y + SIZE, x : x + SIZE]
            crops[i] = crop[:, ::-1] if state.randint(2) else crop
        array[start : start + len(crops)] = crops
    return path
