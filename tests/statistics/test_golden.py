"""Statistics of a photograph, pinned: the same bits on every machine and for every instruction set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data

import daskaug
from daskaug.statistics import StatisticsRecipe

GOLDEN = {
    "uint8": "f86b705eb9707c8b03083259887323ae808eee9c067ea4060ac3fe9694f46fbb",
    "float32": "e3e3ebc933f9add958388fd144f17fc1afaa40568765b814dec0715919b4e777",
    "float64": "adc6a09296e0a8382d60996cd4e4f10a0882f134c7c296d7098d021e64688659",
}
EXTENSIONS = np.show_config("dicts")["SIMD Extensions"].get("found", [])


def digests() -> dict[str, str]:
    picture = skimage.data.astronaut()[:504, :504]
    tiles = picture.reshape(9, 56, 9, 56, 3).swapaxes(1, 2).reshape(81, 56, 56, 3)
    found = {}
    for dtype in GOLDEN:
        images = tiles if dtype == "uint8" else np.sqrt(tiles.astype(np.float64)).astype(dtype)
        recipe = StatisticsRecipe((56, 56, 3), "channels_last", dtype)
        found[dtype] = recipe.finalise(recipe.partial(images, 0), rescale=1 / 16).digest
    return found


def test_golden():
    assert digests() == GOLDEN


@pytest.mark.parametrize(
    "variables",
    [{"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, {"NPY_DISABLE_CPU_FEATURES": " ".join(EXTENSIONS)}],
    ids=["numba without vector extensions", "NumPy without vector extensions"],
)
def test_golden_on_a_lesser_cpu(variables):
    script = f"import runpy; print(runpy.run_path({__file__!r})['digests']())"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **variables},
        cwd=Path(daskaug.__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == str(GOLDEN)
