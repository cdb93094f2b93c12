"""A user's function that takes long, and leaves traces: how else could work that stopped be told from finished work?"""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import numpy as np

from tests.faults.runs import WAIT_SECONDS

STEP = 0.05
"""Seconds that it takes for an image."""

QUIET = 20 * STEP
"""Seconds without a trace after which nobody is at work any more."""


@dataclasses.dataclass(frozen=True)
class Slow:
    """Returns the image, and adds the time to a file of its process. Once there is a file `quick`, it does not wait."""

    folder: Path

    def __call__(self, image: np.ndarray) -> np.ndarray:
        with open(self.folder / f"{os.getpid()}.trace", "a", encoding="ascii") as file:
            file.write(f"{time.time()!r}\n")
        if not (self.folder / "quick").exists():
            time.sleep(STEP)
        return image

    def traces(self) -> list[float]:
        """When it began with an image, in all processes."""
        return sorted(float(line) for path in self.folder.glob("*.trace") for line in path.read_text().splitlines())

    def until_at_work(self, images: int) -> None:
        """Wait until it has begun with so many images."""
        end = time.monotonic() + WAIT_SECONDS
        while len(self.traces()) < images:
            assert time.monotonic() < end, "it did not begin"
            time.sleep(STEP / 2)

    def until_quiet(self) -> float:
        """Wait until nobody has been at work for a while; when that began."""
        end = time.monotonic() + WAIT_SECONDS
        while time.time() - self.traces()[-1] < QUIET:
            assert time.monotonic() < end, "it went on and on"
            time.sleep(STEP)
        return self.traces()[-1]

    def be_quick(self) -> None:
        """From now on it takes no time."""
        (self.folder / "quick").touch()

    def be_slow(self) -> None:
        """Take time again, and forget the traces."""
        for path in self.folder.iterdir():
            path.unlink()
