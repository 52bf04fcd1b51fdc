"""A minimal Kaggle server on loopback, which the real client reaches as a proxy to http://localhost."""

import base64
import contextlib
import io
import json
import os
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KEY = "s3cret-of-a-test"
TOKEN = "KGAT_s3cret-of-a-test"
DOWNLOAD = "/api/v1/datasets.DatasetApiService/DownloadDataset"
INTROSPECT = "/api/v1/security.OAuthService/IntrospectToken"
SIGNATURE = "s1gned-for-a-test"
STORAGE = f"/storage/archive.zip?signature={SIGNATURE}"
NO_WAITING = "import time\ntime.sleep = lambda seconds: None\n"
"""A `sitecustomize` for the tested process, because kaggle waits a minute between attempts."""


@dataclass
class Site:
    """The server's configuration and the requests it received."""

    archive: bytes
    status: int = 200
    sent: float = 1.0
    """Share of the archive after which the connection is closed."""
    length: bool = True
    """Whether the response has a Content-Length."""
    free: threading.Event = field(default_factory=threading.Event)
    """The archive is sent once this is set."""
    address: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Path, user or token, and body of each request."""

    def environment(self, home: Path) -> dict[str, str]:
        """Environment variables that lead kaggle here and hide the credentials of whoever runs the test."""
        home.mkdir(exist_ok=True)
        (home / "sitecustomize.py").write_text(NO_WAITING)
        own = {name: value for name, value in os.environ.items() if "KAGGLE" not in name}
        paths = [str(home), str(Path(__file__).parents[2])]
        return {
            **{name: value for name, value in own.items() if not name.lower().endswith("_proxy")},
            "HOME": str(home),
            "PYTHONPATH": os.pathsep.join(paths),
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": self.address,
        }


@contextlib.contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Serve a site on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.removeprefix("http://localhost")
            user = _user(self.headers.get("Authorization", ""))
            site.requests.append((path, user, body.decode()))
            if path == INTROSPECT:
                right = json.loads(body)["token"] == TOKEN
                self._answer(200, {"active": right, "username": "ada" if right else ""})
            elif path != DOWNLOAD:
                self._answer(404, {"code": 404, "message": path})
            elif user not in (f"ada:{KEY}", TOKEN):
                self._answer(401, {"code": 401, "message": f"Unauthorized {user}"})
            elif site.status != 200:
                self._answer(site.status, {"code": site.status, "message": f"{user} may not"})
            else:
                self.send_response(302)
                self.send_header("Location", f"http://localhost{STORAGE}")
                self.end_headers()

        def do_GET(self) -> None:
            site.requests.append((self.path.removeprefix("http://localhost"), "", ""))
            site.free.wait()
            self.send_response(200)
            self.send_header("Content-Type", "application/zip")
            self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
            if site.length:
                self.send_header("Content-Length", str(len(site.archive)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(site.archive[: round(len(site.archive) * site.sent)])

        def _answer(self, status: int, value: Mapping[str, object]) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield site
        finally:
            site.free.set()
            server.shutdown()


def _user(header: str) -> str:
    kind, _, value = header.partition(" ")
    return base64.b64decode(value).decode() if kind == "Basic" else value


def zipped(folder: Path) -> bytes:
    """A folder as a zip archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return content.getvalue()
