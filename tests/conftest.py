"""What holds for every test: settings of Keras and hypothesis, no network, and what the marked tests need."""

from __future__ import annotations

import atexit
import importlib.util
import ipaddress
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import fashion

# Both are read when Keras is first imported, so they are set before any test module is. A keras.json of the person
# who runs the tests must not change a default of ours, nor may Keras write one into their home.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ["KERAS_HOME"] = tempfile.mkdtemp(prefix="daskaug-keras-home-")
atexit.register(shutil.rmtree, os.environ["KERAS_HOME"], ignore_errors=True)
# The promises are about CPUs; a graphics card's sums differ from run to run.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# No deadlines: the first example of a kernel includes compiling it, and shared cores are slow now and then.
_COMMON = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=25, **_COMMON)
settings.register_profile("ci", max_examples=50, derandomize=True, **_COMMON)
settings.register_profile("thorough", max_examples=1000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

# marker: (programs or paths, modules) that its tests cannot do without
_NEEDS = {
    "browser": (("chromium",), ("bokeh", "dask_labextension", "jupyterlab", "playwright")),
    "fashion": ((str(fashion.FOLDER),), ()),
    "hosts": (("ip", "nsenter"), ()),
    "manifests": (("hadolint",), ("check_jsonschema", "dask_kubernetes", "kubernetes_validate")),
    "notebooks": ((), ("nbclient", "ipykernel", "jupyter_client")),
    "s3": (("weed",), ("obstore", "s3fs")),
    "slurm": (("slurmctld", "slurmd", "munged"), ("dask_jobqueue",)),
    "sshd": (("sshd", "ssh"), ("asyncssh",)),
    "tensorflow": ((), ("tensorflow",)),
    "torch": ((), ("torch",)),
}
_SBIN = os.pathsep.join(
    [os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a marked test where what it needs is not installed. On CI, where it must be, that is a failure."""
    for marker, (programs, modules) in _NEEDS.items():
        if item.get_closest_marker(marker) is None:
            continue
        missing = [name for name in programs if not Path(name).is_dir() and shutil.which(name, path=_SBIN) is None]
        missing += [name for name in modules if importlib.util.find_spec(name) is None]
        if missing:
            stop = pytest.fail if os.environ.get("CI") else pytest.skip
            stop(f"tests marked {marker!r} need {', '.join(missing)} (.ci/install-debian-packages, make test-marked)")


def _leaves_this_network(address: Any) -> bool:
    """Whether a socket address, (host, port, ...) or the path of a Unix socket, is on the public internet."""
    if not isinstance(address, tuple):
        return False
    host = address[0]
    if host in {"", "localhost", socket.gethostname()}:
        return False
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return True  # some other machine's name


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Refuse connections to the internet: a test that downloads something would pass on some machines only.

    Datagram sockets are left alone. "Connecting" one sends nothing, and distributed does so to learn its own address.
    """
    patch = pytest.MonkeyPatch()
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def check(sock: socket.socket, address: Any) -> None:
        if sock.type == socket.SOCK_STREAM and _leaves_this_network(address):
            raise OSError(f"a test tried to reach {address!r}; tests use no network")

    def guarded_connect(sock: socket.socket, address: Any) -> None:
        check(sock, address)
        connect(sock, address)

    def guarded_connect_ex(sock: socket.socket, address: Any) -> int:
        check(sock, address)
        return connect_ex(sock, address)

    patch.setattr(socket.socket, "connect", guarded_connect)
    patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    yield
    patch.undo()
