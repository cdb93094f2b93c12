"""What workers of a cluster are asked before they work: the clusters are real, and so are the faults."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import distributed  # noqa: F401  before its configuration is changed for a while
import numpy as np
import pytest
import zarr
from PIL import Image

from daskaug import ImageDataGenerator, _version
from daskaug.errors import SourceError, StoreError
from daskaug.execution.agreement import ClusterError, differences, facts
from tests import clusters, pictures

X = pictures.tiles(16, 48)

OTHER_VERSION = """
def dask_setup(worker):
    from daskaug import _version
    _version.__version__ = "0.0.1"
"""

OTHER_PACKAGES = """
def dask_setup(worker):
    import importlib.metadata
    own = importlib.metadata.version
    versions = {"zarr": "3.0.0", "numba": "0.1.0"}
    importlib.metadata.version = lambda name: versions.get(name) if name in CHANGED else own(name)
"""


@contextlib.contextmanager
def preloaded(*modules: Path | str, number: int = 2) -> Iterator[Any]:
    """A client of a cluster whose workers load some modules first."""
    with (
        dask.config.set({"distributed.worker.preload": list(map(str, modules))}),
        clusters.workers(number) as local,
        contextlib.closing(local.get_client()) as client,
    ):
        yield client


def module(folder: Path, code: str) -> Path:
    (folder / "preloaded.py").write_text(code, encoding="utf-8")
    return folder / "preloaded.py"


@pytest.fixture
def store(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(8, 16, 16, 3))
    return tmp_path / "x.zarr"


def test_a_preloaded_worker_has_its_kernels_and_one_blas_thread_and_tells_its_versions():
    def seen():
        import sys

        is_loaded = "daskaug.kernels.images" in sys.modules and "numba" in sys.modules
        from daskaug.execution.blas import _controller

        return is_loaded, {library["num_threads"] for library in _controller().info() if library["user_api"] == "blas"}

    with preloaded("daskaug.preload", number=1) as client:
        assert list(client.run(seen).values()) == [(True, {1})]
        [told] = client.scheduler_info(n_workers=-1)["workers"].values()
    assert told["daskaug"]["versions"] == facts()["versions"]
    assert told["daskaug"]["versions"]["daskaug"] == _version.__version__


def test_a_preloaded_scheduler_says_which_worker_differs(tmp_path, caplog):
    modules = [str(module(tmp_path, OTHER_VERSION)), "daskaug.preload"]
    with (
        dask.config.set({"distributed.scheduler.preload": ["daskaug.preload"], "distributed.worker.preload": modules}),
        clusters.workers(1),
    ):
        pass
    [told] = [line.getMessage() for line in caplog.records if line.name == "daskaug" and line.levelname == "ERROR"]
    assert "differs from the scheduler: daskaug 0.0.1 instead of" in told


@pytest.mark.parametrize("tells_beforehand", [True, False])
def test_a_worker_with_another_daskaug_is_refused(tmp_path, store, tells_beforehand):
    modules = [module(tmp_path, OTHER_VERSION), *(["daskaug.preload"] * tells_beforehand)]
    made = ImageDataGenerator(featurewise_center=True)
    with preloaded(*modules, number=1) as client:
        [address] = client.nthreads()
        for work in (
            lambda: made.fit(store),
            lambda: ImageDataGenerator().materialize(store, tmp_path / "m.zarr"),
            lambda: next(ImageDataGenerator().flow(store, batch_size=4, seed=1)),
        ):
            with pytest.raises(ClusterError, match=r"0\.0\.1 instead of") as caught:
                work()
            assert address in str(caught.value)
    assert not (tmp_path / "m.zarr").exists()
    made.fit(store)


def test_other_packages_are_errors_only_where_results_may_differ(tmp_path, store):
    code = f"CHANGED = {{'zarr'}}\n{OTHER_PACKAGES}"
    with preloaded(module(tmp_path, code), number=1), pytest.warns(UserWarning, match=r"zarr 3\.0\.0 instead of"):
        ImageDataGenerator(featurewise_center=True).fit(store)
    code = f"CHANGED = {{'numba'}}\n{OTHER_PACKAGES}"
    with preloaded(module(tmp_path, code), number=1), pytest.raises(ClusterError, match="may differ in their last"):
        ImageDataGenerator(featurewise_center=True).fit(store)


def test_a_patch_release_is_no_error():
    own = facts()["versions"]
    assert differences(own, own) == ([], [])
    assert differences(own | {"numpy": "2.1.3"}, own | {"numpy": "2.1.2"}) == ([], ["numpy 2.1.3 instead of 2.1.2"])
    [serious], slight = differences(own | {"numpy": "2.1.3"}, own | {"numpy": "2.2.0"})
    assert "numpy" in serious
    assert slight == []
    assert differences(own | {"daskaug": None}, own)[0] == [f"daskaug (missing) instead of {own['daskaug']}"]


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with clusters.two_workers() as local, contextlib.closing(local.get_client()) as made:
        yield made


def test_a_relative_path_that_leads_elsewhere_on_the_workers_is_named(client, store, monkeypatch):
    monkeypatch.chdir(store.parent)
    with tempfile.TemporaryDirectory() as elsewhere:
        before = client.run(os.getcwd)
        client.run(os.chdir, elsewhere)
        try:
            for work in (
                lambda: ImageDataGenerator(featurewise_center=True).fit("x.zarr"),
                lambda: ImageDataGenerator().materialize("x.zarr", store.parent / "m.zarr"),
                lambda: next(ImageDataGenerator().flow("x.zarr", batch_size=4, seed=1)),
            ):
                with pytest.raises(SourceError, match="2 of 2 workers cannot open") as caught:
                    work()
                told = str(caught.value)
                assert "x.zarr" in told
                assert elsewhere in told
                assert str(store.parent) in told
                assert all(address in told for address in before)
            assert not (store.parent / "m.zarr").exists()
            with pytest.raises(StoreError, match=r"cannot write to m\.zarr"):
                ImageDataGenerator().materialize(store, "m.zarr")
        finally:
            client.run(os.chdir, str(store.parent))
    ImageDataGenerator().materialize(store, "m.zarr")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make its workers somebody else")
def test_files_that_one_worker_does_not_see_are_named(client, tmp_path):
    folder = tmp_path / "pictures" / "a"
    folder.mkdir(parents=True)
    for i, image in enumerate(X[:6]):
        Image.fromarray(image).save(folder / f"{i}.png")
    folder.chmod(0o700)
    blind, seeing = client.nthreads()
    client.run(os.seteuid, 65534, workers=[blind])
    flow = ImageDataGenerator().flow_from_directory(folder.parent, target_size=(16, 16), batch_size=2, seed=1)
    try:
        with pytest.raises(SourceError, match="1 of 2 workers cannot open") as caught:
            next(flow)
        assert blind in str(caught.value)
        assert seeing not in str(caught.value)
    finally:
        client.run(os.seteuid, 0)
    assert next(flow)[0].shape == (2, 16, 16, 3)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make its workers somebody else")
def test_a_target_that_workers_may_not_write_is_refused_before_any_work(client, store, tmp_path):
    """As on a network file system where the workers are another user: `nobody` owns nothing here."""
    for folder in (tmp_path, *tmp_path.parents):
        with contextlib.suppress(PermissionError):
            folder.chmod(folder.stat().st_mode | 0o055)
    client.run(os.seteuid, 65534)
    try:
        with pytest.raises(StoreError, match="2 of 2 workers cannot write to") as caught:
            ImageDataGenerator().materialize(store, tmp_path / "m.zarr")
        assert "ermission" in str(caught.value) or "may not" in str(caught.value)
        closed = tmp_path / "closed" / "x.zarr"
        zarr.create_array(closed, data=X, chunks=(8, 16, 16, 3))
        closed.parent.chmod(0o700)
        with pytest.raises(SourceError, match="2 of 2 workers cannot open"):
            ImageDataGenerator(featurewise_center=True).fit(closed)
    finally:
        client.run(os.seteuid, 0)
    ImageDataGenerator().materialize(store, tmp_path / "m.zarr")
    assert not [name for name in os.listdir(tmp_path / "m.zarr") if "trial" in name]


def test_workers_are_asked_once(client, store, monkeypatch):
    asked, run = [], client.run
    monkeypatch.setattr(client, "run", lambda *args, **options: asked.append(args) or run(*args, **options))
    for _ in range(3):
        ImageDataGenerator(featurewise_center=True).fit(store)
        list(ImageDataGenerator().flow(store, np.arange(48), batch_size=12, seed=1).one_epoch())
    assert len(asked) <= 2  # versions, and the store


def test_a_worker_that_joins_later_is_looked_at_too(tmp_path, store):
    with clusters.workers(1) as local, contextlib.closing(local.get_client()) as client:
        ImageDataGenerator(featurewise_center=True).fit(store)
        with dask.config.set({"distributed.worker.preload": [str(module(tmp_path, OTHER_VERSION))]}):
            local.scale(2)
            client.wait_for_workers(2)
        with pytest.raises(ClusterError, match=r"0\.0\.1 instead of"):
            ImageDataGenerator(featurewise_center=True).fit(store)
