"""Whitening, and the sums that it is computed from, as entries of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.statistics.whitening.factors import Whitening
from daskaug.statistics.whitening.gram import FloatGram, Gram, IntegerGram


def encode_whitening(whitening: Whitening) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays. Of directions that lie in a store there is a digest; where they lie is not told."""
    header: dict[str, Any] = {"zca_epsilon": whitening.epsilon}
    how = {"route": whitening.route, "captured": whitening.captured, "error": whitening.error}
    # Only where it says something: files of version 1 knew one route, and kept everything.
    header |= {"zca": how} if how != {"route": "features", "captured": 1.0, "error": 0.0} else {}
    if isinstance(whitening.directions, np.ndarray):
        return header, {"zca_u": whitening.directions, "zca_scale": whitening.scale}
    handle: Any = whitening.directions
    header["zca_directions"] = {"sha256": handle.digest, "shape": list(handle.shape)}
    return header, {"zca_scale": whitening.scale}


def decode_whitening(header: dict[str, Any], arrays: dict[str, NDArray[Any]], path: str | Path | None) -> Whitening:
    """Undo :func:`encode_whitening`.

    Parameters
    ----------
    header, arrays
        Of the file.
    path : path
        Of the file, beside which large directions lie.
    """
    directions: Any = arrays.get("zca_u")
    if directions is None:
        from daskaug.statistics.whitening.stored import StoredDirections, beside

        stored = header["zca_directions"]
        rows, columns = stored["shape"]
        directions = StoredDirections(beside(path or ""), stored["sha256"], (rows, columns))
    return Whitening(directions, arrays["zca_scale"], header["zca_epsilon"], **header.get("zca", {}))


def save_directions(whitening: Whitening | None, path: str | Path) -> None:
    """Put directions that lie in a store beside a file of statistics."""
    if whitening is None or isinstance(whitening.directions, np.ndarray):
        return
    from daskaug.statistics.whitening.stored import copy_beside

    handle: Any = whitening.directions
    copy_beside(handle, path)


def encode_gram(gram: Gram) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays; the number of images stands in the file anyway."""
    if isinstance(gram, IntegerGram):
        return {"gram_shift": gram.shift}, {"gram": gram.products, "gram_sums": gram.sums}
    return {}, {"gram": gram.scatter, "gram_mean": gram.mean}


def decode_gram(header: dict[str, Any], arrays: dict[str, NDArray[Any]], rows: int) -> Gram | None:
    """Undo :func:`encode_gram`; None where the file has no Gram matrix."""
    if "gram" not in arrays:
        return None
    if "gram_shift" in header:
        return IntegerGram(rows, int(header["gram_shift"]), arrays["gram_sums"], arrays["gram"])
    return FloatGram(rows, arrays["gram_mean"], arrays["gram"])
