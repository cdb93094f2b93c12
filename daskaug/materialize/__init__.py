"""The third sink: augmented data sets as Zarr stores."""

from __future__ import annotations

from daskaug.materialize.reading import MaterializedStore, open_materialized
from daskaug.materialize.writing import Report, materialize

__all__ = ["MaterializedStore", "Report", "materialize", "open_materialized"]
