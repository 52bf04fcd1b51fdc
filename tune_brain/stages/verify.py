"""The verification of a bundle: its files against its manifest, its scores against images."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tune_brain.bundle.read import open_bundle
from tune_brain.config import RunConfig
from tune_brain.errors import BundleError
from tune_brain.evaluate.ensemble import CLAIMS, exported
from tune_brain.evaluate.sealed import scored_before
from tune_brain.progress import Progress
from tune_brain.stages.common import images
from tune_brain.train.process import make_ready

TOLERANCE = {"accuracy": 1e-9, "f1": 1e-9, "log_loss": 1e-6}
"""Another processor may add in another order; the same one gives the same bits."""


def verify(folder: Path, data: Path | None) -> Iterator[str]:
    """Check a bundle and, where images are given, score it again; yields what was found, line by line.

    Raises:
        BundleError: a file is not as it was exported, or a score on the images of the run is not as claimed.
        DataError: the images cannot be read.
    """
    bundle = open_bundle(folder)
    yield f"{folder}: every file is as it was exported; fingerprint {bundle.fingerprint}"
    if data is None:
        return
    about = bundle.about
    asked = RunConfig(data=data, out=folder, image_size=about.image_size, seed=int(about.data["seed"]))
    prepared = images(asked, Progress())
    same = prepared.summary["digest"] == about.data["digest"]
    cut = all(prepared.summary[part] == about.data[part] for part in ("cut_digest", "official", "unseen"))
    if not same:
        yield "these are other images than those of its run"
    elif not cut:
        yield "the images are those of its run, but this version of tune_brain tests by others of them"
    else:
        yield "the images are those of its run"
    if prepared.classes != about.classes:
        raise BundleError(
            "Images must stand in the bundle's classes",
            found=f"{', '.join(prepared.classes)} instead of {', '.join(about.classes)}",
        )
    wrong = []
    make_ready()
    test = scored_before(prepared)
    said = bundle.model.answer(np.asarray(test.pixels)).probabilities
    for part, inside in (("official", np.ones(len(test.labels), bool)), ("unseen", test.unseen)):
        found, claimed = exported(said[inside], test.labels[inside]), about.scores[part]["exported"]
        for name in CLAIMS:
            values = f"{_shown(found[name])}, claimed {_shown(claimed[name])}"
            yield f"{part:8} {name:9} {values} (n = {inside.sum()})"
            if not _equal(found[name], claimed[name], TOLERANCE[name]):
                wrong.append(f"{part} {name}")
    if same and cut and wrong:
        raise BundleError("On the images of its run a bundle scores as it claims", found=", ".join(wrong))


def _equal(found: float | None, claimed: float | None, tolerance: float) -> bool:
    if found is None or claimed is None:
        return found is claimed
    return abs(found - claimed) <= tolerance


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"
