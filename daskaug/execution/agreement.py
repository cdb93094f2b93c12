"""Whether the workers of a cluster can do what they will be asked to: versions, and what they have to open.

Asked once per client, worker and thing to open. It is the client that asks, of all workers at the same time; a worker
or a scheduler with :mod:`daskaug.preload` tells its versions beforehand.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from daskaug.errors import DaskaugError, SourceError, StoreError
from daskaug.execution import interrupts
from daskaug.sources.base import BlockReader

log = logging.getLogger("daskaug")

FACTS = "daskaug"
"""Under which a preloaded worker tells the scheduler what :func:`facts` says."""

SECONDS = 30.0
"""How long a worker may take to open something: a network file system that is gone would hold it for ever."""

_MEANINGS = {
    "daskaug": "pixels, statistics and stores may differ",
    "numpy": "fitted numbers and pixels may differ in their last bits",
    "numba": "it compiles the arithmetic: pixels may differ in their last bits",
    "zarr": "the encoded bytes of stores may differ; what they decode to does not",
    "dask": "scheduler and workers may not understand one another",
}
_DECIDE_BITS = ("numpy", "numba")
"""Packages whose releases may round otherwise, by major and minor version."""


class ClusterError(DaskaugError, RuntimeError):
    """The workers of a cluster cannot do the work, or would not all do the same."""


@dataclasses.dataclass
class _Known:
    """What has been found out about the workers of a client.

    Attributes
    ----------
    agreeing : set of str
        Addresses of workers whose versions are the client's, or near enough.
    is_scheduler_known : bool
    opened : dict of str to set of str
        By what was opened: the workers that could.
    """

    agreeing: set[str] = dataclasses.field(default_factory=set)
    is_scheduler_known: bool = False
    opened: dict[str, set[str]] = dataclasses.field(default_factory=dict)


_known: weakref.WeakKeyDictionary[Any, _Known] = weakref.WeakKeyDictionary()


def _teller(names: tuple[str, ...]) -> Callable[[], dict[str, Any]]:
    """What tells the facts of the process that calls it.

    A function inside of another one travels as its code, not by its name: it also works where daskaug is missing, or is
    a version that has no such function.
    """

    def tell() -> dict[str, Any]:
        import importlib
        import importlib.metadata
        import os
        import socket

        versions: dict[str, str | None] = {}
        for name in names:
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                versions[name] = None
        try:  # that of the code which is loaded, whatever is installed
            versions["daskaug"] = importlib.import_module("daskaug._version").__version__
        except ImportError:
            versions["daskaug"] = None
        return {"versions": versions, "host": socket.gethostname(), "folder": os.getcwd()}

    return tell


def facts() -> dict[str, Any]:
    """Versions of the packages that matter, host name and working folder of this process."""
    return _teller(tuple(_MEANINGS))()


def differences(there: Mapping[str, str | None], here: Mapping[str, str | None]) -> tuple[list[str], list[str]]:
    """How versions differ.

    Parameters
    ----------
    there, here : mapping of str to str or None
        Versions by package; None where it is missing.

    Returns
    -------
    errors, warnings : lists of str
        Differences with which results may differ, and others.
    """
    serious, slight = [], []
    for name, meaning in _MEANINGS.items():
        found, own = there.get(name), here.get(name)
        if found == own:
            continue
        told = f"{name} {found or '(missing)'} instead of {own or '(missing)'}"
        if found is None or name == "daskaug" or (name in _DECIDE_BITS and _series(found) != _series(own)):
            serious.append(f"{told} ({meaning})" if found else told)
        else:
            slight.append(f"{told} ({meaning})" if name not in _DECIDE_BITS else told)
    return serious, slight


def _series(version: str | None) -> list[str]:
    return (version or "").split(".")[:2]


def check_versions(client: Any, workers: Iterable[str]) -> None:
    """Look at workers that have not been looked at, and at the scheduler the first time.

    Parameters
    ----------
    client : distributed.Client
    workers : iterable of str
        Addresses.

    Raises
    ------
    ClusterError
        Where daskaug is missing or another version, and where NumPy or numba is another series, so that results would
        depend on which worker does what. Other differences are warnings.
    """
    known = _known.setdefault(client, _Known())
    new = set(workers) - known.agreeing
    if not new and known.is_scheduler_known:
        return
    tell, own = _teller(tuple(_MEANINGS)), facts()["versions"]
    found: dict[str, Any] = {}
    if not known.is_scheduler_known:
        try:
            found["the scheduler"] = client.run_on_scheduler(tell)
        except Exception as error:  # noqa: BLE001  it may refuse to run anything, which is no reason not to work
            log.debug("The scheduler did not tell its versions: %s", error)
    if new:
        told = client.scheduler_info(n_workers=-1)["workers"]
        found |= {address: told[address][FACTS] for address in new if FACTS in told.get(address, {})}
        silent = sorted(new - found.keys())
        if silent:
            found |= client.run(tell, workers=silent, on_error="return")
    _judge(found, own)
    if new:
        interrupts.outlive(client, new)
    known.agreeing |= new
    known.is_scheduler_known = True


def _judge(found: Mapping[str, Any], own: Mapping[str, str | None]) -> None:
    serious: dict[str, list[str]] = {}
    slight: dict[str, list[str]] = {}
    for who, told in found.items():
        if isinstance(told, OSError):
            continue  # it has left meanwhile
        if isinstance(told, BaseException):
            serious.setdefault(f"cannot say what it has: {told!r}", []).append(who)
            continue
        errors, others = differences(told["versions"], own)
        where = who if who == "the scheduler" else f"{who} on {told['host']}"
        if errors:
            serious.setdefault(", ".join(errors), []).append(where)
        if others:
            slight.setdefault(", ".join(others), []).append(where)
    if slight:
        warnings.warn(f"Versions differ from this process': {_listed(slight)}.", UserWarning, stacklevel=4)
    if serious:
        raise ClusterError(
            f"This process and its cluster do not have the same versions: {_listed(serious)}. Install the same ones "
            "everywhere, and start scheduler and workers anew."
        )


def _listed(findings: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{_some(who)}: {what}" for what, who in findings.items())


def _some(who: list[str]) -> str:
    shown = ", ".join(sorted(who)[:3])
    return shown if len(who) <= 3 else f"{shown} and {len(who) - 3:,} more"


# --- opening -----------------------------------------------------------------------------------------------------


def check_opening(client: Any, probes: Iterable[BlockReader]) -> None:
    """Look whether every worker can open something.

    Parameters
    ----------
    client : distributed.Client
    probes : iterable of BlockReader
        Small; each fails to load where the thing cannot be opened. Its `repr` says what that is.

    Raises
    ------
    ClusterError
        See :func:`check_versions`.
    SourceError
        Where workers cannot open it; says which ones, and what they found.
    StoreError
        Where that is what loading raises.
    """
    workers = set(client.nthreads())
    check_versions(client, workers)
    opened = _known[client].opened
    for probe in probes:
        done = opened.setdefault(repr(probe), set())
        new = sorted(workers - done)
        if new:
            _judge_opening(probe, client.run(_opening, probe, workers=new, on_error="return"), len(workers))
            done.update(new)


async def _opening(probe: BlockReader) -> dict[str, Any]:
    """On a worker: what went wrong, and what there is instead."""
    import asyncio

    told: dict[str, Any] = facts() | {"error": None}
    try:
        # Not in the worker's event loop, which has to go on answering the scheduler.
        await asyncio.wait_for(asyncio.to_thread(probe.load), SECONDS)
    except TimeoutError:
        told |= {"error": f"no answer within {SECONDS:.0f} s", "is_store": False}
    except Exception as error:  # noqa: BLE001  whatever it is, the client has to tell it
        told |= {"error": " ".join(str(error).split()) or repr(error), "is_store": isinstance(error, StoreError)}
        told["nearest"] = _nearest(repr(probe))
    return told


def _nearest(address: str) -> str:
    """Of a path: the folder that is there and in which the next part is missing; empty where that says nothing."""
    if "://" in address and not address.startswith("file://"):
        return ""
    path = os.path.abspath(address.removeprefix("file://"))
    if os.path.exists(path):
        return ""
    missing = path
    while not os.path.exists(os.path.dirname(missing)):
        missing = os.path.dirname(missing)
    return f"{os.path.dirname(missing)} is there, and has no {os.path.basename(missing)}"


def _judge_opening(probe: BlockReader, found: Mapping[str, Any], workers: int) -> None:
    failed: dict[str, list[str]] = {}
    is_store = False
    for who, told in found.items():
        if isinstance(told, OSError):
            continue  # it has left meanwhile
        if isinstance(told, BaseException):
            failed.setdefault(repr(told), []).append(who)
        elif told["error"] is not None:
            is_store |= told["is_store"]
            what = "; ".join(filter(None, (told["error"], told.get("nearest"))))
            failed.setdefault(what, []).append(f"{who} (on {told['host']}, in {told['folder']})")
    if not failed:
        return
    number = sum(map(len, failed.values()))
    kind = StoreError if is_store else SourceError
    verb = "write to" if is_store else "open"
    own = facts()
    raise kind(
        f"{number:,} of {workers:,} workers cannot {verb} {probe!r}, which this process (on {own['host']}, in "
        f"{own['folder']}) can. {_listed(failed)}. A path has to lead to the same place on every worker, with the same "
        "rights: name an absolute path on a file system that they share, or a URL."
    )
