"""Where to look at a cluster's dashboard. Imported only where distributed already is."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

import dask.config
from distributed.utils import format_dashboard_link

from daskaug.dashboard.plugin import PATHS, ask
from daskaug.execution.cluster import watching_of

_STATUS = "/status"


@dataclasses.dataclass(frozen=True)
class DashboardLink:
    """Where the dashboard is, or why there is none.

    Attributes
    ----------
    url : str or None
        As a browser reaches it: ``distributed.dashboard.link`` in dask's configuration says how, for JupyterHub,
        proxies and SSH tunnels.
    trouble : str
        Empty where there is none.
    """

    url: str | None
    trouble: str = ""

    def __str__(self) -> str:
        if self.url is None:
            return f"no dashboard: {self.trouble}"
        return f"dashboard: {self.url}" + (f" ({self.trouble})" if self.trouble else "")


def dashboard_link(client: Any) -> DashboardLink:
    """Where a client's dashboard is: daskaug's page, which is added where that can be done.

    Parameters
    ----------
    client : distributed.Client

    Returns
    -------
    DashboardLink
        Never an error: a link is no reason for anybody's work to fail.
    """
    try:
        return _link(client)
    except Exception as error:  # noqa: BLE001  whatever a scheduler of another version answers
        return DashboardLink(None, f"the scheduler does not say where it is ({' '.join(str(error).split())[:200]})")


def _link(client: Any) -> DashboardLink:
    port = client.scheduler_info(n_workers=0)["services"].get("dashboard")
    if port is None:
        return DashboardLink(None, "the scheduler was started without one (dashboard=False, or --no-dashboard)")
    watching_of(client).has_page  # noqa: B018  is registered when it is first asked for
    served = _served(client)
    if served is not None and not served["dashboard"]:
        return DashboardLink(
            None, "the scheduler has none to serve. Install Bokeh where it runs (pip install 'daskaug[jupyter]')"
        )
    try:
        url = str(client.dashboard_link)
        if served is not None and _is_loopback(served["address"]):  # and not on the address of the scheduler itself
            url = format_dashboard_link(served["address"], port)
    except KeyError as missing:
        template = dask.config.get("distributed.dashboard.link")
        return DashboardLink(
            None,
            f"distributed.dashboard.link is {template!r}, and the environment has no variable {missing}. Set it, or "
            "change the link in dask's configuration",
        )
    if served is not None and served["page"] and _STATUS in url:
        before, _, after = url.rpartition(_STATUS)
        url = before + PATHS[0] + after
    return DashboardLink(url)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _served(client: Any) -> dict[str, Any] | None:
    """What the scheduler serves; None where it cannot be asked."""
    try:
        found: dict[str, Any] = client.run_on_scheduler(ask)
    except Exception:  # noqa: BLE001  no daskaug there, or nobody may run functions on it
        return None
    return found
