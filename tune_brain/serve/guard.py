"""Middleware that refuses unwanted requests (host, origin, size, concurrency) and adds security headers."""

import asyncio
from collections.abc import Iterable
from urllib.parse import urlsplit

from prometheus_client import Gauge
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
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
HEAD_BYTES = 16 * 1024
"""Largest request head, in bytes."""
WITH_BODY = ("POST", "PUT", "PATCH")
BODY_SECONDS = 20.0
"""Seconds within which a request body must arrive; one more for each `BODY_RATE` bytes that have arrived."""
BODY_RATE = 128 * 1024
"""In bytes a second. At this rate a body of any length is in time. A trickle ends after `BODY_SECONDS`."""


class Guard:
    """Refuses requests, where possible by their head alone, before any of the body is read.

    Args:
        app: the application behind it.
        hosts: host names under which the service may be addressed. Others are refused because a foreign page
            could reach the service through a name of its own (DNS rebinding).
        largest: largest body, in bytes.
        crowd: concurrent requests with a body; further ones get a 503 at once.
        waiting: gauge of their number.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Iterable[str], largest: int, crowd: int, waiting: Gauge
    ) -> None:
        self._app, self._hosts, self._largest = app, frozenset(host.lower() for host in hosts), largest
        self._crowd, self._waiting, self._active = crowd, waiting, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the application, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        if refused := self._check(scope):
            await _refusal(*refused)(scope, receive, send)
            return
        if scope["method"] not in WITH_BODY:
            if scope["method"] == "HEAD":
                # Answered as GET is: the server, which knows the method, leaves out the body.
                scope = {**scope, "method": "GET"}
            await self._app(scope, receive, send)
            return
        if self._active >= self._crowd:
            busy = _refusal(503, "Too many concurrent requests; try again in a second.")
            await busy(scope, receive, send)
            return
        self._active += 1
        self._waiting.set(self._active)
        try:
            body = await _body(receive, self._largest)
            if isinstance(body, bytes):
                await self._app(scope, _replay(body, receive), send)
            elif body is not None:
                await _refusal(*body)(scope, receive, send)
        finally:
            self._active -= 1
            self._waiting.set(self._active)

    def _check(self, scope: Scope) -> tuple[int, str] | None:
        """Status and detail of a refusal by the head of a request, or None."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_BYTES:
            return 431, f"The head of a request must have at most {HEAD_BYTES // 1024} kB."
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if _host(f"//{host}") not in self._hosts:
            return 421, "This host name is unknown to the service; see its options --host and --name."
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return 403, "Requests from other origins are refused."
        if headers.get("sec-fetch-site") == "cross-site" and scope["method"] != "GET":
            return 403, "Requests from other origins are refused."
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return 400, "Content-Length must be a number."
        if int(length[:20]) > self._largest:
            return 413, f"A file must have at most {self._largest // 2**20} MB."
        if scope["method"] not in WITH_BODY and (int(length) or "transfer-encoding" in headers):
            # Nobody would read it: a client that sends it slowly could hold the connection for ever.
            return 400, f"A {scope['method']} request must not have a body."
        return None


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


async def _body(receive: Receive, largest: int) -> bytes | tuple[int, str] | None:
    """The body; or status and detail of a refusal; or None if the client disconnected."""
    parts, length = [], 0
    try:
        start = asyncio.get_running_loop().time()
        async with asyncio.timeout(BODY_SECONDS) as limit:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                parts.append(message.get("body", b""))
                length += len(parts[-1])
                if length > largest:
                    return 413, f"A file must have at most {largest // 2**20} MB."
                if not message.get("more_body"):
                    return b"".join(parts)
                limit.reschedule(start + BODY_SECONDS + length / BODY_RATE)
    except TimeoutError:
        return 408, (
            f"A file must arrive within {BODY_SECONDS:.0f} seconds, and one more for each "
            f"{BODY_RATE // 1024} kB of it."
        )


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def _refusal(status: int, detail: str) -> JSONResponse:
    # The rest of the body is left unread, so the connection cannot be reused.
    headers = {"connection": "close", **({"retry-after": "1"} if status == 503 else {})}
    return JSONResponse({"detail": detail}, status, headers)
