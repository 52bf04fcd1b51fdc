"""How long a body may take, and what a request without one gets."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from tune_brain.bundle.read import open_bundle
from tune_brain.serve.app import create_app
from tune_brain.serve.guard import BODY_RATE, BODY_SECONDS, Guard

STEP = 10.0


async def status_of(parts: list[int]) -> int:
    """Status of a request of which so many bytes arrive at a time, every `STEP` seconds of its clock."""
    loop, sent = asyncio.get_running_loop(), list[Any]()
    passed, left = [loop.time()], list(parts)
    loop.time = lambda: passed[0]  # type: ignore[method-assign]

    async def receive() -> Any:
        passed[0] += STEP
        for _ in range(5):  # time for what is due
            await asyncio.sleep(0)
        return {"type": "http.request", "body": bytes(left.pop(0)), "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    gauge = Gauge("inside", "", registry=CollectorRegistry())
    guard = Guard(PlainTextResponse("read"), hosts=("here",), largest=2**30, crowd=1, waiting=gauge)
    await guard({"type": "http", "method": "POST", "headers": [(b"host", b"here")]}, receive, send)
    return int(sent[0]["status"])


ENOUGH, TRICKLE = int(BODY_RATE * STEP), 1


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([TRICKLE], 200),
        ([ENOUGH] * 9, 200),
        ([TRICKLE] * 9, 408),
        ([ENOUGH, *[TRICKLE] * 9], 408),
    ],
)
def test_a_body_may_take_longer_only_as_long_as_enough_of_it_arrives(parts: list[int], status: int) -> None:
    assert BODY_SECONDS < 3 * STEP
    with ThreadPoolExecutor() as thread:  # this one may hold the event loop of a browser's tests
        assert thread.submit(asyncio.run, status_of(parts)).result() == status


@pytest.fixture(scope="module")
def client(light_bundle: Path) -> Iterator[TestClient]:
    with TestClient(create_app(open_bundle(light_bundle)), base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize(
    "path",
    ["/", "/page.js", "/page.css", "/icon.svg", "/card", "/health", "/metrics", "/predict", "/nowhere"],
)
def test_head_is_answered_with_the_head_of_what_get_would_give(client: TestClient, path: str) -> None:
    asked, got = client.head(path), client.get(path)
    assert (asked.status_code, asked.headers["content-type"]) == (
        got.status_code,
        got.headers["content-type"],
    )
    assert asked.content == b""
