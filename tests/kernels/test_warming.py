"""What has been warmed is neither compiled nor loaded again, and many processes can do so at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dask
import distributed
import pytest
from typer.testing import CliRunner

from daskaug.cli import app

ROOT = Path(__file__).parents[2]

# Prints how many kernels were compiled by a whole life of a generator, after warming.
PROGRAM = """
import numpy as np
from numba.core import event
from daskaug import ImageDataGenerator
from daskaug.kernels.warming import warm

def live():
    x = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    generator = ImageDataGenerator(
        rotation_range=20, channel_shift_range=9, horizontal_flip=True, featurewise_center=True
    ).fit(x)
    return next(generator.flow(x, batch_size=4, seed=1)).sum()

names = [name for name, _ in warm()]
with event.install_recorder("numba:compile") as recorder:
    total = live()
print(len(recorder.buffer), len(names), total)
"""


def start(cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "DASKAUG_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.long
def test_four_processes_at_once_on_an_empty_cache(tmp_path: Path) -> None:
    together = [start(tmp_path) for _ in range(4)]
    results = {process.communicate()[0] for process in together}
    assert [process.returncode for process in together] == [0] * 4
    assert len(results) == 1
    compiled, steps, _ = results.pop().split()
    assert compiled == "0"
    assert int(steps) >= 5


def loaded() -> bool:
    from daskaug.kernels import images

    return images._transform_kernel.cache_info().currsize > 0


def test_a_worker_with_the_preload_is_warm_before_its_first_task(tmp_path: Path) -> None:
    local = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "local_directory": str(tmp_path)}
    for preload, expected in (([], False), (["daskaug.preload"], True)):
        with (
            dask.config.set({"distributed.worker.preload": preload}),
            distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=True, **local) as cluster,
            distributed.Client(cluster) as client,
        ):
            assert client.submit(loaded).result(timeout=60) is expected


def test_the_command_names_what_it_has_compiled_and_where_it_is() -> None:
    from daskaug.kernels.compile import cache_directory

    shown = CliRunner().invoke(app, ["warmup"])
    assert shown.exit_code == 0
    assert all(name in shown.output for name in ("random numbers", "matrices", "images", "statistics"))
    assert str(cache_directory()) in shown.output
