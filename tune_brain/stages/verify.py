"""Verify a bundle: its files against its manifest, and its scores on images."""

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
"""What a bundle records about the images of its run: digests, and class counts of both parts of the test."""
TOLERANCE = {"accuracy": 1e-9, "f1": 1e-9, "log_loss": 1e-6}
"""Another processor may sum in another order; the same one reproduces the scores bit for bit."""


def verify(folder: Path, data: Path | None) -> Iterator[str]:
    """Check a bundle's files and, where images are given, its scores; yields the findings line by line.

    Args:
        folder: the bundle.
        data: image folder to score the bundle on, or None.

    Raises:
        BundleError: a file differs from its export, or a score on the images of the run from the claimed one.
        DataError: the images cannot be read.
    """
    bundle = open_bundle(folder)
    yield f"{folder}: all files are as exported; fingerprint {bundle.fingerprint}"
    if data is None:
        return
    about = bundle.about
    config, facts, claims = _claims(folder, data, about)
    prepared = images(config, Progress())
    same_images = prepared.summary["digest"] == facts["digest"]
    same_split = all(prepared.summary[name] == facts[name] for name in FACTS[1:])
    if not same_images:
        yield "the images are not those of its run"
    elif not same_split:
        yield "the images are those of its run, but this version of tune_brain splits them differently"
    else:
        yield "the images are those of its run"
    if prepared.classes != about.classes:
        raise BundleError(
            "The classes of the images are not those of the bundle",
            found=f"{', '.join(prepared.classes)} instead of {', '.join(about.classes)}",
        )
    deviating = []
    make_ready()
    test = scored_before(prepared)
    probabilities = bundle.model.infer(np.asarray(test.pixels)).probabilities
    for part in TEST_PARTS:
        inside = test.unseen | (part == "official")
        measured, claimed = exported(probabilities[inside], test.labels[inside]), claims[part]
        for name in CLAIMS:
            values = f"{_shown(measured[name])}, claimed {_shown(claimed[name])}"
            yield f"{part:8} {name:9} {values} (n = {inside.sum()})"
            if not _equal(measured[name], claimed[name], TOLERANCE[name]):
                deviating.append(f"{part} {name}")
    if same_images and same_split and deviating:
        raise BundleError(
            "The bundle does not reach its claimed scores on the images of its run",
            found=", ".join(deviating),
        )


def _claims(
    folder: Path, data: Path, about: About
) -> tuple[RunConfig, dict[str, Any], dict[str, dict[str, float | None]]]:
    """What a bundle records of its run.

    Returns:
        A configuration that decodes and splits `data` as the run did; the values of `FACTS`; and the claimed
        scores by part of the test and metric.
    """
    try:
        config = RunConfig(data=data, out=folder, image_size=about.image_size, seed=int(about.data["seed"]))
        scores = {part: about.scores[part]["exported"] for part in TEST_PARTS}
        claims = {
            part: {name: None if of[name] is None else float(of[name]) for name in CLAIMS}
            for part, of in scores.items()
        }
        return config, {name: about.data[name] for name in FACTS}, claims
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleError(
            "The bundle's record of its run is incomplete or damaged, so its scores cannot be checked",
            found=f"{folder / ABOUT}: {type(error).__name__} {' '.join(str(error).split())[:200]}",
            remedy="Verify it without images, or export it again: tune-brain export RUN --to DIR",
        ) from None


def _equal(measured: float | None, claimed: float | None, tolerance: float) -> bool:
    if measured is None or claimed is None:
        return measured is claimed
    return abs(measured - claimed) <= tolerance


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"
