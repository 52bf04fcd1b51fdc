"""The same service under Ray Serve, as replicas on a cluster; launch/serve.yaml configures it.

Each replica predicts one image at a time. Rounding depends on the batch size, so with batches a prediction
would depend on concurrent requests. Throughput comes from more replicas.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_brain.bundle.read import open_bundle
from tune_brain.serve.app import create_app
from tune_brain.serve.guard import LOCAL

if TYPE_CHECKING:
    from fastapi import FastAPI


def application(args: dict[str, Any]) -> Any:
    """Build the Ray Serve application of a bundle.

    Args:
        args: `bundle`, a folder that every node can read; `names`, host names of the service.
    """
    # Lazy: it needs the packages of ray[serve], which are installed on serving clusters only.
    from ray import serve

    folder, names = Path(args["bundle"]), tuple(args.get("names", ()))

    def app() -> "FastAPI":
        return create_app(open_bundle(folder), hosts=(*LOCAL, *names))

    @serve.deployment
    @serve.ingress(app)
    class Service:
        """One replica."""

    return Service.bind()  # type: ignore[attr-defined]
