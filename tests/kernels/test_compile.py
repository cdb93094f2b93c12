from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from daskaug.kernels import compile as compiling
from daskaug.kernels.images import round_to_integer

# Prints whether the kernel came from the disk, and what it computes.
PROGRAM = """
import numpy as np
from daskaug.kernels import rounding
found = rounding.round_to_integer(np.array([0.5, 1.5, 300.0]), np.uint8).tolist()
kernel = rounding._rounding_kernel(np.dtype("float64"), np.dtype("uint8"))
print(sum(kernel.stats.cache_hits.values()), found)
"""


def start(cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "DASKAUG_CACHE_DIR": str(cache)}
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=root, env=environment, stdout=subprocess.PIPE, text=True
    )


def test_processes_that_start_together_share_the_cache(tmp_path: Path) -> None:
    together = [start(tmp_path) for _ in range(2)]
    assert {process.communicate()[0].split(" ", 1)[1] for process in together} == {"[0, 2, 255]\n"}
    later = start(tmp_path)
    assert later.communicate()[0] == "1 [0, 2, 255]\n"
    assert [process.returncode for process in (*together, later)] == [0, 0, 0]


def test_a_folder_that_cannot_be_used_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("DASKAUG_CACHE_DIR", str(blocked))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "second"))
    assert compiling.cache_directory.__wrapped__().parent == tmp_path / "second"


def test_compiling_leaves_the_settings_of_numba_alone() -> None:
    from numba.core import config

    before = config.SLP_VECTORIZE
    round_to_integer(np.zeros(3, np.float32), np.uint8)
    assert before == config.SLP_VECTORIZE == 0
