"""Working on a cluster for a while: one that somebody has started, or one that is started for the occasion.

There is no cluster manager here. What starts workers is distributed itself, dask-jobqueue or dask-kubernetes, each with
its own part of dask's configuration.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import logging
import os
import re
from collections.abc import Iterator
from typing import Any

from daskaug.errors import ConfigError

log = logging.getLogger("daskaug")

VARIABLE = "DASKAUG_SCHEDULER"
"""Environment variable that counts where a command is given no ``--scheduler``."""

SETTING = "daskaug.scheduler"
"""The same in dask's configuration; the environment variable goes over it."""

PRELOAD = "daskaug.preload"

RECIPES = ("threads", "processes[:N]", "ssh:HOST,HOST,...", "slurm:N", "kubernetes:N")
"""What may stand for an address. N is a number of workers (of jobs for Slurm), or LEAST-MOST for as many as there is
work for."""

_ADDRESS = re.compile(r"^[\w.+-]+://.+|^(\[[0-9a-fA-F:]+\]|[\w.-]+):\d+$")
_AMOUNT = re.compile(r"^(\d+)(?:-(\d+))?$")


@dataclasses.dataclass(frozen=True)
class Amount:
    """How many workers, or jobs.

    Attributes
    ----------
    least, most : int
        From 1: without a worker nothing can be planned. Equal for a fixed number.
    """

    least: int
    most: int

    @classmethod
    def of(cls, written: str, recipe: str) -> Amount:
        """From ``4`` or ``1-8``.

        Raises
        ------
        ConfigError
        """
        found = _AMOUNT.match(written)
        least, most = (0, 0) if found is None else (int(found[1]), int(found[2] or found[1]))
        if not 1 <= least <= most:
            raise ConfigError(
                f"`--scheduler {recipe}` needs a number of workers, as {recipe.partition(':')[0]}:4, or the least and "
                f"the most, as {recipe.partition(':')[0]}:1-8. Found {written!r}."
            )
        return cls(least, most)


def chosen(scheduler: str | None) -> str | None:
    """What was given, or what the environment or dask's configuration says; None where nothing does."""
    import dask.config

    found = scheduler or os.environ.get(VARIABLE) or dask.config.get(SETTING, None)
    return None if found is None else str(found)


@contextlib.contextmanager
def connected(scheduler: str | None = None) -> Iterator[Any]:
    """Make the workers of a cluster the ones that tasks run on.

    Parameters
    ----------
    scheduler : str, optional
        Address of a scheduler (``tcp://host:8786``; ``tls://host:8786`` with dask's own TLS configuration), the file
        that ``dask scheduler --scheduler-file`` wrote (``....json``), or one of :data:`RECIPES`. By default
        ``DASKAUG_SCHEDULER``, then ``daskaug.scheduler`` in dask's configuration; where neither says anything, nothing
        is changed: an active client counts, or the threads of this process.

    Yields
    ------
    distributed.Client or None
        None where nothing is changed.

    Raises
    ------
    ConfigError
        Where no scheduler answers, for an unknown recipe, and where the package that starts such a cluster is missing.
    """
    wanted = chosen(scheduler)
    if wanted is None or wanted == "threads":
        yield None
        return
    name, _, detail = wanted.partition(":")
    with contextlib.ExitStack() as stack:
        if _ADDRESS.match(wanted) and name not in _STARTERS:
            client = _client(address=wanted)
        elif wanted.endswith(".json"):
            client = _client(scheduler_file=wanted)
        elif name in _STARTERS:
            client = _client(address=stack.enter_context(_started(name, detail, wanted)))
        else:
            raise ConfigError(
                f"`--scheduler` must be the address of a dask scheduler, as tcp://host:8786, its scheduler file, or "
                f"one of {', '.join(RECIPES)}. Received: {wanted!r}."
            )
        stack.enter_context(client)
        _wait_for_a_worker(client, wanted)
        yield client


