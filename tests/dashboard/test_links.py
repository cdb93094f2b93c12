"""Where the dashboard is said to be: by dask's own setting, and not at all where nothing answers there."""

from __future__ import annotations

import urllib.request

import dask
import distributed
import pytest
from distributed.dashboard import scheduler as dashboards
from typer.testing import CliRunner

from daskaug.cli import app
from daskaug.dashboard.plugin import PATHS
from daskaug.execution.links import dashboard_link
from tests import clusters


@pytest.fixture(scope="module")
def client():
    with clusters.workers(1, processes=False) as local, distributed.Client(local) as client:
        yield client


def port_of(client) -> int:
    return client.scheduler_info()["services"]["dashboard"]


def test_a_link_that_is_told_answers(client):
    found = dashboard_link(client)
    assert found.url.endswith(f":{port_of(client)}/daskaug")
    assert found.trouble == ""
    with urllib.request.urlopen(found.url, timeout=30) as answer:
        assert b'href="daskaug"' in answer.read()


@pytest.mark.parametrize(
    ("template", "environment", "expected"),
    [
        ("{JUPYTERHUB_SERVICE_PREFIX}proxy/{port}/status", "/user/ann/", "/user/ann/proxy/{port}/daskaug"),
        ("http://localhost:18787/status", None, "http://localhost:18787/daskaug"),
        ("https://hub.example.org/{JUPYTERHUB_SERVICE_PREFIX}/proxy/{port}/status?token=1", "user/x",
         "https://hub.example.org/user/x/proxy/{port}/daskaug?token=1"),
        ("https://gateway.example.org/clusters/7", None, "https://gateway.example.org/clusters/7"),
    ],
)  # fmt: skip
def test_the_link_is_the_one_of_dask_s_configuration(client, monkeypatch, template, environment, expected):
    if environment is not None:
        monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", environment)
    with dask.config.set({"distributed.dashboard.link": template}):
        assert dashboard_link(client).url == expected.format(port=port_of(client))


def test_a_link_that_cannot_be_made_says_which_variable_is_missing(client, monkeypatch):
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
    with dask.config.set({"distributed.dashboard.link": "{JUPYTERHUB_SERVICE_PREFIX}proxy/{port}/status"}):
        told = str(dashboard_link(client))
    assert told.startswith("no dashboard: ")
    assert "no variable 'JUPYTERHUB_SERVICE_PREFIX'" in told


def test_without_a_page_the_link_is_that_of_dask(monkeypatch):
    plain = {path: page for path, page in dashboards.applications.items() if path not in PATHS}
    monkeypatch.setattr(dashboards, "applications", plain)  # a preload in this process may have added ours
    with (
        dask.config.set({"daskaug.dashboard": False}),
        clusters.workers(1, processes=False) as local,
        distributed.Client(local) as client,
    ):
        found = dashboard_link(client)
    assert found.url.endswith("/status")


def test_a_client_that_is_closed_has_no_link():
    with clusters.workers(1, processes=False) as local:
        client = distributed.Client(local)
        client.close()
        assert str(dashboard_link(client)).startswith(("no dashboard: ", "dashboard: "))


def test_commands_say_where_it_is(client, tmp_path):
    done = CliRunner().invoke(app, ["fit", str(tmp_path / "none.zarr"), "--scheduler", client.scheduler.address])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[0].startswith("dashboard: http")
