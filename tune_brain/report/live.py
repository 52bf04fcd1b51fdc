"""The live dashboard: a server that renders each run's page and re-renders the views whose rows have changed.

It only reads files, so it can watch a search from outside, during the search and after it. The browser polls
the versions of the views. Computing them takes a stat of a few files; only views that have changed and are
in sight are rendered again.
"""

import os
import secrets
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

from tune_brain.data.catalogue import SUFFIXES
from tune_brain.errors import ConfigError, TuneBrainError
from tune_brain.report.page import Live, fragment, page
from tune_brain.report.run_reader import Reader, VersionedCache
from tune_brain.report.run_view import RunView
from tune_brain.report.score_views import distinct_names
from tune_brain.report.views import VIEWS

LOCAL = ("127.0.0.1", "localhost")
NICE = 10
"""Added to the server's niceness, so that a search on the same machine has priority."""


class Watched:
    """The runs of a server, addressed by their position; files are read again when they have changed."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Read every run once.

        Raises:
            RunFolderError: a folder contains no run, or one of its files is damaged.
            ConfigError: a run.toml, a space file or a winner's file is damaged.
        """
        self._readers = [Reader(folder) for folder in folders]
        self._figures = [VersionedCache() for _ in folders]
        self._views = VersionedCache()
        self._lock = threading.Lock()
        self.names = distinct_names([self.shown(run) for run in range(len(folders))])
        self.identities = [secrets.token_hex(8) for _ in folders]
        """By run: differs between folders and between servers, so that an open page notices a new server."""

    def __len__(self) -> int:
        return len(self._readers)

    def stamps(self, run: int) -> Mapping[str, str]:
        """Stamps of a run's files, by kind of input; see `Reader.stamps`."""
        return self._readers[run].stamps()

    def state(self, run: int) -> str:
        """`live` while a command writes to a run, otherwise `not running`."""
        return "not running" if self._readers[run].writer() is None else "live"

    def shown(self, run: int) -> RunView:
        """The current state of a run.

        Raises:
            RunFolderError: a file is damaged.
            ConfigError: run.toml, a space file or a winner's file is damaged.
        """
        with self._lock:
            reader, figures = self._readers[run], self._figures[run]
            return self._views.get(run, reader.stamps(), lambda: RunView(reader.read(), figures))

    def others(self, run: int) -> tuple[list[RunView], dict[str, str]]:
        """All runs but one; and of those that cannot be read, by name, why."""
        others, unread = [], {}
        for other in range(len(self)):
            if other != run:
                try:
                    others.append(self.shown(other))
                except TuneBrainError as error:
                    unread[self.names[other]] = str(error)
        return others, unread

    def versions(self, run: int) -> dict[str, str]:
        """Version of each view of a run; it changes when an input of the view does."""
        own = self.stamps(run)
        others = [self.stamps(other) for other in range(len(self)) if other != run]
        return {
            view.name: "-".join(
                stamps[need]
                for stamps in ([own, *others] if view.name == "compare" else [own])
                for need in sorted(view.needs)
            )
            for view in VIEWS
            if view.name != "compare" or others
        }


def application(folders: Sequence[Path], host: str = LOCAL[0]) -> Starlette:
    """The server of some runs, which browsers may address by `host` or as localhost.

    URLs contain numbers of runs and test images and names of views, never file paths. Requests for another
    host name are refused, to prevent DNS rebinding: a foreign page could let its own name resolve to this
    machine.

    Raises:
        RunFolderError: a folder contains no run, or one of its files is damaged.
        ConfigError: a run.toml, a space file or a winner's file is damaged.
    """
    runs = Watched(folders)

    def whole(request: Request) -> Response:
        run = _run(request, runs)
        live = Live(
            run=runs.identities[run],
            names=runs.names,
            place=run,
            state=runs.state(run),
            versions=runs.versions(run),
        )
        return HTMLResponse(page(runs.shown(run), live=live), headers=FRESH)

    def versions(request: Request) -> Response:
        run = _run(request, runs)
        headers = {**FRESH, "X-Run": runs.identities[run], "X-State": runs.state(run)}
        return JSONResponse(runs.versions(run), headers=headers)

    def view(request: Request) -> Response:
        run = _run(request, runs)
        views = {view.name: view for view in VIEWS}
        name = request.path_params["view"]
        version = runs.versions(run).get(name)
        if version is None:
            raise HTTPException(404)
        shown = runs.shown(run)
        others, unread = runs.others(run) if name == "compare" else ([], {})
        has_images = shown.config.data is not None and shown.config.data.is_dir()
        images = f"/run/{run}/images" if has_images else ""
        html = fragment(views[name], shown, others, images=images, unread=unread)
        return HTMLResponse(html, headers={**FRESH, "X-Run": runs.identities[run], "X-Version": version})

    def image(request: Request) -> Response:
        path = image_file(runs.shown(_run(request, runs)), request.path_params["number"])
        if path is None:
            raise HTTPException(404)
        return FileResponse(path, headers=FRESH)

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


FRESH = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def image_file(shown: RunView, number: int) -> Path | None:
    """The file of a test image by its index in the predictions.

    None if the image folder is not available, the index is out of range, or the file lies outside the folder
    or is none of the images that a search reads.
    """
    root, test = shown.config.data, shown.predictions
    if root is None or test is None or number >= len(test.names):
        return None
    path = (root / str(test.names[number])).resolve()
    allowed = path.is_relative_to(root.resolve()) and path.suffix.lower() in SUFFIXES
    return path if allowed and path.is_file() else None


def _run(request: Request, runs: Watched) -> int:
    run = int(request.path_params["run"])
    if run >= len(runs):
        raise HTTPException(404)
    return run


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 picks a free port.

    Raises:
        ConfigError: the address or the port is not available.
    """
    if host in ("", "0.0.0.0", "::"):
        raise ConfigError(
            "--host must be one address of this machine that browsers use", found=host or "none"
        )
    try:
        return socket.create_server((host, port), reuse_port=False)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            "The dashboard cannot listen on this address",
            found=f"{host}:{port}, {error}",
            remedy="Choose another port with --port; 0 picks a free one.",
        ) from None


def serve(app: Starlette, listening: socket.socket) -> None:
    """Serve on a socket until Ctrl-C, at a lower CPU priority than a search on the same machine."""
    os.nice(NICE)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listening])
