"""Connections on which no request arrives are closed; those with a request are not, however long it takes."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tune_brain.serve import protocol
from tune_brain.serve.protocol import TimedProtocol
from tune_brain.serve.server import serve

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def slow(_scope: Any, _receive: Any, send: Any) -> None:
    """An application that takes longer than a head may take."""
    await asyncio.sleep(3 * protocol.HEAD_SECONDS)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], socket.socket]]:
    """Connects to a server and sends something that it finds there when it accepts the connection."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.05)
    config = uvicorn.Config(slow, port=0, http=TimedProtocol, lifespan="off", log_level="warning")
    server, listening = uvicorn.Server(config), config.bind_socket()
    listening.listen()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    with contextlib.ExitStack() as stack:

        def send(start: bytes) -> socket.socket:
            client = stack.enter_context(socket.create_connection(listening.getsockname(), timeout=20))
            client.sendall(start)
            thread.start()
            return client

        yield send
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("start", [b"", REQUEST[:20]])
def test_a_connection_without_a_whole_request_head_is_closed(
    connect: Callable[[bytes], socket.socket], start: bytes
) -> None:
    assert connect(start).recv(100) == b""


def test_a_request_is_answered_and_the_next_head_is_timed_as_well(
    connect: Callable[[bytes], socket.socket],
) -> None:
    client = connect(REQUEST)
    assert client.recv(1000).startswith(b"HTTP/1.1 204")
    client.sendall(REQUEST[:20])
    assert client.recv(100) == b""


def test_serve_times_request_heads(light_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = []

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        configs.append(server.config)
        sockets[0].close()

    monkeypatch.setattr(uvicorn.Server, "run", run)
    serve(light_bundle, host="127.0.0.1", port=0, names=(), keep=None)
    assert configs[0].http is TimedProtocol
