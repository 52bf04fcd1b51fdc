"""The service: one file in, what the bundle says of it out; and the page on top of it."""

import asyncio
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from markdown_it import MarkdownIt
from PIL import Image
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from tune_brain import __version__
from tune_brain.bundle.read import Bundle
from tune_brain.errors import ConfigError, ImageError
from tune_brain.portable.pictures import MOST_BYTES, MOST_PIXELS
from tune_brain.records import replacing
from tune_brain.serve import wire
from tune_brain.serve.answers import Predictor
from tune_brain.serve.guard import HEADERS, LOCAL, Guard
from tune_brain.serve.images import frames

PAGE = Path(__file__).parent / "page"
FILES = {"page.js": "text/javascript", "page.css": "text/css", "icon.svg": "image/svg+xml"}
TYPES = (
    *("image/jpeg", "image/png", "image/tiff", "application/dicom", "application/octet-stream"),
    *("application/gzip", "application/x-gzip", "application/x-nifti"),
)
SLICES = 24
"""Of a longer series, so many evenly spaced ones are looked at."""
CROWD = 8
"""Requests at a time; the last of them waits for the others."""

BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {"required": True, "content": dict.fromkeys(TYPES, BINARY)}

REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": wire.Problem, "description": text}
    for code, text in {
        400: "the request is damaged",
        403: "it comes from another page",
        408: "the file arrives too slowly",
        413: "the file is too large",
        415: "it does not say that it is an image",
        421: "it is addressed to another host",
        431: "its head is too large",
        422: "there is no image in it that can be read",
        503: "too many requests at a time",
    }.items()
}


def create_app(
    bundle: Bundle, *, hosts: Iterable[str] = LOCAL, keep: Path | None = None, crowd: int = CROWD
) -> FastAPI:
    """The service of a bundle.

    Args:
        bundle: what answers.
        hosts: names under which it may be addressed.
        keep: where uploaded files and answers are stored, under their hashes; None: nowhere. The page says
            which.
        crowd: requests at a time; more are turned away.
    """
    speaker = Predictor(bundle)
    # One thread, since the networks are hooked into; and one is what a slot of a search has.
    worker = ThreadPoolExecutor(1, thread_name_prefix="answer")
    # Decoders behind other decoders, as inside a DICOM file, know no other limit.
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        worker.shutdown(cancel_futures=True)

    app = FastAPI(
        title=f"tune_brain: {bundle.about.name}",
        version=__version__,
        description=wire.NOTICE,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    registry = CollectorRegistry()
    answers = Counter("tune_brain_answers", "Pictures answered, by kind", ["kind"], registry=registry)
    refused = Counter("tune_brain_refused", "Files that could not be read", registry=registry)
    unkept = Counter("tune_brain_unkept", "Images that --keep could not store", registry=registry)
    seconds = Histogram("tune_brain_seconds", "From a file to its answer, in seconds", registry=registry)
    inside = Gauge("tune_brain_inside", "Requests being read or answered", registry=registry)
    app.add_middleware(Guard, hosts=hosts, largest=MOST_BYTES, crowd=crowd, waiting=inside)
    card, index = _card(bundle), _index(keep)
    if keep is not None:
        _make_own(keep)

    def answer(content: bytes) -> wire.Prediction:
        said = []
        for one in frames(content, bundle.about.image_size, SLICES):
            found = speaker.answer(one.pixels)
            answers.labels("foreign" if found.foreign else "unsure" if found.unsure else "sure").inc()
            said.append(wire.frame(one.number, one.of, one.shown, found))
        prediction = wire.Prediction(bundle=bundle.about.name, fingerprint=bundle.fingerprint, frames=said)
        if keep is not None:
            try:
                _keep(keep, content, prediction)
            except OSError as error:
                # Who waits for an answer shall have it.
                unkept.inc()
                print(f"tune-brain: an image was not kept: {error}", file=sys.stderr)
        return prediction

    @app.post("/predict", responses=REFUSALS, openapi_extra={"requestBody": BODY})
    async def predict(request: Request) -> wire.Prediction:
        """What the bundle says of one JPEG, PNG, TIFF, DICOM or NIfTI file, which is the body."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in TYPES:
            raise HTTPException(415, f"Content-Type must be one of {', '.join(TYPES)}.")
        content, started = await request.body(), time.perf_counter()
        try:
            found = await asyncio.get_running_loop().run_in_executor(worker, answer, content)
        except (ImageError, ConfigError) as error:
            refused.inc()
            raise HTTPException(422, str(error)) from None
        seconds.observe(time.perf_counter() - started)
        return found

    @app.get("/health")
    async def health() -> wire.Health:
        """Whether the service can answer, and with what."""
        return wire.Health(
            bundle=bundle.about.name,
            classes=list(bundle.about.classes),
            members=len(bundle.about.members),
            fingerprint=bundle.fingerprint,
        )

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counters for Prometheus: no name, no class, no picture."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(index)

    @app.get("/card", response_class=HTMLResponse)
    async def model_card() -> HTMLResponse:
        """The model card."""
        return HTMLResponse(card)

    for name, kind in FILES.items():
        app.add_api_route(f"/{name}", _file(PAGE / name, kind), include_in_schema=False)

    @app.exception_handler(Exception)
    async def fault(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "A fault of the service; its log says more."}, 500, HEADERS)

    return app


def _file(path: Path, kind: str) -> Any:
    async def send() -> FileResponse:
        return FileResponse(path, media_type=kind)

    return send


def _index(keep: Path | None) -> str:
    fate = "are forgotten once they are answered" if keep is None else "are kept there with their answers"
    return (PAGE / "index.html").read_text(encoding="utf-8").replace("<!-- fate -->", fate)


def _make_own(folder: Path) -> None:
    """Make the folder that images are kept in, for this user alone if it is new."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ConfigError(
            "--keep takes a folder that can be written", found=f"{folder}: {error.strerror}"
        ) from None


def _card(bundle: Bundle) -> str:
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(bundle.card)
    return (PAGE / "card.html").read_text(encoding="utf-8").replace("<!-- card -->", body)


def _keep(folder: Path, content: bytes, prediction: wire.Prediction) -> None:
    """Store a file and its answer under its hash: no name of a request reaches the disk."""
    digest = hashlib.sha256(content).hexdigest()
    said = prediction.model_dump(exclude={"frames": {"__all__": {"image", "heat"}}})
    for suffix, kept in (("image", content), ("json", f"{json.dumps(said, indent=1)}\n".encode())):
        file = folder / f"{digest}.{suffix}"
        with replacing(file) as aside:
            aside.touch(mode=0o600)
            aside.write_bytes(kept)
