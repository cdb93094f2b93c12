"""The page as a pane of JupyterLab, through dask-labextension and its proxy."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.browser import WAIT_SECONDS, Watched, chromium
from tests.dashboard.waiting import until
from tests.stores.servers import free_ports

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

TOKEN = "for-this-test"


@contextlib.contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """The address of a server of its own, whose clusters start with our preload."""
    (port,) = free_ports(1)
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    cluster = {"host": "127.0.0.1", "n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    environment = {
        **os.environ,
        **{name: str(folder / name.lower()) for name in places},
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "DASK_DISTRIBUTED__SCHEDULER__PRELOAD": "['daskaug.preload']",
        "DASK_LABEXTENSION__FACTORY__KWARGS": json.dumps(cluster),
    }
    command = [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    url = f"http://127.0.0.1:{port}"
    with open(folder / "jupyterlab.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        until(lambda: _answers(f"{url}/api/status?token={TOKEN}"), bool)
        yield url
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_page_is_a_pane_beside_the_notebook(tmp_path):
    with jupyterlab(tmp_path) as url, chromium() as browser:
        watched = Watched(browser)
        page = watched.page
        page.goto(f"{url}/lab?token={TOKEN}")
        page.locator("li.lm-TabBar-tab[data-id='dask-dashboard-launcher']").click()
        page.locator("jp-button[data-command='dask:launch-cluster']").click()
        page.locator(".dask-ClusterListingItem").first.wait_for()
        button = page.locator(".dask-DashboardListing-item", has_text="Daskaug")
        button.click()
        frame = page.frame_locator("iframe[src*='daskaug']").first
        frame.locator("[data-value='rate']").first.wait_for()
        assert frame.locator("[data-value='threads']").first.inner_text().endswith(" of 0")
        assert frame.locator(".nothing").first.inner_text().startswith("No job yet")
        assert watched.hosts == {"127.0.0.1"}
        watched.save(tmp_path / "jupyterlab.png")
