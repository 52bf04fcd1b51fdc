"""What several stages do: have a run's images and weights at hand, say how to go on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tune_brain.config import PRETRAINED, RunConfig
from tune_brain.data.cache import cache_root
from tune_brain.data.demo import write_demo
from tune_brain.data.prepare import Prepared, prepare
from tune_brain.errors import DataError, Interrupted
from tune_brain.progress import Progress
from tune_brain.records import read_json
from tune_brain.runs import Run

if TYPE_CHECKING:
    from tune_brain.weights import ResolvedWeights

RANDOM = "random weights: its scores say nothing of a pretrained network"


def images(config: RunConfig, progress: Progress) -> Prepared:
    """Decode the images of a run, or read them back from the cache."""
    root = config.data
    if root is None:
        root = cache_root() / "demo-images"
        if not root.exists():
            write_demo(root)
    with progress.bar("decoding images") as advance:
        return prepare(root, image_size=config.image_size, seed=config.seed, progress=advance)


def starting_weights(config: RunConfig, progress: Progress) -> "ResolvedWeights | None":
    """The weights that the pretrained architecture starts from, said aloud; None for random ones."""
    if PRETRAINED not in config.arch:
        return None
    from tune_brain import weights

    resolved = weights.resolve(config.weights)
    progress.say(f"{PRETRAINED} starts from {resolved.origin if resolved else RANDOM}")
    return resolved


def check_cut(run: Run, prepared: Prepared) -> None:
    """Refuse images other than those that a run was made with.

    Raises:
        DataError: the images or their cut differ.
    """
    known = read_json(run.folder / "record.json")["data"]["cut_digest"]
    check_digest(prepared, known, str(run.folder))


def check_digest(prepared: Prepared, known: str, what: str) -> None:
    """Refuse images of another digest than the one `what` was made with.

    Raises:
        DataError: the digests differ.
    """
    found = prepared.summary["cut_digest"]
    if found != known:
        raise DataError(
            f"The images and their cut must be those that {what} was made with",
            found=f"digest {found[:12]} instead of {known[:12]}",
            remedy="Bring the folder and tune_brain back to what they were, or start a new run.",
        )


@contextmanager
def going_on(command: str) -> Iterator[None]:
    """Say how to go on when a stage is interrupted."""
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(
            "Interrupted; what is finished is kept", remedy=f"Go on with: tune-brain {command}"
        ) from None
