"""Hosts of their own on this machine, with latency, loss and cut cables between them.

Each host is a network namespace: it has its own address and nothing else to talk to. Files are shared, as on a cluster
with a network file system. See :mod:`tests.hosts.switch` for how the packets get across.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.hosts import switch

MTU = 1500
"""Bytes of a packet, as on any Ethernet."""


def unavailable() -> str | None:
    """Why this process cannot make hosts; None where it can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux'"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    return None if Path("/dev/net/tun").exists() else "there is no /dev/net/tun"


def join(namespace: str) -> None:
    """Move this thread, and those that it will start, to a host.

    Parameters
    ----------
    namespace : str
        Of a :class:`Host`.
    """
    there = os.open(namespace, os.O_RDONLY)
    try:
        switch.enter(there)
    finally:
        os.close(there)


@dataclasses.dataclass(frozen=True)
class Host:
    """One of the hosts of a network.

    Attributes
    ----------
    name : str
    number : int
    namespace : str
        File that stands for it, as long as its network is there.
    """

    name: str
    number: int
    namespace: str

    @property
    def address(self) -> str:
        """Its IP address."""
        return switch.address(self.number)

    def command(self, words: Sequence[object]) -> list[object]:
        """A command as it is to be run in order to run on this host; it keeps its process id."""
        return ["nsenter", f"--net={self.namespace}", "--", *words]

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Be on this host for a while: this thread, and for good those that it starts meanwhile."""
        home = switch.own_namespace()
        try:
            join(self.namespace)
            yield
        finally:
            switch.enter(home)
            os.close(home)


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What hosts have sent to each other, headers and packets that were lost included.

    Attributes
    ----------
    nbytes, packets, lost : dict of (str, str) to int
        By sender and receiver.
    """

    nbytes: dict[tuple[str, str], int]
    packets: dict[tuple[str, str], int]
    lost: dict[tuple[str, str], int]

    def since(self, before: Traffic) -> Traffic:
        """What has been sent since then."""
        now, then = vars(self), vars(before)
        return Traffic(**{what: {pair: n - then[what][pair] for pair, n in now[what].items()} for what in now})


class Network:
    """Hosts that are joined by a switch.

    Parameters
    ----------
    process : Popen
        The switch.
    names : sequence of str
        Of its hosts.
    """

    def __init__(self, process: subprocess.Popen[str], names: Sequence[str]) -> None:
        self._process = process
        namespaces = self._answer()["namespaces"]
        self.hosts = {name: Host(name, i, namespaces[i]) for i, name in enumerate(names)}

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    @property
    def switch_pid(self) -> int:
        """Of the process that carries the packets."""
        return self._process.pid

    def shape(self, *names: str, delay: float = 0.0, loss: float = 0.0, rate: float = 0.0) -> None:
        """What happens from now on to what hosts send.

        Parameters
        ----------
        *names : str
            Of hosts; all of them by default.
        delay : float
            Seconds, one way.
        loss : float
            Share of the packets, from 0 to 1.
        rate : float
            Bytes per second; 0 for no limit.
        """
        for name in names or self.hosts:
            self._ask(host=self.hosts[name].number, delay=delay, loss=loss, rate=rate)

    def cut(self, name: str) -> None:
        """Take its cable out: nothing reaches it and it reaches nobody. Nobody is told."""
        self._ask(host=self.hosts[name].number, is_up=False)

    def mend(self, name: str) -> None:
        """Put its cable in again."""
        self._ask(host=self.hosts[name].number, is_up=True)

    def traffic(self) -> Traffic:
        """What has been sent so far."""
        names = list(self.hosts)
        counted = self._ask()
        return Traffic(
            **{
                what: {(a, b): counted[what][i][j] for i, a in enumerate(names) for j, b in enumerate(names) if i != j}
                for what in ("nbytes", "packets", "lost")
            }
        )

    def _ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise OSError("the switch between the hosts has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def network(*names: str, mtu: int = MTU) -> Iterator[Network]:
    """Hosts of these names. Processes that are left on them are killed at the end.

    Parameters
    ----------
    *names : str
    mtu : int
        Bytes of the largest packet. A few packets of 65,000 cost the switch less than many of 1500.

    Raises
    ------
    OSError
        Where this process may not make any: see :func:`unavailable`.
    """
    why = unavailable()
    if why is not None:
        raise OSError(f"There can be no network of hosts: {why}.")
    command = [sys.executable, switch.__file__, str(len(names)), str(mtu)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Network(process, names)
    finally:
        process.communicate()  # closes its input, which ends it
