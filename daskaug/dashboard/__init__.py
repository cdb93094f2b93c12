"""A page of daskaug's own in the dask dashboard: jobs, images per second, stages, and what the workers are making.

Lives on the scheduler. Workers and clients tell it what they do through one handler; it keeps a bounded amount of that.
"""

from __future__ import annotations
