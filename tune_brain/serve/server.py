"""The service on a port of this machine."""

import logging
from pathlib import Path

from tune_brain.bundle.read import open_bundle
from tune_brain.errors import ConfigError
from tune_brain.progress import Progress

CONNECTIONS = 64


def serve(folder: Path, *, host: str, port: int, names: tuple[str, ...], keep: Path | None) -> None:
    """Serve a bundle until Ctrl-C.

    Args:
        folder: the bundle.
        host: address to listen on.
        port: to listen on.
        names: further names under which the service may be addressed.
        keep: where uploaded files are stored; None: nowhere.

    Raises:
        BundleError: the bundle is damaged.
        ConfigError: the packages of tune-brain[serve] are missing, or the port cannot be had.
    """
    try:
        import uvicorn

        from tune_brain.serve.app import create_app
        from tune_brain.serve.guard import HEAD, LOCAL
    except ImportError as error:
        raise ConfigError(
            "serve needs a web server",
            found=f"no {error.name}",
            remedy="In the checkout, into the same environment: pip install --editable '.[serve]'",
        ) from None
    app = create_app(open_bundle(folder), hosts=(*LOCAL, host, *names), keep=keep)
    # No access log: what people ask for is nobody's business, and a fault is logged without the request.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=HEAD,
        http="h11",
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
        log_level="warning",
    )
    try:
        socket = config.bind_socket()
    except SystemExit:
        raise ConfigError(
            "A service listens at a free port of an address of this machine",
            found=f"{host}:{port}",
            remedy="Name another port with --port (0 takes a free one), or another address with --host.",
        ) from None
    # Whoever reads the line below may ask at once.
    socket.listen()
    shown = f"[{host}]" if ":" in host else host
    Progress().say(f"http://{shown}:{socket.getsockname()[1]}  (Ctrl-C ends it)")
    uvicorn.Server(config).run(sockets=[socket])
