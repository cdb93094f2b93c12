"""cluster/local and cluster/tls: processes of one machine, with the script and the commands of their pages."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cluster import recipes
from tests.stores.servers import free_ports


@dataclasses.dataclass(frozen=True)
class Processes:
    """A scheduler and two workers, started by the first two commands; `script` is the third."""

    script: list[str]
    env: dict[str, str]
    port: int
    pids: tuple[int, ...]

    def listening(self) -> set[tuple[str, int]]:
        """Address and port of every socket that these processes and their children listen on."""
        family = [psutil.Process(pid) for pid in self.pids]
        family += [child for process in family for child in process.children(recursive=True)]
        found = [each for process in family for each in process.net_connections("tcp")]
        return {(each.laddr.ip, each.laddr.port) for each in found if each.status == psutil.CONN_LISTEN}


@pytest.fixture(scope="module")
def processes(certificates, tmp_path_factory) -> Iterator[Processes]:
    folder = tmp_path_factory.mktemp("processes")
    scheduler, worker, script = recipes.commands(recipes.RECIPES / "local/README.md")
    (port,) = free_ports(1)
    env = recipes.environment(DASK_CONFIG=certificates, DASK_TEMPORARY_DIRECTORY=folder)

    def here(command: list[str]) -> list[str]:
        """On a free port, and for a small machine."""
        words = {"8786": str(port), "127.0.0.1:8787": "127.0.0.1:0", "8GB": "2GB", "4": "1"}
        return [words.get(word, word.replace(":8786", f":{port}")) for word in command]

    with (
        recipes.running(here(scheduler), folder / "scheduler.log", env) as first,
        recipes.running(here(worker), folder / "worker.log", env) as second,
    ):
        first.until_it_says("Scheduler at:")
        second.until_it_says("Registered to:", times=2)
        yield Processes(here(script), env, port, (first.process.pid, second.process.pid))


def test_the_three_commands(processes, source, tmp_path):
    variable, python, script, *words = processes.script
    assert words == ["train.zarr", "augmented.zarr", "epochs=3"]
    target = tmp_path / "y.zarr"
    env = processes.env | dict([variable.split("=", 1)])
    recipes.run([python, recipes.RECIPES / "local" / script, source, target, *recipes.options()], tmp_path / "log", env)
    assert recipes.outcome(target) == recipes.expected(source)


def test_local_py(source, tmp_path):
    target = tmp_path / "y.zarr"
    words = [sys.executable, recipes.RECIPES / "local/local.py", source, target, *recipes.options()]
    recipes.run(words, tmp_path / "log", recipes.environment(DASK_TEMPORARY_DIRECTORY=tmp_path))
    assert recipes.outcome(target) == recipes.expected(source)


# --- TLS ---------------------------------------------------------------------------------------------------------


def context(folder: Path, role: str | None, authority: Path | None = None) -> ssl.SSLContext:
    """Of one who has the certificate of a role, or none, and trusts the authority of `authority` or of the same."""
    made = ssl.create_default_context(cafile=(authority or folder) / "ca.pem")
    made.check_hostname = False
    if role:
        made.load_cert_chain(folder / f"{role}.pem", folder / f"{role}-key.pem")
    return made


def greeted(port: int, tls: ssl.SSLContext) -> bytes:
    """What somebody is sent who connects: nothing is, before the other side has seen a certificate."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        tls.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
    ):
        return wrapped.recv(1)


def tls_ports(processes: Processes, certificates: Path) -> list[int]:
    """Ports that take dask's messages; the others are dashboards."""
    from distributed import Client
    from distributed.security import Security

    keys = {"tls_client_cert": certificates / "client.pem", "tls_client_key": certificates / "client-key.pem"}
    files = {name: str(path) for name, path in {"tls_ca_file": certificates / "ca.pem", **keys}.items()}
    security = Security(require_encryption=True, **files)
    with Client(f"tls://127.0.0.1:{processes.port}", security=security) as client:
        facts = client.scheduler_info(n_workers=-1)
    workers = facts["workers"]
    addresses = [facts["address"], *workers, *(worker["nanny"] for worker in workers.values())]
    assert len(addresses) == 5
    assert all(address.startswith("tls://127.0.0.1:") for address in addresses)
    return [int(address.rpartition(":")[2]) for address in addresses]


def test_all_messages_go_over_tls_and_nothing_listens_on_the_network(processes, certificates):
    ports = tls_ports(processes, certificates)
    assert {("127.0.0.1", port) for port in ports} <= processes.listening()
    assert {address for address, _ in processes.listening()} == {"127.0.0.1"}
    for port in ports:
        assert greeted(port, context(certificates, "client"))


def test_nobody_is_let_in_without_a_certificate(processes, certificates):
    for port in tls_ports(processes, certificates):
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            greeted(port, context(certificates, None))


def test_a_certificate_of_another_authority_is_refused(processes, certificates, tmp_path):
    others = recipes.certificates(tmp_path / "others")
    for port in tls_ports(processes, certificates):
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            greeted(port, context(others, "client", authority=certificates))
        with pytest.raises(ssl.SSLError, match="certificate verify failed"):
            greeted(port, context(others, "client"))


def test_a_client_without_tls_is_refused(processes):
    from distributed.comm import connect

    with pytest.raises(OSError, match=r"(?s)127.0.0.1"):
        asyncio.run(connect(f"tcp://127.0.0.1:{processes.port}", timeout=5))


def test_a_client_is_no_scheduler(certificates):
    """Its certificate is not accepted from the one who is called."""
    for role, accepted in [("scheduler", True), ("worker", True), ("client", False)]:
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(certificates / f"{role}.pem", certificates / f"{role}-key.pem")
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        called = server.wrap_bio(to_server, to_client, server_side=True)
        caller = context(certificates, "worker").wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
        with pytest.raises(ssl.SSLWantReadError):
            caller.do_handshake()
        with pytest.raises(ssl.SSLWantReadError):
            called.do_handshake()
        if accepted:
            caller.do_handshake()
        else:
            with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
                caller.do_handshake()


def test_only_the_owner_reads_keys_and_none_is_overwritten(tmp_path):
    folder = recipes.certificates(tmp_path / "certificates")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert {path.stat().st_mode & 0o777 for path in before} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(AssertionError, match="is not empty"):
        recipes.certificates(folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_paths_are_those_of_the_cluster(tmp_path):
    made = recipes.certificates(tmp_path / "made", "--seen-at", "/certificates")
    text = (made / "dask.yaml").read_text()
    assert "/certificates/worker-key.pem" in text
    assert str(tmp_path) not in text
