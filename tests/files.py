"""Real images as files: good ones in many formats, and every kind of bad one."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests import pictures

ENDINGS = ("png", "jpg", "bmp", "ppm", "tif", "jpeg", "PNG", "JPG")


def write_classes(root: Path, per_class: int = 5) -> Path:
    """Photographs of different sizes in folders cat, dog and fish, one of them nested, in many formats."""
    photographs = pictures.photographs()
    for k, name in enumerate(("dog", "cat", "fish")):
        for i in range(per_class + k):
            photograph = photographs[(i + k) % 4][i * 7 : i * 7 + 60 + 3 * i, k * 20 : k * 20 + 50 + 5 * k]
            folder = root / name / ("inner-a" if i == 2 else "inner" if i == 3 else "")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photograph).save(folder / f"{i}-{k}.{ENDINGS[(i + k) % len(ENDINGS)]}")
    (root / "dog" / "notes.txt").write_text("no image")
    return root


def write_digits(root: Path, count: int = 40) -> tuple[Path, np.ndarray, np.ndarray]:
    """Digits as PNG files in folders 0 to 9; the images (n, 8, 8, 1) and labels in the order of the iterator."""
    images, labels = pictures.digits()
    order = np.lexsort((np.arange(count), labels[:count]))
    for i in order:
        folder = root / str(labels[i])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[i, ..., 0]).save(folder / f"{i:04}.png")
    return root, images[order], labels[order]


def encoded(image: np.ndarray, file_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, file_format)
    return buffer.getvalue()


def bomb(side: int = 20_000) -> bytes:
    """A few bytes of a PNG that say it has side × side pixels: by default above twice Pillow's limit."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = [b"IHDR" + header, b"IDAT" + zlib.compress(bytes(side + 1)), b"IEND"]
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def write_bad(folder: Path) -> dict[str, str]:
    """Files that cannot be read, among the good ones a.png and z.jpg; the names with a word of what is wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    photograph = pictures.photographs()[0][:64, :64]
    (folder / "a.png").write_bytes(encoded(photograph, "PNG"))
    (folder / "z.jpg").write_bytes(encoded(photograph, "JPEG"))
    (folder / "wrong-ending.jpg").write_bytes(encoded(photograph, "PNG"))  # decodes all the same
    (folder / "truncated.jpg").write_bytes(encoded(photograph, "JPEG")[:-600])
    (folder / "cut.png").write_bytes(encoded(photograph, "PNG")[:2000])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("this is no picture\n" * 20)
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    return {
        "bomb.png": "bomb",
        "cut.png": "truncated",
        "empty.png": "empty",
        "gone.png": "no such file",
        "text.png": "no image format",
        "truncated.jpg": "truncated",
    }


GOOD = ("a.png", "wrong-ending.jpg", "z.jpg")
