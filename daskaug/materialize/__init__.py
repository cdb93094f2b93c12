"""The third sink: augmented data sets as Zarr stores."""

from __future__ import annotations

from daskaug.materialize.annotating import annotate, refuse_existing
from daskaug.materialize.card import info
from daskaug.materialize.findings import Finding, Verification
from daskaug.materialize.inspecting import (
    ArrayFacts,
    class_indices_of,
    find_faults,
    inspect_store,
    is_materialized,
    is_store,
    labels_of,
)
from daskaug.materialize.layout import Cut
from daskaug.materialize.place import Place, StoreLike
from daskaug.materialize.planning import MaterializePlan, plan, refuse_misfit
from daskaug.materialize.reading import MaterializedStore, open_materialized
from daskaug.materialize.replaying import Replay, replay
from daskaug.materialize.verifying import verify
from daskaug.materialize.writing import Job, Report, materialize

__all__ = [
    "ArrayFacts",
    "Cut",
    "Finding",
    "Job",
    "MaterializePlan",
    "MaterializedStore",
    "Place",
    "Replay",
    "Report",
    "StoreLike",
    "Verification",
    "annotate",
    "class_indices_of",
    "find_faults",
    "info",
    "inspect_store",
    "is_materialized",
    "is_store",
    "labels_of",
    "materialize",
    "open_materialized",
    "plan",
    "refuse_existing",
    "refuse_misfit",
    "replay",
    "verify",
]
