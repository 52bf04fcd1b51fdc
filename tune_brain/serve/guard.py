"""What stands between the network and the service: hosts, origins, sizes, crowds; headers on every answer."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

from prometheus_client import Gauge
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
LOCAL = ("127.0.0.1", "localhost", "::1")
HEAD = 16 * 1024
"""Bytes that the head of a request may have."""
SLOWEST = 20.0
"""Seconds in which a body must have arrived."""


class Guard:
    """Refuses a request before anything of its body is read, wherever that can be told from its head.

    Args:
        app: what stands behind.
        hosts: names under which the service may be addressed; under another one a foreign page may reach it
            (DNS rebinding).
        largest: bytes of a body.
        crowd: requests with a body at a time; more are turned away with 503 at once.
        waiting: shows how many there are.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Iterable[str], largest: int, crowd: int, waiting: Gauge
    ) -> None:
        self._app, self._hosts, self._largest = app, frozenset(host.lower() for host in hosts), largest
        self._crowd, self._waiting, self._inside = crowd, waiting, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        refusal = self._refusal(scope)
        if refusal:
            await _refuse(send, *refusal)
            return
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            await self._app(scope, receive, send)
            return
        if self._inside >= self._crowd:
            await _refuse(send, 503, "Too many requests at a time; try again in a second.")
            return
        self._inside += 1
        self._waiting.set(self._inside)
        try:
            body = await _body(receive, self._largest)
            if isinstance(body, bytes):
                await self._app(scope, _replay(body, receive), send)
            elif body is not None:
                await _refuse(send, *body)
        finally:
            self._inside -= 1
            self._waiting.set(self._inside)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD:
            return 431, f"The head of a request has at most {HEAD // 1024} kB."
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if _host(f"//{host}") not in self._hosts:
            return 421, "This service answers under the names it was given only; see --host and --name."
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return 403, "Requests from other pages are refused."
        if headers.get("sec-fetch-site") == "cross-site" and scope["method"] != "GET":
            return 403, "Requests from other pages are refused."
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return 400, "Content-Length must be a number."
        if int(length[:20]) > self._largest:
            return 413, f"A file has at most {self._largest // 2**20} MB."
        return None


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


async def _body(receive: Receive, largest: int) -> bytes | tuple[int, str] | None:
    """The body; a refusal where it is too long or too slow; None where the client has gone."""
    parts, length = [], 0
    try:
        async with asyncio.timeout(SLOWEST):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                parts.append(message.get("body", b""))
                length += len(parts[-1])
                if length > largest:
                    return 413, f"A file has at most {largest // 2**20} MB."
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        return 408, f"A file must arrive within {SLOWEST:.0f} seconds."


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message.get("headers", ())}
            more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in given]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sending


async def _refuse(send: Send, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    # What is left of the body is not read, so the connection is of no further use.
    headers.append((b"connection", b"close"))
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
