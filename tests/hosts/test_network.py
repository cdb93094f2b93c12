"""The network of the tests does what it is asked to: latency, loss, rate, cuts; and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.cluster.recipes import ROOT, until
from tests.hosts.network import Host, Network

pytestmark = pytest.mark.hosts

HEADERS = 28
"""Bytes of an IP and a UDP header."""


@pytest.fixture(autouse=True)
def _plain(net) -> Iterator[None]:
    yield
    net.shape()


def bound(host: Host, kind: socket.SocketKind = socket.SOCK_DGRAM) -> socket.socket:
    """A socket on a host; it stays there, whoever uses it."""
    with host.inside():
        made = socket.socket(type=kind)
        made.bind((host.address, 0))
    made.settimeout(10)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
    return made


@contextlib.contextmanager
def two(net: Network) -> Iterator[tuple[socket.socket, socket.socket]]:
    with bound(net["one"]) as one, bound(net["two"]) as other:
        yield one, other


def test_hosts_have_addresses_of_their_own_and_reach_nothing_else(net):
    assert len({host.address for host in net.hosts.values()}) == 4
    with net["one"].inside():
        cards = [name for _, name in socket.if_nameindex()]
        outside = socket.socket()
    with outside, pytest.raises(OSError, match="unreachable"):
        outside.connect(("192.0.2.1", 80))
    assert sorted(cards) == ["eth0", "lo"]
    assert set(cards) != {name for _, name in socket.if_nameindex()}, "this thread is still on the other host"


@pytest.mark.parametrize("delay", [0.005, 0.02])
def test_the_round_trip_is_what_was_asked_for(net, delay):
    net.shape(delay=delay)
    seconds = []
    with two(net) as (one, other):
        for _ in range(20):
            began = time.monotonic()
            one.sendto(b"there", other.getsockname())
            other.recv(9)
            other.sendto(b"and back", one.getsockname())
            one.recv(9)
            seconds.append(time.monotonic() - began)
    assert 2 * delay <= min(seconds) < 2 * delay + 0.01, statistics.quantiles(seconds)


def test_the_loss_is_what_was_asked_for(net):
    net.shape("one", loss=0.01)
    number, arrived, before = 4000, 0, net.traffic()
    with two(net) as (one, other):
        for start in range(0, number, 100):
            for _ in range(start, start + 100):
                one.sendto(bytes(100), other.getsockname())
            until(
                lambda stop=start + 100: net.traffic().since(before).packets["one", "two"] == stop, "packets are gone"
            )
            lost = net.traffic().since(before).lost["one", "two"]
            while arrived < start + 100 - lost:
                other.recv(200)
                arrived += 1
        sent = net.traffic().since(before)
    assert sent.nbytes["one", "two"] == number * (100 + HEADERS)
    assert arrived + sent.lost["one", "two"] == number
    assert sum(sent.packets.values()) == number
    assert 15 <= number - arrived <= 65  # 40, within four standard deviations


def test_the_rate_is_what_was_asked_for_in_packets_of_an_ethernet(net):
    net.shape("one", rate=1e6)
    nbytes, before, received = 300_000, net.traffic(), 0
    with bound(net["two"], socket.SOCK_STREAM) as server, bound(net["one"], socket.SOCK_STREAM) as one:
        server.listen()
        one.connect(server.getsockname())
        there, _ = server.accept()
        with there:
            began = time.monotonic()
            one.sendall(bytes(nbytes))
            while received < nbytes:
                received += len(there.recv(2**16))
            seconds = time.monotonic() - began
    sent = net.traffic().since(before)
    assert nbytes / 1e6 * 0.9 < seconds < nbytes / 1e6 * 2
    assert sent.packets["one", "two"] >= nbytes / 1460
    assert nbytes < sent.nbytes["one", "two"] < 1.2 * nbytes


def test_a_cut_is_silence_until_it_is_mended(net):
    with two(net) as (one, other):
        net.cut("two")
        for sender, receiver in ((one, other), (other, one)):
            sender.sendto(b"lost", receiver.getsockname())
            receiver.settimeout(0.1)
            with pytest.raises(TimeoutError):
                receiver.recv(9)
        net.mend("two")
        other.settimeout(10)
        one.sendto(b"there", other.getsockname())
        assert other.recv(9) == b"there"


LEFT_BEHIND = """
import subprocess, sys, time
from tests.hosts.network import network
with network("one", "two") as net:
    left = subprocess.Popen(net["two"].command(["sleep", "600"]))
    print(net.switch_pid, left.pid, flush=True)
    time.sleep(600)
"""


def test_nothing_is_left_behind_by_a_run_that_is_killed(net):
    assert net["one"].namespace  # there can be hosts here
    command = [sys.executable, "-c", LEFT_BEHIND]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as run:
        assert run.stdout is not None
        pids = [int(pid) for pid in run.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(psutil.pid_exists, pids))
        os.kill(run.pid, signal.SIGKILL)
        until(lambda: not any(map(is_running, pids)), "processes are left behind")


def is_running(pid: int) -> bool:
    """Not gone, and no zombie that nobody has collected."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
