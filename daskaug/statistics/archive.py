"""One NPZ file of arrays and a JSON header: written whole, checked when read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import StoreError

FORMAT = "daskaug statistics"
VERSION = 2

READABLE = (1, 2)
"""Version 1 had no histogram, weights, range bounds, intervals, contents and Gram matrix, and is the same otherwise."""

Header = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def digest(header: Header, arrays: Arrays) -> str:
    """SHA-256 over the header and the little-endian bytes of the arrays, in the order of their names."""
    sha = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        sha.update(f"\n{name} {arrays[name].shape}\n".encode())
        whole = arrays[name].dtype.kind in "iu"
        sha.update(np.ascontiguousarray(arrays[name], "<i8" if whole else "<f8").data)
    return sha.hexdigest()


def write(path: Path, header: Header, arrays: Arrays, form: str = FORMAT, version: int = VERSION) -> None:
    """Write a temporary file beside `path` and rename it, so that no reader ever sees half of it."""
    # Not a NamedTemporaryFile: that would leave a file which nobody but its owner may read.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    text = json.dumps({"format": form, "version": version, "digest": digest(header, arrays), **header}, sort_keys=True)
    try:
        with temporary.open("xb") as file:
            np.savez(file, header=np.array(text), **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read(
    path: Path,
    form: str = FORMAT,
    readable: tuple[int, ...] = READABLE,
    ours: str = "Statistics.load reads files that Statistics.save wrote",
) -> tuple[Header, Arrays]:
    """Header and arrays as :func:`write` was given them.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    StoreError
        It is another kind of file, of a version this release does not know, or its digest is not that of its content.
    """
    with _opened(path, ours) as archive:
        header = _checked_header(archive, path, form, readable, ours)
        stored = header.pop("digest")
        entries = {name: archive[name] for name in archive.files if name != "header"}
        found = digest(header, entries)
    if found != stored:
        raise StoreError(f"{path} is damaged: its digest says {stored}, its content {found}. Fit again or restore it")
    return header, entries


def read_header(path: Path, form: str, readable: tuple[int, ...], ours: str) -> Header:
    """The header alone, of a file that may be large; raises as :func:`read` does, but for damage elsewhere."""
    with _opened(path, ours) as archive:
        header = _checked_header(archive, path, form, readable, ours)
    return {name: value for name, value in header.items() if name != "digest"}


@contextlib.contextmanager
def _opened(path: Path, ours: str) -> Iterator[Any]:
    """An NPZ file, and errors that say what it is instead."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            yield archive
    except (FileNotFoundError, StoreError):
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
        raise StoreError(f"{path} cannot be read as an NPZ file ({error}). {ours}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} is no such file, or a damaged one ({error}). {ours}") from error


def _checked_header(archive: Any, path: Path, form: str, readable: tuple[int, ...], ours: str) -> Header:
    """The header with its digest, of a format and version that can be read."""
    header: Header = json.loads(str(archive["header"]))
    found_form, version, _ = header.pop("format"), header.pop("version"), header["digest"]
    if found_form != form:
        raise StoreError(f"{path} says it holds {found_form!r}, not {form!r}. {ours}")
    if version not in readable:
        raise StoreError(
            f"{path} has version {version!r} of the format, and this release reads {readable}. "
            "Read it with the release that wrote it, or fit again"
        )
    return header
