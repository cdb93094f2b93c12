"""A switch between network namespaces, in user space: ``python switch.py HOSTS MTU``.

It makes as many namespaces as HOSTS says, each with one network card, and carries the packets between them. What a host
sends may be delayed, lost or slowed down, as ``tc qdisc add ... netem`` would do where the kernel has that.

It prints one line of JSON, with the namespaces, and then reads commands from its input, one line of JSON each, which it
answers with one line each. It ends with its input, so that it does not outlive whoever started it, and takes along all
processes that are still in its namespaces. The kernel then removes these: they have no names that could stay behind.

Needs root, ``/dev/net/tun`` and the program ``ip``. Nothing but the standard library, so that it begins at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import heapq
import json
import os
import selectors
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NETWORK = "10.77.0"
"""First three numbers of every address. The hosts are in a world of their own: it collides with nothing."""

CARD = "eth0"
AT_ONCE = 64
"""Packets that are taken from one host before the next one has its turn."""

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_LIBC = ctypes.CDLL(None, use_errno=True)


def address(number: int) -> str:
    """Of a host."""
    return f"{NETWORK}.{1 + number}"


def enter(namespace: int) -> None:
    """Move this thread into the namespace of a file descriptor."""
    _checked(_LIBC.setns(namespace, _CLONE_NEWNET))


def own_namespace() -> int:
    """A file descriptor of the namespace that this thread is in."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _checked(code: int) -> None:
    if code:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@dataclasses.dataclass
class Link:
    """A host's side of the switch.

    Attributes
    ----------
    namespace, card : int
        File descriptors of the namespace, and of the device that the host sees as its network card.
    delay : float
        Seconds that a packet which the host sends is held back.
    loss : float
        Share of such packets that are dropped.
    rate : float
        Bytes per second that it may send; 0 for as many as it likes.
    is_up : bool
    free : float
        When what it has sent will be on its way, at that rate.
    """

    namespace: int
    card: int
    delay: float = 0.0
    loss: float = 0.0
    rate: float = 0.0
    is_up: bool = True
    free: float = 0.0

    def drops(self) -> bool:
        """Decide about one packet."""
        return self.loss > 0 and int.from_bytes(os.urandom(4)) < self.loss * 2**32

    def arrival(self, nbytes: int) -> float:
        """When a packet that it sends now gets there."""
        now = time.monotonic()
        if self.rate:
            now = self.free = max(self.free, now) + nbytes / self.rate
        return now + self.delay


def make_host(number: int, mtu: int) -> Link:
    """A namespace of its own, with a network card that ends here."""
    home = own_namespace()
    _checked(_LIBC.unshare(_CLONE_NEWNET))
    try:
        card = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(card, _TUNSETIFF, struct.pack("16sH22x", CARD.encode(), _IFF_TUN | _IFF_NO_PI))
        commands = (
            f"address add {address(number)}/24 dev {CARD}",
            "link set lo up",
            f"link set {CARD} mtu {mtu} txqueuelen 10000 up",
        )
        subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)
        # What hosts have unless somebody chose otherwise, whatever this machine has.
        with contextlib.suppress(OSError):
            Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text("cubic")
        return Link(own_namespace(), card)
    finally:
        enter(home)
        os.close(home)


class Switch:
    """Carries packets, and does as it is told."""

    def __init__(self, hosts: int, mtu: int) -> None:
        self.links = [make_host(number, mtu) for number in range(hosts)]
        self._mtu = mtu
        self._under_way: list[tuple[float, int, int, bytes]] = []
        self._number = 0
        self.counted = {what: [[0] * hosts for _ in range(hosts)] for what in ("nbytes", "packets", "lost")}
        self._prefix = bytes(map(int, NETWORK.split(".")))
        self._half_a_line = b""

    def run(self) -> None:
        """Until the input ends."""
        with selectors.DefaultSelector() as selector:
            for number, link in enumerate(self.links):
                selector.register(link.card, selectors.EVENT_READ, number)
            selector.register(0, selectors.EVENT_READ, None)
            while True:
                wait = max(0.0, self._under_way[0][0] - time.monotonic()) if self._under_way else None
                for key, _ in selector.select(wait):
                    if key.data is not None:
                        self._take(key.data)
                    elif not self._obey():
                        return
                self._deliver()

    def _take(self, sender: int) -> None:
        """What a host has sent."""
        link, counted = self.links[sender], self.counted
        for _ in range(AT_ONCE):
            try:
                packet = os.read(link.card, self._mtu)
            except BlockingIOError:
                return
            receiver = packet[19] - 1
            if packet[0] >> 4 != 4 or packet[16:19] != self._prefix or not 0 <= receiver < len(self.links):
                continue  # no IPv4, or for nobody here
            counted["nbytes"][sender][receiver] += len(packet)
            counted["packets"][sender][receiver] += 1
            if not (link.is_up and self.links[receiver].is_up) or link.drops():
                counted["lost"][sender][receiver] += 1
                continue
            self._number += 1
            heapq.heappush(self._under_way, (link.arrival(len(packet)), self._number, receiver, packet))

    def _deliver(self) -> None:
        """What is due."""
        now = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now:
            _, _, receiver, packet = heapq.heappop(self._under_way)
            if self.links[receiver].is_up:
                with contextlib.suppress(OSError):  # its queue is full: that is a lost packet too
                    os.write(self.links[receiver].card, packet)

    def _obey(self) -> bool:
        """Commands that have come; False at their end."""
        read = os.read(0, 2**16)
        *lines, self._half_a_line = (self._half_a_line + read).split(b"\n")
        for line in lines:
            print(json.dumps(self._answer(**json.loads(line))), flush=True)
        return bool(read)

    def _answer(self, *, host: int | None = None, **wanted: Any) -> dict[str, Any]:
        """Change a host's link; or, without a host, say what was counted."""
        if host is None:
            return self.counted
        for name, value in wanted.items():
            setattr(self.links[host], name, value)
        return {}

    def close(self) -> None:
        """Kill what is left in the namespaces."""
        inodes = {os.fstat(link.namespace).st_ino for link in self.links}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if (process / "ns/net").stat().st_ino in inodes:
                    os.kill(int(process.name), signal.SIGKILL)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for whoever started it, whose end is its own
        signal.signal(number, signal.SIG_IGN)
    switch = Switch(int(sys.argv[1]), int(sys.argv[2]))
    try:
        files = [f"/proc/{os.getpid()}/fd/{link.namespace}" for link in switch.links]
        print(json.dumps({"namespaces": files}), flush=True)
        switch.run()
    finally:
        switch.close()


if __name__ == "__main__":
    main()
