"""A scheduler and workers, on hosts of their own or on this one, started by the commands of the recipes."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.cluster import recipes


class Place(Protocol):
    """Where a process can be started: a :class:`~tests.hosts.network.Host`, or this machine."""

    @property
    def name(self) -> str:
        """What is run there is called so."""

    @property
    def address(self) -> str:
        """Its IP address."""

    def command(self, words: Sequence[object]) -> list[object]:
        """A command as it is to be run in order to run there."""


@dataclasses.dataclass(frozen=True)
class ThisMachine:
    """See :class:`Place`."""

    name: str
    address: str = "127.0.0.1"

    def command(self, words: Sequence[object]) -> list[object]:
        """See :class:`Place`."""
        return [*words]


class Cluster:
    """See :func:`cluster`.

    Attributes
    ----------
    address : str
        Of the scheduler.
    scheduler : Program
    workers : dict of str to Program
        Or their nannies; by the names of their places.
    """

    def __init__(
        self,
        scheduler: Place,
        folder: Path,
        env: Mapping[str, str],
        stack: contextlib.ExitStack,
        nannies: Collection[str] = (),
    ) -> None:
        self._folder, self._env, self._stack, self._nannies = folder, dict(env), stack, nannies
        self.workers: dict[str, recipes.Program] = {}
        self._places: dict[str, Place] = {}
        self._started = 0
        self._is_over = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        words = ["scheduler", "--host", scheduler.address, "--port", 0, "--no-dashboard"]
        self.scheduler = self._run(scheduler, words, folder / "scheduler.log")
        self.scheduler.until_it_says("Scheduler at:")
        found = re.search(r"Scheduler at:\s*(tcp://\S+)", self.scheduler.output)
        assert found is not None
        self.address = found[1]
        self._supervisor.start()

    def add_worker(self, place: Place) -> None:
        """Begin to start one."""
        self._started += 1
        folder = self._folder / f"{place.name}-{self._started}"
        folder.mkdir()
        words = ["worker", self.address, "--host", place.address, "--name", folder.name, "--nthreads", 1]
        words += ["--memory-limit", "2GB", "--no-dashboard", "--local-directory", folder]
        words += ["--preload", "daskaug.preload", "--nanny" if place.name in self._nannies else "--no-nanny"]
        self._places[place.name] = place
        self.workers[place.name] = self._run(place, words, folder / "log")

    def _supervise(self) -> None:
        """What a batch system does: start workers anew that have ended."""
        while not self._is_over.wait(0.2):
            for name, program in list(self.workers.items()):
                if not program.is_running:
                    self.add_worker(self._places[name])

    def kill(self) -> None:
        """End everything at once, with no goodbyes over a network that may be slow: workers end with their nannies."""
        self._is_over.set()
        self._supervisor.join()
        for program in (self.scheduler, *self.workers.values()):
            program.process.kill()

    def said(self) -> str:
        """The ends of the logs of all that were started."""
        return "\n".join(log.read_text(errors="replace")[-3000:] for log in sorted(self._folder.rglob("*log")))

    def _run(self, place: Place, words: Sequence[object], log: Path) -> recipes.Program:
        command = place.command([sys.executable, "-m", "dask", *words])
        return self._stack.enter_context(recipes.running(command, log, self._env))


@contextlib.contextmanager
def cluster(
    scheduler: Place, workers: Sequence[Place], folder: Path, *, nannies: Collection[str] = (), **settings: object
) -> Iterator[Cluster]:
    """A scheduler, and workers of one thread each, which are started anew when they end.

    Parameters
    ----------
    scheduler : Place
    workers : sequence of Place
        Of different names.
    folder : Path
        Exists; logs and scratch files go there.
    nannies : collection of str
        Names of places where a nanny looks after the worker.
    **settings
        Variables of their environment.
    """
    with contextlib.ExitStack() as stack:
        made = Cluster(scheduler, folder, recipes.environment(**settings), stack, nannies)
        try:
            for place in workers:
                made.add_worker(place)
            yield made
        finally:  # before the stack has each of them say goodbye, and the supervisor start others
            made.kill()
