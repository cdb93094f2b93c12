"""One way in: an address, a recipe, the environment, dask's configuration, or a client that is there."""

from __future__ import annotations

import sys

import dask
import distributed
import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from daskaug import ImageDataGenerator
from daskaug.cli import app
from daskaug.errors import ConfigError
from daskaug.execution import current_executor
from daskaug.execution.connecting import Amount, connected
from tests import clusters, pictures

X = pictures.tiles(16, 48)


@pytest.fixture(scope="module")
def cluster():
    with clusters.two_workers() as local:
        yield local


@pytest.fixture
def store(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(8, 16, 16, 3))
    return tmp_path / "x.zarr"


def run(*arguments) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.output


def finished(cluster) -> int:
    """Tasks that the cluster's workers have done."""
    return sum(
        state.state_counts["memory"]
        for name, state in cluster.scheduler.task_prefixes.items()
        if name.startswith("daskaug")
    )


def test_every_command_that_computes_has_its_work_done_by_the_cluster(cluster, store, tmp_path):
    (tmp_path / "pictures").mkdir()
    from PIL import Image

    for i, image in enumerate(X[:6]):
        Image.fromarray(image).save(tmp_path / "pictures" / f"{i}.png")
    there = ("--scheduler", cluster.scheduler_address)
    for command in (
        ("fit", store, "--out", tmp_path / "s.npz"),
        ("materialize", store, tmp_path / "m.zarr", "--rotation-range", "20"),
        ("verify", tmp_path / "m.zarr"),
        ("ingest", tmp_path / "pictures", tmp_path / "i.zarr"),
        ("check", tmp_path / "pictures"),
        ("check", store),
        ("preview", store, "--out", tmp_path / "p.png", "--rotation-range", "20"),
    ):
        before = finished(cluster)
        run(*command, *there)
        assert finished(cluster) > before, command
    told = run("plan", store, tmp_path / "m2.zarr", *there)
    assert "2 distributed worker(s)" in told
    here = ImageDataGenerator(rotation_range=20).materialize(store, tmp_path / "here.zarr")
    assert here.store_hash in run("info", tmp_path / "m.zarr")


def test_a_preview_is_the_same_wherever_it_is_made(cluster, store, tmp_path):
    options = ("--rotation-range", "20", "--horizontal-flip")
    run("preview", store, "--out", tmp_path / "there.png", *options, "--scheduler", cluster.scheduler_address)
    run("preview", store, "--out", tmp_path / "here.png", *options)
    assert (tmp_path / "there.png").read_bytes() == (tmp_path / "here.png").read_bytes()


def test_the_environment_goes_over_the_configuration_and_an_argument_over_both(cluster, monkeypatch):
    with dask.config.set({"daskaug.scheduler": "nonsense"}):
        with pytest.raises(ConfigError, match="nonsense"), connected():
            pass
        monkeypatch.setenv("DASKAUG_SCHEDULER", cluster.scheduler_address)
        with connected():
            assert "2 distributed worker(s)" in current_executor().description
        with connected("threads"):
            assert not current_executor().is_remote
    assert not current_executor().is_remote


def test_an_active_client_counts_where_nothing_is_said(cluster):
    with distributed.Client(cluster), connected():
        assert current_executor().is_remote


def test_processes_are_started_prepared_and_ended(store):
    expected = ImageDataGenerator(featurewise_center=True).fit(store).mean
    with connected("processes:2"):
        client = distributed.Client.current()
        assert all(address.startswith("tcp://127.0.0.1:") for address in client.nthreads())
        assert list(client.nthreads().values()) == [1, 1]
        assert all("daskaug" in told for told in client.scheduler_info(n_workers=-1)["workers"].values())
        found = ImageDataGenerator(featurewise_center=True).fit(store).mean
    assert client.status == "closed"
    assert np.array_equal(found, expected)


def test_a_scheduler_file_is_an_address(cluster, tmp_path):
    import json

    (tmp_path / "scheduler.json").write_text(json.dumps({"address": cluster.scheduler_address}), encoding="utf-8")
    with connected(str(tmp_path / "scheduler.json")):
        assert current_executor().is_remote


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ("tcp://127.0.0.1:1", "No dask scheduler answers"),
        ("nonsense", "must be the address of a dask scheduler"),
        ("slurm", "needs a number of workers, as slurm:4"),
        ("slurm:0", "needs a number of workers"),
        ("processes:3-2", "the least and the most"),
        ("ssh:", "needs the names of hosts"),
        ("tls://127.0.0.1:1", "needs certificates"),
    ],
)
def test_what_cannot_be_reached_is_told(scheduler, message):
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ConfigError, match=message),
        connected(scheduler),
    ):
        pass


@pytest.mark.parametrize(
    ("scheduler", "module", "extra"),
    [
        ("slurm:2", "dask_jobqueue", "slurm"),
        ("ssh:one,two", "asyncssh", "ssh"),
        ("kubernetes:2", "dask_kubernetes", "kubernetes"),
    ],
)
def test_a_missing_package_is_told_with_the_extra_to_install(scheduler, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install 'daskaug\[{extra}\]'"), connected(scheduler):
        pass


def test_amounts():
    assert Amount.of("4", "slurm:4") == Amount(4, 4)
    assert Amount.of("1-8", "slurm:1-8") == Amount(1, 8)
