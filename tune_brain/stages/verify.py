"""The verification of a bundle: its files against its manifest, its scores against images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tune_brain.bundle.read import open_bundle
from tune_brain.bundle.schema import ABOUT, About
from tune_brain.config import RunConfig
from tune_brain.errors import BundleError
from tune_brain.evaluate.ensemble import CLAIMS, exported
from tune_brain.evaluate.sealed import scored_before
from tune_brain.progress import Progress
from tune_brain.records import TEST_PARTS
from tune_brain.stages.common import images
from tune_brain.train.process import make_ready

FACTS = ("digest", "cut_digest", "official", "unseen")
"""What a bundle says of the images of its run."""
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
    asked, facts, claims = _promised(folder, data, about)
    prepared = images(asked, Progress())
    same = prepared.summary["digest"] == facts["digest"]
    cut = all(prepared.summary[name] == facts[name] for name in FACTS[1:])
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
    for part in TEST_PARTS:
        inside = test.unseen | (part == "official")
        found, claimed = exported(said[inside], test.labels[inside]), claims[part]
        for name in CLAIMS:
            values = f"{_shown(found[name])}, claimed {_shown(claimed[name])}"
            yield f"{part:8} {name:9} {values} (n = {inside.sum()})"
            if not _equal(found[name], claimed[name], TOLERANCE[name]):
                wrong.append(f"{part} {name}")
    if same and cut and wrong:
        raise BundleError("On the images of its run a bundle scores as it claims", found=", ".join(wrong))


def _promised(
    folder: Path, data: Path, about: About
) -> tuple[RunConfig, dict[str, Any], dict[str, dict[str, float | None]]]:
    """How the run cut its images, what is known of them, and its scores by part of the test and measure."""
    try:
        asked = RunConfig(data=data, out=folder, image_size=about.image_size, seed=int(about.data["seed"]))
        scores = {part: about.scores[part]["exported"] for part in TEST_PARTS}
        claims = {
            part: {name: None if of[name] is None else float(of[name]) for name in CLAIMS}
            for part, of in scores.items()
        }
        return asked, {name: about.data[name] for name in FACTS}, claims
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleError(
            "A bundle is scored again by what it says of its run's images and scores",
            found=f"{folder / ABOUT}: {type(error).__name__} {' '.join(str(error).split())[:200]}",
            remedy="Verify it without images, or export it anew: tune-brain export RUN --to DIR",
        ) from None


def _equal(found: float | None, claimed: float | None, tolerance: float) -> bool:
    if found is None or claimed is None:
        return found is claimed
    return abs(found - claimed) <= tolerance


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"
