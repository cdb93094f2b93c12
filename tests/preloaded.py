"""Imported once, by the process from which others are forked, workers and those that are there to be killed: they begin
at once.
"""  # fmt: skip

from __future__ import annotations

import distributed  # noqa: F401  is to be there when a process is forked, as are the next
import zarr  # noqa: F401  see above

import daskaug.generator
import daskaug.iterators
import daskaug.materialize  # noqa: F401  see above
from daskaug.kernels.warming import warm
from tests.faults import runs

list(warm())
runs.images()
