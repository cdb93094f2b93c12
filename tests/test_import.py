"""`import daskaug` is silent and quick: what it loads, how long it takes, and what it leaves alone."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import daskaug

IMPORT = "import daskaug"
RESOLVE = "import daskaug; [getattr(daskaug, name) for name in daskaug.__all__]"

# What somebody who only wants a public name must never pay for.
FRAMEWORKS = {"bokeh", "jax", "keras", "matplotlib", "numba", "sklearn", "skimage", "tensorflow", "torch"}
# What the package itself uses, later.
OWN = {"dask", "distributed", "numpy", "pandas", "PIL", "scipy", "typer", "zarr"}

OBSERVED = """
import json, os, signal, sys, threading, warnings
import numpy as np
def seen():
    return {{
        "signal handlers": [repr(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "threads": [len(threading.enumerate()), len(os.listdir("/proc/self/task"))],
        "environment": sorted(os.environ.items()),
        "working directory": os.getcwd(),
        "warning filters": repr(warnings.filters),
        "NumPy's global generator": repr(np.random.get_state()),
        "NumPy's error state": np.geterr(),
        "exception hook": repr(sys.excepthook),
    }}
before = seen()
{statement}
after = seen()
print(json.dumps([before, after]))
"""

TIMED = """
import time
import numpy
start = time.process_time()
import daskaug
print(time.process_time() - start)
"""


def run(code: str, home: Path) -> str:
    """Standard output of a fresh interpreter, at home in an empty folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "DASK", "KERAS_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**kept, "HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def loaded_by(statement: str, home: Path) -> set[str]:
    """Top-level names of everything that is imported after the statement."""
    modules = json.loads(run(f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))", home))
    assert "daskaug" in modules
    return {name.partition(".")[0] for name in modules}


def test_import_loads_nothing_heavy(tmp_path: Path) -> None:
    assert loaded_by(IMPORT, tmp_path) & (FRAMEWORKS | OWN) == set()


def test_generator_loads_dask_and_zarr_only_when_it_needs_them(tmp_path: Path) -> None:
    loaded = loaded_by("from daskaug import ImageDataGenerator", tmp_path)
    assert loaded & (FRAMEWORKS | {"dask", "distributed", "pandas", "typer", "zarr"}) == set()


def test_public_names_load_no_framework_and_compile_nothing(tmp_path: Path) -> None:
    assert loaded_by(RESOLVE, tmp_path) & FRAMEWORKS == set()


@pytest.mark.parametrize("statement", [IMPORT, RESOLVE])
def test_import_has_no_side_effect(statement: str, tmp_path: Path) -> None:
    before, after = json.loads(run(OBSERVED.format(statement=statement), tmp_path))
    if statement == RESOLVE:
        # zarr, which reads and writes our stores, brings numcodecs, and that adds a filter for its own warning.
        del before["warning filters"], after["warning filters"]
    assert after == before
    assert list(tmp_path.iterdir()) == []


def test_import_takes_under_half_a_second_beyond_numpy(tmp_path: Path) -> None:
    # CPU seconds: on shared cores the clock on the wall measures the neighbours.
    seconds = [float(run(TIMED, tmp_path)) for _ in range(5)]
    assert statistics.median(seconds) < 0.5, seconds


def test_public_names_are_listed_and_found() -> None:
    assert set(daskaug.__all__) <= set(dir(daskaug))
    for name in daskaug.__all__:
        assert getattr(daskaug, name) is getattr(daskaug, name)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'ImageDataGenerater'.*ImageDataGenerator"):
        _ = daskaug.ImageDataGenerater
    assert not hasattr(daskaug, "ImageDataGenerater")
