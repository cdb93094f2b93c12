"""Running the recipes of cluster/ as a user does: their commands, their files, processes of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import zarr

from daskaug import ImageDataGenerator, open_materialized
from tests import pictures

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "cluster"
WAIT_SECONDS = 120
"""What anything here may take on a busy machine before a test gives up."""

SMALL = {"chunk_rows": 16, "shard_rows": 32}
"""Several shards, so that every worker has its share."""


def until(condition: Callable[[], object], what: str | Callable[[], str], seconds: float = WAIT_SECONDS) -> None:
    """Look until something holds; fails with `what`, or what that says by then, after a while."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.05)


def commands(readme: Path) -> list[list[str]]:
    """The words of each command in a page's ``sh`` fences."""
    fences = re.findall(r"^```sh\n(.*?)^```$", readme.read_text(encoding="utf-8"), re.M | re.S)
    return [shlex.split(line) for fence in fences for line in fence.splitlines()]


PATH = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
"""As after activating the environment, and with the daemons."""


def program(name: str) -> str:
    """Where a program is; a daemon such as sshd wants its whole path."""
    found = shutil.which(name, path=PATH)
    assert found is not None, f"{name} is not installed (.ci/install-debian-packages)"
    return found


def environment(**more: object) -> dict[str, str]:
    """What a user has after activating the environment: this Python's programs first, daskaug importable."""
    base = {**os.environ, "PATH": PATH, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    return base | {name: str(value) for name, value in more.items()}


class Program:
    """A process with its output in a file."""

    def __init__(self, command: Sequence[object], log: Path, env: dict[str, str]) -> None:
        self.words = [str(word) for word in command]
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(self.words, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=log.parent)

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def until_it_says(self, text: str, times: int = 1) -> None:
        until(
            lambda: self.output.count(text) >= times or not self.is_running,
            lambda: f"{self.words} did not say {text!r}:\n{self.output[-4000:]}",
        )
        assert self.output.count(text) >= times, f"{self.words} ended:\n{self.output[-4000:]}"

    def finish(self, seconds: float = WAIT_SECONDS) -> str:
        """Wait for its good end; returns its output."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = "no end"
        assert code == 0, f"{self.words}: {code} after at most {seconds} s:\n{self.output[-4000:]}"
        return self.output


@contextlib.contextmanager
def running(command: Sequence[object], log: Path, env: dict[str, str]) -> Iterator[Program]:
    """A program, which is ended afterwards if it has not by itself."""
    program = Program(command, log, env)
    try:
        yield program
    finally:
        program.process.terminate()
        try:
            program.process.wait(15)
        except subprocess.TimeoutExpired:
            program.process.kill()
            program.process.wait()


def run(command: Sequence[object], log: Path, env: dict[str, str], seconds: float = WAIT_SECONDS) -> str:
    """Run it to its good end; returns its output."""
    with running(command, log, env) as program:
        return program.finish(seconds)


def certificates(folder: Path, *options: str) -> Path:
    """What the recipe's script makes."""
    run([sys.executable, RECIPES / "tls/make_certificates.py", folder, *options], folder.parent / "log", environment())
    return folder


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What fitting and materialising came to."""

    statistics: str
    mean: bytes
    std: bytes
    store_hash: str


def outcome(target: Path) -> Outcome:
    """Of a script that saved its statistics beside its store."""
    fitted = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True).load(f"{target}.npz")
    stored = open_materialized(target)
    found = fitted.statistics
    return Outcome(found.digest, found.mean.tobytes(), found.std.tobytes(), stored.store_hash)


def make_source(folder: Path) -> Path:
    """Real images as a Zarr array."""
    zarr.create_array(folder / "x.zarr", data=pictures.tiles(32, 192), chunks=(16, 32, 32, 3))
    return folder / "x.zarr"


@functools.cache
def expected(source: Path, epochs: int = 1) -> Outcome:
    """The same on threads of this process, without dask."""
    generator = ImageDataGenerator(featurewise_center=True, rotation_range=20, horizontal_flip=True).fit(source)
    target = source.parent / f"threads-{epochs}.zarr"
    generator.save(f"{target}.npz")
    generator.materialize(source, target, seed=1, epochs=epochs, **SMALL)
    return outcome(target)


def options(epochs: int = 1) -> list[str]:
    """The last words of a recipe's command."""
    return [f"{name}={value}" for name, value in ({"epochs": epochs} | SMALL).items()]


def shards_written(target: Path) -> int:
    """Commit records of a store, while it grows."""
    return sum(path.is_file() for path in (target / "shard_digest" / "c").rglob("*"))
