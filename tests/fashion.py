"""Fashion-MNIST, as Debian's package ``dataset-fashion-mnist`` brings it: 28×28 pictures of clothes in ten classes."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

FOLDER = Path("/usr/share/datasets/fashion-mnist")


def load(part: str) -> tuple[np.ndarray, np.ndarray]:
    """The pictures and their classes, of ``"train"`` (60,000) or ``"t10k"`` (10,000).

    Returns
    -------
    images : (n, 28, 28, 1) uint8, grey levels 0–255
    labels : (n,) uint8, 0–9
    """
    images, labels = (read_idx(FOLDER / f"{part}-{name}-ubyte.gz") for name in ("images-idx3", "labels-idx1"))
    return images[..., None], labels


def read_idx(path: Path) -> np.ndarray:
    """An array of bytes in the idx format: two zeros, 8 for uint8, the number of axes, their lengths, the values."""
    content = gzip.decompress(path.read_bytes())
    zeros, kind, axes = content[:2], content[2], content[3]
    if zeros != b"\0\0" or kind != 8:
        raise ValueError(f"{path} is no idx file of unsigned bytes: it begins with {content[:4].hex()}.")
    shape = np.frombuffer(content, ">i4", axes, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
