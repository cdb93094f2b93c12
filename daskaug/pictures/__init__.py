"""Between files, Pillow images and arrays: one picture at a time, as Keras does it, bit for bit."""

from __future__ import annotations

from daskaug.pictures.brightness import brighten
from daskaug.pictures.decoding import COLOR_MODES, INTERPOLATIONS, load_mask, load_picture, to_array
from daskaug.pictures.encoding import save_picture, to_picture
from daskaug.pictures.listing import FILE_ENDINGS, has_ending, list_files
from daskaug.pictures.resizing import crop_and_resize

__all__ = [
    "COLOR_MODES",
    "FILE_ENDINGS",
    "INTERPOLATIONS",
    "brighten",
    "crop_and_resize",
    "has_ending",
    "list_files",
    "load_mask",
    "load_picture",
    "save_picture",
    "to_array",
    "to_picture",
]
