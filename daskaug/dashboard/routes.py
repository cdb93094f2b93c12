"""Has a dashboard made with daskaug's page in it: named in ``distributed.scheduler.http.routes``.

A scheduler imports what is named there just before it makes its dashboard, and nobody else does: so Bokeh is loaded by
schedulers only.
"""

from __future__ import annotations

from typing import Any

from daskaug.dashboard.plugin import announce

routes: list[Any] = []

announce()