def _client(**where: Any) -> Any:
    import distributed

    told = next(iter(where.values()))
    try:
        return distributed.Client(**where)
    except (OSError, ValueError) as error:
        raise ConfigError(f"No dask scheduler answers at {told!r}: {error}. Check the address.") from error
    except TypeError as error:
        if "TLS" not in str(error):
            raise
        raise ConfigError(
            f"{told!r} needs certificates, and dask's configuration names none: {error}. Set "
            "distributed.comm.tls.ca-file, distributed.comm.tls.client.cert and .key, in a file in ~/.config/dask or "
            "as DASK_DISTRIBUTED__COMM__TLS__CA_FILE and so on."
        ) from error


def _wait_for_a_worker(client: Any, wanted: str) -> None:
    """Nothing can be planned before there is one. A batch system may take its time, so there is no limit."""
    if not client.nthreads():
        log.warning("%s has no worker yet; waiting for the first one (Ctrl-C gives up)", wanted)
        client.wait_for_workers(1)


# --- recipes -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _started(name: str, detail: str, recipe: str) -> Iterator[Any]:
    """A cluster that lives as long as the command."""
    import dask.config
    import distributed  # noqa: F401  whose defaults would be forgotten with the setting, if it came within

    preloads = list(dask.config.get("distributed.worker.preload", []))
    # Workers take over the configuration of who starts them, where that starts them itself.
    setting = dask.config.set({"distributed.worker.preload": [*preloads, *({PRELOAD} - {*preloads})]})
    with setting, _make(name, detail, recipe) as cluster:
        yield cluster


def _make(name: str, detail: str, recipe: str) -> Any:
    try:
        return _STARTERS[name](detail, recipe)
    except ImportError as error:
        package, extra = _PACKAGES[name]
        raise ConfigError(
            f"`--scheduler {recipe}` starts workers with {package}, which cannot be imported ({error}). Install it: "
            f"pip install 'daskaug[{extra}]'."
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"`--scheduler {recipe}` could not start a cluster: {' '.join(str(error).split())} See the part of dask's "
            "configuration for it."
        ) from error


def _processes(detail: str, recipe: str) -> Any:
    import distributed

    from daskaug.execution.executor import thread_count

    amount = Amount.of(detail, recipe) if detail else Amount(thread_count(), thread_count())
    cluster = distributed.LocalCluster(
        n_workers=amount.least, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )
    if amount.most > amount.least:
        cluster.adapt(minimum=amount.least, maximum=amount.most)
    return cluster


def _ssh(detail: str, recipe: str) -> Any:
    import dask.config

    hosts = [host for host in detail.split(",") if host]
    if not hosts:
        raise ConfigError(
            f"`--scheduler {recipe}` needs the names of hosts, as ssh:one,two. The scheduler runs on the first one, "
            "and workers on the others, or on all that are named twice."
        )
    importlib.import_module("asyncssh")  # distributed needs it, and would say so only later
    from distributed import SSHCluster

    return SSHCluster(hosts if len(hosts) > 1 else hosts * 2, **dask.config.get("daskaug.ssh", {}))


def _slurm(detail: str, recipe: str) -> Any:
    amount = Amount.of(detail, recipe)
    cluster = importlib.import_module("dask_jobqueue").SLURMCluster()
    # Also for a fixed number: a job that is cancelled is replaced by an adaptive cluster only.
    cluster.adapt(minimum_jobs=amount.least, maximum_jobs=amount.most)
    return cluster


def _kubernetes(detail: str, recipe: str) -> Any:
    amount = Amount.of(detail, recipe)
    cluster = importlib.import_module("dask_kubernetes.operator").KubeCluster()
    if amount.most > amount.least:
        cluster.adapt(minimum=amount.least, maximum=amount.most)
    else:
        cluster.scale(amount.most)
    return cluster


_STARTERS = {"processes": _processes, "ssh": _ssh, "slurm": _slurm, "kubernetes": _kubernetes}
_PACKAGES = {
    "processes": ("distributed", "dev"),
    "ssh": ("asyncssh", "ssh"),
    "slurm": ("dask-jobqueue", "slurm"),
    "kubernetes": ("dask-kubernetes", "kubernetes"),
}
