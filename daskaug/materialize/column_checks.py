"""What of a store can be checked without its images: labels, ids, statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.materialize.findings import LISTED, Finding
from daskaug.materialize.inspecting import told
from daskaug.materialize.recomputing import Part
from daskaug.sources.fingerprint import content_digest


def check_statistics(part: Part, prefix: str, findings: list[Finding]) -> bool:
    """Compare the stored statistics with their hash in the manifest; whether they can be read at all."""
    try:
        digest = content_digest(part.statistics).hex()
    except Exception as error:  # noqa: BLE001  whatever a broken codec raises
        findings.append(Finding("unreadable", f"{prefix}statistics", f"they cannot be read: {told(error)}"))
        return False
    if digest != part.contract["statistics_digest"]:
        names = ", ".join(sorted(part.statistics)) or "none are there"
        findings.append(
            Finding("statistics", f"{prefix}statistics", f"they ({names}) are not those that the manifest knows")
        )
    return True


def check_columns(part: Part, prefix: str, bad_shards: set[int], findings: list[Finding]) -> None:
    """Compare the columns with each other, copy by copy, and with their hash in the manifest.

    Parameters
    ----------
    part : Part
    prefix : str
        Of what is reported.
    bad_shards : set of int
        Shards whose content is not what was committed: of two copies that differ, the one in there is wrong.
    findings : list of Finding
        Is added to.
    """
    table = {}
    for name in sorted(part.contract["columns"]):
        try:
            table[name] = np.asarray(part.array(name)[:])
        except Exception as error:  # noqa: BLE001  whatever a broken codec raises
            findings.append(Finding("unreadable", f"{prefix}array {name}", f"it cannot be read: {told(error)}"))
    if len(table) < len(part.contract["columns"]):
        return
    source_row = table["source_row"]
    outside = np.flatnonzero((source_row < part.first_row) | (source_row >= part.first_row + part.source_rows))
    if len(outside):
        where = f"{prefix}row {outside[0]} of source_row (shard {outside[0] // part.layout.shard_rows})"
        findings.append(Finding("columns", where, "there is no such row of the source"))
        return
    _, first, inverse = np.unique(source_row, return_index=True, return_inverse=True)
    for name, values in table.items():
        apart = np.flatnonzero(_rows_differ(values, values[first][inverse]))
        findings += [
            _two_copies(part, prefix, name, values, int(row), int(first[inverse[row]]), bad_shards)
            for row in apart[:LISTED]
        ]
        if len(apart) > LISTED:
            findings.append(Finding("columns", f"{prefix}array {name}", f"the same in {len(apart) - LISTED} more rows"))
    known = {name: values[first] for name, values in table.items()}
    if len(first) == part.source_rows and content_digest(known).hex() != part.contract["columns_digest"]:
        where = f"{prefix}array {' or '.join(suspects(table))}"
        wrong = "its values are not those that the manifest knows"
        findings.append(Finding("columns", where, wrong if bad_shards else f"{wrong}; full=True says in which shard"))


def suspects(table: dict[str, NDArray[Any]]) -> list[str]:
    """Columns that may be the wrong one: not the ids, where these are the rows of the source and so known."""
    ids_are_rows = np.array_equal(table["sample_id"], table["source_row"])
    known = ("source_row", "sample_id") if ids_are_rows else ("source_row",)
    return [name for name in table if name not in known] or list(table)


def _two_copies(
    part: Part, prefix: str, name: str, values: NDArray[Any], row: int, twin: int, bad_shards: set[int]
) -> Finding:
    """Two copies of an image with different labels: the one in a damaged shard is wrong, or one of the two."""
    if twin // part.layout.shard_rows in bad_shards and row // part.layout.shard_rows not in bad_shards:
        row, twin = twin, row
    return Finding(
        "columns",
        f"{prefix}row {row} of {name} (shard {row // part.layout.shard_rows})",
        f"it is {_shown(values[row])}, and {_shown(values[twin])} in row {twin} (shard "
        f"{twin // part.layout.shard_rows}), which is another copy of the same image",
    )


def _rows_differ(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    a, b = (np.ascontiguousarray(each).reshape(len(each), -1).view(np.uint8) for each in (a, b))
    different: NDArray[np.bool_] = (a != b).any(axis=1)
    return different


def _shown(value: Any) -> str:
    return str(value) if np.ndim(value) == 0 else f"of shape {np.shape(value)}"
