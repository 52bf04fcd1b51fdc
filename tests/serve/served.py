"""The service in a thread, for a browser, and the results on its page."""

import threading
from pathlib import Path
from typing import Any

import uvicorn

from tune_brain.bundle.read import open_bundle
from tune_brain.serve.app import create_app


class Server(uvicorn.Server):
    """The service in a thread, on a free port unless one is given."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(uvicorn.Config(create_app(open_bundle(folder)), port=port, log_level="warning"))
        self.socket = self.config.bind_socket()
        self.socket.listen()
        self.port = self.socket.getsockname()[1]
        self.url, self.folder = f"http://127.0.0.1:{self.port}", folder
        self.thread = threading.Thread(target=self.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.should_exit = True
        self.thread.join()


def articles(page: Any) -> Any:
    return page.locator("article")
