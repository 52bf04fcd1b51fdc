"""The live dashboard: a server of the page of each run, which re-sends the views whose rows have changed.

It reads rows and nothing else, so it can watch a search from outside and after its end. The browser asks for
the versions of the views; a version costs a look at the sizes of a few files, and only what changed and is in
sight is made anew.
"""

import os
import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tune_brain.errors import ConfigError, TuneBrainError
from tune_brain.report.page import fragment, page
from tune_brain.report.run_reader import Reader, VersionedCache
from tune_brain.report.run_view import RunView
from tune_brain.report.views import VIEWS

LOCAL = ("127.0.0.1", "localhost")
NICE = 10
"""Added to the server's niceness: where the processor is wanted, the search goes before it."""


class Watched:
    """The runs of a server, read again where they have grown."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Read every run once.

        Raises:
            RunFolderError: a folder holds no run, or a file of it is damaged.
        """
        self._readers = [Reader(folder) for folder in folders]
        self._memories = [VersionedCache() for _ in folders]
        self._shown = VersionedCache()
        self._lock = threading.Lock()
        self.names = [self.shown(run).name for run in range(len(folders))]

    def __len__(self) -> int:
        return len(self._readers)

    def stamps(self, run: int) -> Mapping[str, str]:
        """What changes when a run does, by what views need."""
        return self._readers[run].stamps()

    def shown(self, run: int) -> RunView:
        """A run as it stands now.

        Raises:
            RunFolderError: a file is damaged.
            ConfigError: run.toml or a space file is damaged.
        """
        with self._lock:
            reader, memory = self._readers[run], self._memories[run]
            return self._shown.keep(run, reader.stamps(), lambda: RunView(reader.read(), memory))

    def others(self, run: int) -> list[RunView]:
        """The runs beside one."""
        return [self.shown(other) for other in range(len(self)) if other != run]

    def versions(self, run: int) -> dict[str, str]:
        """By view: what changes when the view does."""
        own = self.stamps(run)
        beside = [self.stamps(other) for other in range(len(self)) if other != run]
        return {
            view.name: "-".join(
                stamps[need]
                for stamps in ([own, *beside] if view.name == "compare" else [own])
                for need in sorted(view.needs)
            )
            for view in VIEWS
            if view.name != "compare" or beside
        }


def application(folders: Sequence[Path], host: str = LOCAL[0]) -> Starlette:
    """The server of some runs; a browser may call it by the name of its host, or as this machine.

    Paths lead to numbers of runs and of test images and to names of views, never to files. Requests
    in another host's name are refused: a foreign page could otherwise have a name of its own point here.

    Raises:
        RunFolderError: a folder holds no run, or a file of it is damaged.
    """
    runs = Watched(folders)

    def whole(request: Request) -> Response:
        run = _run(request, runs)
        versions = runs.versions(run)
        made = page(runs.shown(run), runs.others(run), runs.names, versions)
        return HTMLResponse(made, headers=FRESH)

    def versions(request: Request) -> Response:
        return JSONResponse(runs.versions(_run(request, runs)), headers=FRESH)

    def view(request: Request) -> Response:
        run = _run(request, runs)
        known = {view.name: view for view in VIEWS}
        name = request.path_params["view"]
        version = runs.versions(run).get(name)
        if version is None:
            raise HTTPException(404)
        shown, others = runs.shown(run), runs.others(run) if name == "compare" else []
        there = shown.config.data is not None and shown.config.data.is_dir()
        made = fragment(known[name], shown, others, f"/run/{run}/images" if there else "")
        return HTMLResponse(made, headers={**FRESH, "X-Version": version})

    def image(request: Request) -> Response:
        found = image_file(runs.shown(_run(request, runs)), request.path_params["number"])
        if found is None:
            raise HTTPException(404)
        return FileResponse(found, headers=FRESH)

    def first(_: Request) -> Response:
        return RedirectResponse("/run/0")

    def broken(_: Request, error: Exception) -> Response:
        return Response(str(error), 409, media_type="text/plain", headers=FRESH)

    return Starlette(
        routes=[
            Route("/", first),
            Route("/run/{run:int}", whole),
            Route("/run/{run:int}/views", versions),
            Route("/run/{run:int}/images/{number:int}", image),
            Route("/run/{run:int}/views/{view}", view),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=[*LOCAL, host], www_redirect=False),
            Middleware(GZipMiddleware, compresslevel=1),
        ],
        exception_handlers={TuneBrainError: broken},
    )


SHOWN = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif")
"""What a browser can show."""

FRESH = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def image_file(shown: RunView, number: int) -> Path | None:
    """The file of a test image by its place in the predictions, where the image folder is at hand."""
    root, test = shown.config.data, shown.predictions
    if root is None or test is None or number >= len(test.names):
        return None
    path = (root / str(test.names[number])).resolve()
    inside = path.is_relative_to(root.resolve()) and path.suffix.lower() in SHOWN
    return path if inside and path.is_file() else None


def _run(request: Request, runs: Watched) -> int:
    run = int(request.path_params["run"])
    if run >= len(runs):
        raise HTTPException(404)
    return run


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is a free one.

    Raises:
        ConfigError: the address or the port cannot be had.
    """
    if host in ("", "0.0.0.0", "::"):
        raise ConfigError(
            "--host is one address of this machine, by which browsers call it", found=host or "none"
        )
    try:
        return socket.create_server((host, port), reuse_port=False)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            "The dashboard needs a free port of this machine",
            found=f"{host}:{port}, {error}",
            remedy="Name another with --port; 0 takes a free one.",
        ) from None


def serve(app: Starlette, listening: socket.socket) -> None:
    """Answer on a socket until Ctrl-C, behind the search wherever both want the processor."""
    os.nice(NICE)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listening])
