"""The third sink: augmented data sets as Zarr stores."""

from __future__ import annotations

from daskaug.materialize.annotating import annotate, refuse_existing
from daskaug.materialize.inspecting import ArrayFacts, find_faults, inspect_store
from daskaug.materialize.reading import MaterializedStore, open_materialized
from daskaug.materialize.writing import Job, Report, materialize

__all__ = [
    "ArrayFacts",
    "Job",
    "MaterializedStore",
    "Report",
    "annotate",
    "find_faults",
    "inspect_store",
    "materialize",
    "open_materialized",
    "refuse_existing",
]
