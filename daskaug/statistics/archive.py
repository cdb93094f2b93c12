"""One NPZ file of arrays and a JSON header: written whole, checked when read."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import StoreError

FORMAT = "daskaug statistics"
VERSION = 1

Header = dict[str, Any]
Arrays = dict[str, NDArray[np.float64]]


def digest(header: Header, arrays: Arrays) -> str:
    """SHA-256 over the header and the little-endian bytes of the arrays, in the order of their names."""
    sha = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        sha.update(f"\n{name} {arrays[name].shape}\n".encode())
        sha.update(np.ascontiguousarray(arrays[name], "<f8").data)
    return sha.hexdigest()


def write(path: Path, header: Header, arrays: Arrays) -> None:
    """Write a temporary file beside `path` and rename it, so that no reader ever sees half of it."""
    # Not a NamedTemporaryFile: that would leave a file which nobody but its owner may read.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    text = json.dumps(
        {"format": FORMAT, "version": VERSION, "digest": digest(header, arrays), **header}, sort_keys=True
    )
    try:
        with temporary.open("xb") as file:
            np.savez(file, header=np.array(text), **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path) -> tuple[Header, Arrays]:
    """Header and arrays as :func:`write` was given them.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    StoreError
        It is another kind of file, of a version this release does not know, or its digest is not that of its content.
    """
    ours = "Statistics.load reads files that Statistics.save wrote"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            entries = {name: archive[name] for name in archive.files}
        header = json.loads(str(entries.pop("header")))
        form, version, stored = header.pop("format"), header.pop("version"), header.pop("digest")
    except FileNotFoundError:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
        raise StoreError(f"{path} cannot be read as an NPZ file ({error}). {ours}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} is no statistics file, or a damaged one ({error}). {ours}") from error
    if form != FORMAT:
        raise StoreError(f"{path} says it holds {form!r}, not {FORMAT!r}. {ours}")
    if version != VERSION:
        raise StoreError(
            f"{path} has version {version!r} of the statistics format, and this release reads version {VERSION}. "
            "Read it with the release that wrote it, or fit again"
        )
    found = digest(header, entries)
    if found != stored:
        raise StoreError(f"{path} is damaged: its digest says {stored}, its content {found}. Fit again or restore it")
    return header, entries
