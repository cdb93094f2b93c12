"""cluster/ssh: its script, with a real SSH server on addresses of this machine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import recipes, services

pytestmark = pytest.mark.sshd

HOSTS = "127.0.0.1,127.0.0.1,127.0.0.2"


@pytest.fixture
def configuration(certificates, tmp_path) -> Iterator[Path]:
    """A folder with the certificates, the recipe's file, and what is different here."""
    folder = tmp_path / "configuration"
    folder.mkdir()
    shutil.copy(certificates / "dask.yaml", folder)
    shutil.copy(recipes.RECIPES / "ssh/ssh.yaml", folder)
    (tmp_path / "sshd").mkdir(mode=0o700)
    with services.ssh_server(tmp_path / "sshd") as connect_options:
        here = {
            "remote_python": sys.executable,
            "connect_options": connect_options,
            "worker_options": {"nthreads": 1, "memory_limit": "2GB", "host": "127.0.0.1"},
            "scheduler_options": {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"},
        }
        # Files are read in the order of their names.
        (folder / "this_machine.yaml").write_text(
            yaml.safe_dump({"daskaug": {"ssh": here}, "temporary-directory": str(tmp_path)})
        )
        yield folder


def test_the_script(configuration, source, tmp_path):
    target = tmp_path / "y.zarr"
    env = recipes.environment(DASK_CONFIG=configuration)
    words = [sys.executable, recipes.RECIPES / "ssh/ssh.py", HOSTS, source, target, *recipes.options()]
    recipes.run(words, tmp_path / "script.log", env)
    assert recipes.outcome(target) == recipes.expected(source)
    assert (tmp_path / "sshd/log").read_text().count("Accepted publickey") == len(HOSTS.split(","))


ASK = """
import runpy, sys
from distributed import Client

def facts(dask_worker):
    return dask_worker.address.partition(":")[0], *(preload.name for preload in dask_worker.preloads)

make_cluster = runpy.run_path(sys.argv[1])["make_cluster"]
with make_cluster(sys.argv[2]) as cluster, Client(cluster) as client:
    print(sorted(client.run(facts).values()))
"""


def test_the_workers_speak_tls_and_have_the_preload(configuration, tmp_path):
    words = [sys.executable, "-c", ASK, recipes.RECIPES / "ssh/ssh.py", HOSTS]
    said = recipes.run(words, tmp_path / "script.log", recipes.environment(DASK_CONFIG=configuration))
    assert said.splitlines()[-1] == str([("tls", "daskaug.preload")] * 2)
