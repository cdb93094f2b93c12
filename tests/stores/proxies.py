"""A way to a server over HTTP that takes its time, counts, and fails now and then, always for the same requests."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import hashlib
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

PIECE = 2**18
FAILURES = ("503", "reset", "lost")
"""503: the server is said to be busy. Reset: the connection breaks before the server hears of the request. Lost: it
breaks after the server has done what was asked."""

BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclasses.dataclass
class Proxy:
    """What a proxy has done so far.

    Attributes
    ----------
    url : str
    latency : float
        Seconds that each request takes longer. May be changed while it runs, as may `fail_every`.
    fail_every : int
        About one in so many requests fails: which ones is a matter of method, path, range and how often the same was
        asked before. 0: none.
    requests, failed : int
    sent, received : int
        Bytes of bodies, to the client and from it.
    asked : Counter
        How often each request was made, as "GET /path bytes=0-9".
    """

    url: str
    latency: float
    fail_every: int
    failures: Sequence[str]
    requests: int = 0
    failed: int = 0
    sent: int = 0
    received: int = 0
    asked: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def failure_of(self, request: str) -> str | None:
        """What is to happen to a request instead of an answer."""
        self.asked[request] += 1
        if not self.fail_every:
            return None
        drawn = int.from_bytes(hashlib.sha256(f"{request} {self.asked[request]}".encode()).digest()[:8])
        if drawn % self.fail_every:
            return None
        self.failed += 1
        return self.failures[drawn // self.fail_every % len(self.failures)]


@contextlib.contextmanager
def proxy(
    target: str, latency: float = 0.0, fail_every: int = 0, failures: Sequence[str] = FAILURES
) -> Iterator[Proxy]:
    """A proxy for the server at the URL `target`, on a port of its own, in a thread of its own."""
    aim = urlsplit(target)
    assert aim.hostname is not None
    assert aim.port is not None
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    state = Proxy(f"http://127.0.0.1:{listening.getsockname()[1]}", latency, fail_every, failures)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(_serve(state, listening, (aim.hostname, aim.port), stop),), daemon=True
    )
    thread.start()
    try:
        yield state
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


async def _serve(state: Proxy, listening: socket.socket, target: tuple[str, int], stop: asyncio.Event) -> None:
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await _Connection(state, reader, writer).run(target)
        except (OSError, asyncio.IncompleteReadError):
            pass  # either side went away, which the other is told below
        except asyncio.CancelledError:
            pass
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, sock=listening, limit=2**20)
    await stop.wait()
    server.close()
    for task in list(connections):
        task.cancel()
    await asyncio.gather(*connections, return_exceptions=True)


@dataclasses.dataclass
class _Head:
    """First line and headers of a message."""

    raw: bytes

    def __post_init__(self) -> None:
        first, *lines = self.raw.decode("latin-1").split("\r\n")
        self.first = first.split(" ", 2)
        pairs = [line.partition(":") for line in lines if line]
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}

    def without(self, name: str) -> bytes:
        lines = self.raw.split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.lower().startswith(name.encode() + b":"))


@dataclasses.dataclass
class _Connection:
    """A client's connection, and one to the server for it."""

    state: Proxy
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def run(self, target: tuple[str, int]) -> None:
        server_reader, server_writer = await asyncio.open_connection(*target, limit=2**20)
        try:
            while not self.reader.at_eof():
                await self._request(server_reader, server_writer)
        finally:
            server_writer.close()

    async def _request(self, server_reader: asyncio.StreamReader, server_writer: asyncio.StreamWriter) -> None:
        request = _Head(await self.reader.readuntil(b"\r\n\r\n"))
        method, path = request.first[:2]
        self.state.requests += 1
        failure = self.state.failure_of(f"{method} {path} {request.headers.get('range', '')}".strip())
        if request.headers.get("expect"):
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(self.state.latency)
        if failure in ("503", "reset"):
            await self._relay(request, self.reader, None)
            if failure == "reset":
                self._reset()
            length = f"Content-Type: application/xml\r\nContent-Length: {len(BUSY)}\r\n\r\n".encode()
            self.writer.write(b"HTTP/1.1 503 Slow Down\r\n" + length + (b"" if method == "HEAD" else BUSY))
            return await self.writer.drain()
        server_writer.write(request.without("expect"))
        received = await self._relay(request, self.reader, server_writer)
        self.state.received += received  # not in one line, which would add to what there was before it waited
        answer = _Head(await server_reader.readuntil(b"\r\n\r\n"))
        while answer.first[1].startswith("1"):
            answer = _Head(await server_reader.readuntil(b"\r\n\r\n"))
        has_body = method != "HEAD" and answer.first[1] not in ("204", "304")
        if failure == "lost":
            if has_body:
                await self._relay(answer, server_reader, None)
            self._reset()
        self.writer.write(answer.raw)
        if has_body:
            sent = await self._relay(answer, server_reader, self.writer)
            self.state.sent += sent
        return await self.writer.drain()

    async def _relay(self, head: _Head, source: asyncio.StreamReader, sink: asyncio.StreamWriter | None) -> int:
        """Pass on a body, to nowhere without a sink; its length."""
        if "chunked" in head.headers.get("transfer-encoding", "").lower():
            total = 0
            while True:
                line = await source.readuntil(b"\r\n")
                size = int(line.split(b";")[0], 16)
                if sink is not None:
                    sink.write(line)
                if size == 0:
                    break
                total += await self._relay_exactly(size + 2, source, sink) - 2
            while line != b"\r\n":  # trailers, and the empty line after them
                line = await source.readuntil(b"\r\n")
                if sink is not None:
                    sink.write(line)
            return total
        return await self._relay_exactly(int(head.headers.get("content-length", 0)), source, sink)

    async def _relay_exactly(self, size: int, source: asyncio.StreamReader, sink: asyncio.StreamWriter | None) -> int:
        left = size
        while left:
            piece = await source.read(min(left, PIECE))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            if sink is not None:
                sink.write(piece)
                await sink.drain()
        return size

    def _reset(self) -> None:
        """Break the connection so that the client sees a reset, not an end."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        raise ConnectionResetError("on purpose")
