"""Imported once, by the process from which others are forked, workers and those that are there to be killed: they begin
at once.
"""  # fmt: skip

from __future__ import annotations

import distributed  # noqa: F401
import zarr  # noqa: F401

import daskaug.generator
import daskaug.iterators
import daskaug.materialize  # noqa: F401
from daskaug.kernels.warming import warm
from tests.faults import runs

list(warm())
runs.images()
