"""The page's feet on the scheduler: takes what is told, takes samples, and adds the page to the dashboard."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

import dask.config
from distributed.diagnostics.plugin import SchedulerPlugin

from daskaug.dashboard import prometheus
from daskaug.dashboard.state import HANDLER, SETTING, state_of

log = logging.getLogger("daskaug")

PATHS = ("/daskaug", "/individual-daskaug")
"""Of the page in the dashboard's frame, and of the one that stands alone in a pane of JupyterLab."""


SAMPLE_SECONDS = 1.0


def is_wanted() -> bool:
    """Whether dask's configuration leaves the page on."""
    return bool(dask.config.get(SETTING, True))


class DashboardPlugin(SchedulerPlugin):
    """Runs the page of a scheduler; registering it a second time does nothing.

    ``client.register_plugin(DashboardPlugin())`` does it on a scheduler that runs, and ``--preload daskaug.preload`` on
    one that starts.
    """

    name = "daskaug-dashboard"
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """Called by the scheduler, which may run already."""
        self.begin(scheduler)

    def begin(self, scheduler: Any) -> None:
        """Start on a scheduler, whose event loop runs."""
        self._scheduler = scheduler
        self._state = state_of(scheduler)
        scheduler.handlers[HANDLER] = self._tell
        self._sampling = asyncio.get_running_loop().create_task(self._sample())
        serve(scheduler)
        self._exported = prometheus.export(self._state)

    async def _tell(self, told: Any = None) -> str:
        """Take a message; one that makes no sense is dropped, for it may be of another version."""
        with contextlib.suppress(Exception):
            # What was under way when its sender left may come late.
            if told["what"] == "worker":
                is_late = told["address"] not in self._scheduler.workers
            else:
                is_late = told["state"] == "running" and told["client"] not in self._scheduler.clients
            if not is_late:
                self._state.tell(time.time(), told)
        return "OK"

    async def _sample(self) -> None:
        while True:
            self._state.sample(time.time())
            await asyncio.sleep(SAMPLE_SECONDS)

    def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        """Called by the scheduler."""
        self._state.remove_worker(worker)

    def remove_client(self, scheduler: Any, client: str) -> None:
        """Called by the scheduler."""
        self._state.remove_client(client, time.time())

    async def close(self) -> None:
        """Called by the scheduler at its end."""
        self._sampling.cancel()
        self._exported.close()


# --- the page in the dashboard -----------------------------------------------------------------------------------


def announce() -> None:
    """Before a scheduler makes its dashboard: have it made with our page. Without Bokeh there is no dashboard."""
    try:
        from distributed.dashboard import scheduler as dashboards

        from daskaug.dashboard.page import documents
    except ImportError:
        return
    dashboards.applications.update(documents())


def serve(scheduler: Any) -> bool:
    """Add the page to the dashboard of a scheduler that runs; whether it is there now."""
    try:
        from distributed.dashboard.core import BokehApplication
        from distributed.dashboard.scheduler import template_variables

        from daskaug.dashboard.page import documents
    except ImportError as error:
        log.info("The scheduler has no daskaug page, since it has no dashboard: %s", error)
        return False
    try:
        application = scheduler.http_application
        servers = list(application.applications)
        if not any(hasattr(server, "app_paths") for server in servers):
            log.info("The scheduler has no daskaug page, since its dashboard is switched off")
            return False
        variables = template_variables(scheduler)
        if not is_served(scheduler):
            from tornado.ioloop import IOLoop

            prefix = dask.config.get("distributed.scheduler.http.prefix", None) or ""
            added = BokehApplication(documents(), scheduler, prefix=prefix, template_variables=variables)
            application.add_application(added)
            added.initialize(IOLoop.current())
            added.start()
        name = PATHS[0].strip("/")
        if name not in variables["pages"]:
            variables["pages"].append(name)
        plot = {"url": PATHS[1].strip("/"), "name": "Daskaug"}
        if plot not in variables["plots"]:
            variables["plots"].append(plot)
            variables["plots"].sort(key=lambda each: str(each["name"]))
    except Exception:  # of another version of distributed, say: work goes on without the page
        log.info("The daskaug page could not be added to the dashboard", exc_info=True)
        return False
    return True


def is_served(scheduler: Any) -> bool:
    """Whether a scheduler's dashboard has the page."""
    servers = getattr(getattr(scheduler, "http_application", None), "applications", ())
    return any(path.endswith(PATHS[0]) for server in servers for path in getattr(server, "app_paths", ()))


def has_dashboard(scheduler: Any) -> bool:
    """Whether a scheduler serves a dashboard at all, and not just the hint that Bokeh is missing."""
    servers = getattr(getattr(scheduler, "http_application", None), "applications", ())
    return any(hasattr(server, "app_paths") for server in servers)


def ask(dask_scheduler: Any) -> dict[str, Any]:
    """For ``client.run_on_scheduler``: what is served, and on which address."""
    address = str(getattr(getattr(dask_scheduler, "http_server", None), "address", ""))
    return {"page": is_served(dask_scheduler), "dashboard": has_dashboard(dask_scheduler), "address": address}
