"""The HTTP service: predictions for one uploaded file at a time, and the page that uses them."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from markdown_it import MarkdownIt
from PIL import Image
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tune_brain import __version__
from tune_brain.bundle.read import Bundle
from tune_brain.errors import ConfigError, ImageError
from tune_brain.portable.pictures import MOST_BYTES, MOST_PIXELS
from tune_brain.serve import wire
from tune_brain.serve.answers import NOTICE
from tune_brain.serve.guard import BODY_SECONDS, HEADERS, LOCAL, Guard
from tune_brain.serve.uploads import Uploads

PAGE = Path(__file__).parent / "page"
FILES = {"page.js": "text/javascript", "page.css": "text/css", "icon.svg": "image/svg+xml"}
TYPES = (
    *("image/jpeg", "image/png", "image/tiff", "application/dicom", "application/octet-stream"),
    *("application/gzip", "application/x-gzip", "application/x-nifti"),
)
CROWD = 8
"""Concurrent requests, answered one after the other; further ones get a 503."""

BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {"required": True, "content": dict.fromkeys(TYPES, BINARY)}

REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": wire.Problem, "description": text}
    for code, text in {
        400: "malformed request",
        403: "request from another origin",
        408: "file sent too slowly",
        413: "file too large",
        415: "content type of no supported image format",
        421: "unknown host name",
        422: "no readable image in the file",
        431: "request head too large",
        503: "too many concurrent requests",
    }.items()
}


def create_app(bundle: Bundle, *, hosts: Iterable[str] = LOCAL, keep: Path | None = None) -> FastAPI:
    """Create the service of a bundle.

    Args:
        bundle: the bundle to predict with.
        hosts: host names under which the service may be addressed.
        keep: folder for uploaded files and their predictions, named by hash; None stores nothing. The page
            tells its users which.
    """
    uploads, card, index = Uploads(bundle, keep), _card(bundle), _index(keep)
    # Images nested in DICOM or TIFF files are opened by other libraries, which know only this limit.
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        uploads.close()

    app = FastAPI(
        title=f"tune_brain: {bundle.about.name}",
        version=__version__,
        description=NOTICE,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Guard, hosts=hosts, largest=MOST_BYTES, crowd=CROWD, waiting=uploads.inside)

    @app.post("/predict", responses=REFUSALS, openapi_extra={"requestBody": BODY})
    async def predict(request: Request) -> wire.Prediction:
        """Predict one JPEG, PNG, TIFF, DICOM or NIfTI file, sent as the body."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in TYPES:
            raise HTTPException(415, f"Content-Type must be one of {', '.join(TYPES)}.")
        try:
            return await uploads.predict(await request.body())
        except (ImageError, ConfigError) as error:
            raise HTTPException(422, str(error)) from None

    @app.get("/health")
    async def health() -> wire.Health:
        """Whether the service is up, and with which bundle."""
        return wire.Health(
            bundle=bundle.about.name,
            classes=list(bundle.about.classes),
            members=len(bundle.about.members),
            fingerprint=bundle.fingerprint,
            tested=uploads.tested,
            body_seconds=BODY_SECONDS,
        )

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counters for Prometheus, without file names, classes or pictures."""
        return Response(generate_latest(uploads.registry), media_type=CONTENT_TYPE_LATEST)

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
        return JSONResponse({"detail": "Internal error; see the log of the service."}, 500, HEADERS)

    return app


def _file(path: Path, kind: str) -> Any:
    async def send() -> FileResponse:
        return FileResponse(path, media_type=kind)

    return send


def _index(keep: Path | None) -> str:
    fate = "are forgotten once they are answered" if keep is None else "are kept there with their answers"
    return (PAGE / "index.html").read_text(encoding="utf-8").replace("<!-- fate -->", fate)


def _card(bundle: Bundle) -> str:
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(bundle.card)
    return (PAGE / "card.html").read_text(encoding="utf-8").replace("<!-- card -->", body)
