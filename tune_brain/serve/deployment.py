"""The same service under Ray Serve: replicas on a cluster, as launch/serve.yaml asks for them.

Each replica answers one image at a time: in a batch sums are rounded differently, and an answer would depend
on who asked at the same moment. More replicas answer more people.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_brain.bundle.read import open_bundle
from tune_brain.serve.app import create_app
from tune_brain.serve.guard import LOCAL

if TYPE_CHECKING:
    from fastapi import FastAPI


def application(args: dict[str, Any]) -> Any:
    """The Ray Serve application of a bundle.

    Args:
        args: `bundle`, a folder that every node reaches; `names`, host names that it is addressed by.
    """
    # It needs the packages of ray[serve], which only a cluster that serves has.
    from ray import serve

    folder, names = Path(args["bundle"]), tuple(args.get("names", ()))

    def app() -> "FastAPI":
        return create_app(open_bundle(folder), hosts=(*LOCAL, *names))

    @serve.deployment
    @serve.ingress(app)
    class Service:
        """One replica."""

    return Service.bind()  # type: ignore[attr-defined]
