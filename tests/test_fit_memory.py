"""What a fit takes of memory: as much as it was allowed and said, whatever the size of the data.

Every fit runs in a process of its own, and the operating system says what it had at most.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tests import pictures

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak of a process")

MEASURED = """
import json, os, re, sys
from pathlib import Path
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # what a budget is enough for depends on the threads
from daskaug import ImageDataGenerator

def memory(name):
    # Not getrusage: its peak is at least what the parent had when it started this process.
    return 1024 * int(re.search(name + r":\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

small, store, options, fit = json.loads(sys.argv[1])
made = ImageDataGenerator(featurewise_center=True, **options)
made.fit(small, **fit)  # what is loaded once and stays: libraries, compiled kernels, threads
before = memory("VmRSS")
plan = made.plan_fit(store, **{name: value for name, value in fit.items() if name != "seed"})
made.fit(store, **fit)
found = {"grown": memory("VmHWM") - before, "peak": memory("VmHWM")}
found |= {"images": made.statistics.samples, "blocks": plan.memory.nbytes, "stated": plan.memory.peak_nbytes}
if plan.whitening is not None:
    zca = plan.whitening
    found["whitening"] = max(plan.memory.nbytes + zca.memory_of_first_pass, zca.memory_of_later_passes)
print(json.dumps(found))
"""


def measure(small: Path, store: Path, options: dict[str, Any], *, returned: bool = True, **fit: Any) -> dict[str, int]:
    """Bytes by which a process grows while it fits on a store, its peak, what the plan says, and the images seen.

    With `returned` the C library gives memory back as soon as it is freed, as dask has it do on workers, so that the
    peak is what was in use at once. Without, it keeps some for the next time.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, json.dumps([str(small), str(store), options, fit])],
        env=environment | ({"MALLOC_TRIM_THRESHOLD_": "65536"} if returned else {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def write_store(path: Path, images: np.ndarray, n: int, chunk: int) -> Path:
    """A Zarr array of n images: the given ones again and again, but on the disk only once."""
    array = zarr.create_array(path, shape=(n, *images.shape[1:]), chunks=(chunk, *images.shape[1:]), dtype=images.dtype)
    written = len(images) // chunk
    array[: written * chunk] = images[: written * chunk]
    for number in range(written, -(-n // chunk)):
        folder = path / f"c/{number}/0/0"
        folder.mkdir(parents=True)
        os.link(path / f"c/{number % written}/0/0/0", folder / "0")
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of photographs: a tiny one, two of one kind and of different size, and one for each route of whitening."""
    folder = tmp_path_factory.mktemp("stores")
    tiles = np.concatenate([pictures.tiles(64, 200)] * 2)
    made = {
        "tiny": (pictures.tiles(8, 600), 600, 600),
        "200 MB": (tiles, 16_000, 64),
        "800 MB": (tiles, 64_000, 64),
        "features": (pictures.tiles(22, 1024), 6144, 256),
        "samples": (tiles, 1200, 32),
        "randomized": (tiles, 4800, 32),
    }
    return {name: write_store(folder / f"{name}.zarr", *what) for name, what in made.items()}


# --- mean and std ------------------------------------------------------------------------------------------------

BUDGET = 64_000_000
MOMENTS = {"featurewise_std_normalization": True}


def test_the_budget_is_kept_whatever_the_size_of_the_data(stores):
    smaller, larger = (
        measure(stores["tiny"], stores[name], MOMENTS, memory_budget=BUDGET) for name in ("200 MB", "800 MB")
    )
    assert (smaller["images"], larger["images"]) == (16_000, 64_000)
    assert smaller["blocks"] == larger["blocks"] <= BUDGET
    assert max(smaller["grown"], larger["grown"]) <= 1.1 * BUDGET
    assert larger["grown"] - smaller["grown"] < 10_000_000


@pytest.mark.parametrize(
    ("options", "fit"),
    [({"rotation_range": 20}, {"augment": True, "seed": 1}), ({"samplewise_center": True}, {})],
    ids=["augmented", "samplewise"],
)
def test_the_budget_is_for_images_that_are_transformed_too(stores, options, fit):
    found = measure(stores["tiny"], stores["200 MB"], MOMENTS | options, memory_budget=BUDGET, **fit)
    assert found["blocks"] <= BUDGET
    assert found["grown"] <= 1.1 * BUDGET


@pytest.mark.parametrize("name", ["200 MB", "800 MB"])
def test_the_stated_peak_is_a_bound_and_not_far_off(stores, name):
    """Also where the C library keeps what was freed, as it does by default."""
    found = measure(stores["tiny"], stores[name], MOMENTS, returned=False, memory_budget=BUDGET)
    assert found["peak"] <= found["stated"] <= 2 * found["peak"]


# --- whitening ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["features", "samples", "randomized"])
def test_whitening_keeps_to_its_budget(stores, route):
    budget = 100_000_000
    components = {"zca_components": 64} if route == "randomized" else {}
    found = measure(
        stores["tiny"], stores[route], {"zca_whitening": True}, memory_budget=budget, zca_route=route, **components
    )
    assert found["whitening"] <= budget
    assert found["grown"] <= 1.2 * budget  # the allocator keeps some of what it got back
    # Nor is it so far off that fits are refused which would do.
    assert found["whitening"] <= 3 * found["grown"]
