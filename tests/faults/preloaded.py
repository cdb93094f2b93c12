"""Imported once, by the process that those are forked from which are there to be killed: they begin at once."""

from __future__ import annotations

import distributed  # noqa: F401
import zarr  # noqa: F401

from daskaug.kernels.warming import warm
from tests.faults import runs

list(warm())
runs.images()
