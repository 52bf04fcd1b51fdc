"""Run the service on a port of this machine."""

from pathlib import Path

from tune_brain.bundle.read import open_bundle
from tune_brain.errors import ConfigError
from tune_brain.progress import Progress

CONNECTIONS = 64
"""Requests get a 503 while this many connections are open."""


def serve(folder: Path, *, host: str, port: int, names: tuple[str, ...], keep: Path | None) -> None:
    """Serve a bundle until Ctrl-C.

    Args:
        folder: the bundle.
        host: address to listen on.
        port: port to listen on; 0 picks a free one.
        names: further host names under which the service may be addressed.
        keep: folder for uploaded files and their predictions; None stores nothing.

    Raises:
        BundleError: the bundle is damaged.
        ConfigError: the packages of tune-brain[serve] are missing, or the port is not available.
    """
    try:
        import uvicorn

        from tune_brain.serve.app import create_app
        from tune_brain.serve.guard import HEAD_BYTES, LOCAL
        from tune_brain.serve.protocol import TimedProtocol
    except ImportError as error:
        raise ConfigError(
            "serve needs the packages of tune-brain[serve]",
            found=f"{error.name} is not installed",
            remedy="In the checkout, in the same environment: pip install --editable '.[serve]'",
        ) from None
    bundle, progress = open_bundle(folder), Progress()
    app = create_app(bundle, hosts=(*LOCAL, host, *names), keep=keep)
    # No access log, for privacy; internal errors are logged without the request.
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=HEAD_BYTES,
        http=TimedProtocol,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
        log_level="warning",
    )
    try:
        socket = config.bind_socket()
    except SystemExit:
        raise ConfigError(
            "The service needs an address of this machine and a free port",
            found=f"{host}:{port}",
            remedy="Choose another port with --port (0 picks a free one), or another address with --host.",
        ) from None
    # Accept connections before the URL is printed.
    socket.listen()
    shown = f"[{host}]" if ":" in host else host
    if bundle.about.abstention.never_sure:
        progress.say(bundle.about.abstention.never_sure)
    progress.say(f"http://{shown}:{socket.getsockname()[1]}  (Ctrl-C ends it)")
    uvicorn.Server(config).run(sockets=[socket])
