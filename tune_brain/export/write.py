"""Export: the best configurations of a run, and a bundle of each winner and of their ensemble."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from tune_brain.bundle.read import seal
from tune_brain.bundle.schema import ABOUT, CARD, FORMAT, SIMILAR, About, weights_file
from tune_brain.config import check
from tune_brain.data.destination import making, require_new, writing
from tune_brain.errors import RunFolderError
from tune_brain.evaluate.ensemble import ENSEMBLE
from tune_brain.evaluate.validation import Validated, read
from tune_brain.export.card import card
from tune_brain.interrupts import interruptible
from tune_brain.records import arch_of, as_json, read_json, write_text
from tune_brain.runs import Run, Winner, open_run, read_winners, winner_file
from tune_brain.text import quoted

HERE = Path(__file__).parent
PORTABLE = HERE.parent / "portable"
NOTE = "Not a medical device."
DATA = ("digest", "cut_digest", "counts", "official", "unseen", "twins")
"""What a bundle says of its run's images."""


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What the stages before have left in a run's folder."""

    run: Run
    winners: Mapping[str, Winner]
    record: Mapping[str, Any]
    calibration: Mapping[str, Any]
    scores: Mapping[str, Any]
    validated: Validated


def export(folder: Path, to: Path, *, onnx: bool = False) -> Path:
    """Write `configurations.json` and, of an evaluated run, a bundle of each winner and of the ensemble.

    A winner's bundle holds its first seed run: no seed run is picked by its score. The ensemble's holds all
    seed runs of the architectures that have a share in it. Before `evaluate` there are configurations only.

    Args:
        folder: the run.
        to: a new or empty folder.
        onnx: whether the networks are written as ONNX, too.

    Returns:
        The folder written.

    Raises:
        RunFolderError: the run has no winners yet.
        ConfigError: the target is a file, not empty, or cannot be written.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP.
    """
    run, to = open_run(folder), to.resolve()
    winners = read_winners(run)
    require_new(to, "An export")
    with interruptible("Interrupted; nothing of the export is kept"), writing(to), making(to) as made:
        best = {arch: winner.model_dump(mode="json") for arch, winner in winners.items()}
        write_text(made / "configurations.json", as_json(best))
        if (folder / "scores.json").exists():
            found = _Found(
                run=run,
                winners=winners,
                record=read_json(folder / "record.json"),
                calibration=_calibration(folder),
                scores=read_json(folder / "scores.json"),
                validated=read(folder),
            )
            for name in found.scores:
                _write(found, name, made / name, onnx=onnx)
    return to


def _calibration(folder: Path) -> dict[str, Any]:
    if not (folder / "calibration.json").exists():
        raise RunFolderError(
            "An evaluated run has its calibration",
            found=f"no calibration.json in {folder}, which an older tune_brain has evaluated",
            remedy=f"Start a new run: tune-brain run --config {quoted(folder / 'run.toml')}",
        )
    return read_json(folder / "calibration.json")


def _write(found: _Found, name: str, into: Path, *, onnx: bool) -> None:
    if name == ENSEMBLE:
        weights = found.calibration["weights"]
        leading = max(weights, key=weights.__getitem__)
    else:
        leading = found.validated.of(name)[0]
        weights = {leading: 1.0}
    embedding = found.validated.of(arch_of(leading))[0]
    about = _about(found, name, weights, embedding)
    (into / "weights").mkdir(parents=True)
    for member in weights:
        source = found.run.folder / "weights" / f"{member}.safetensors"
        try:
            content = source.read_bytes()
        except FileNotFoundError:
            raise RunFolderError(
                "A bundle needs the weights of its seed runs",
                found=f"no {source}",
                remedy="Train them again, on the images of the run:\n"
                f"tune-brain evaluate {quoted(found.run.folder)}",
            ) from None
        digest = hashlib.sha256(content).hexdigest()
        # Older runs do not know.
        if digest != str(found.validated.weights.get(member, digest)):
            raise RunFolderError(
                "A bundle holds the networks that were scored",
                found=f"{source} is another one, which was trained since",
                remedy="Bring it back from a copy of the run.",
            )
        (into / weights_file(member)).write_bytes(content)
    similar = {"embeddings": found.validated.embeddings[embedding], "labels": found.validated.known}
    (into / SIMILAR).write_bytes(save({key: np.ascontiguousarray(array) for key, array in similar.items()}))
    for arch in {arch_of(member) for member in weights}:
        (into / "configurations").mkdir(exist_ok=True)
        shutil.copyfile(winner_file(found.run.folder, arch), into / "configurations" / f"{arch}.toml")
    shutil.copytree(PORTABLE, into / "portable", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(HERE / "predict.py.txt", into / "predict.py")
    if onnx:
        from tune_brain.export.onnx import write_onnx

        write_onnx(about, into)
    write_text(into / ABOUT, as_json(about.model_dump(mode="json")))
    write_text(into / CARD, card(about))
    seal(into)


def _about(found: _Found, name: str, weights: Mapping[str, float], embedding: str) -> About:
    data, trainings = found.record["data"], [winner.training for winner in found.winners.values()]
    size = trainings[0].image_size
    values = {
        "format": FORMAT,
        "name": name,
        "classes": data["classes"],
        "image_size": size,
        "preprocessing": f"grey, shorter side resized to {size} px, centre {size}x{size}, values in 0..1",
        "members": [_member(found, member, weight) for member, weight in weights.items()],
        "temperature": found.calibration["ensemble_temperature"] if name == ENSEMBLE else 1.0,
        "embedding": embedding,
        "ood": found.calibration["ood"],
        "abstention": found.calibration["abstention"][name],
        "calibration": found.calibration["validation"][name],
        "scores": found.scores[name],
        "data": {"seed": found.run.config.seed, **{key: data[key] for key in DATA}},
        "versions": {key: found.record[key] for key in ("tune_brain", "python", "packages", "commit")},
        "weights_started_from": found.record["weights"],
        "note": NOTE,
    }
    return check(About, values, f"The bundle of {name}")


def _member(found: _Found, name: str, weight: float) -> dict[str, Any]:
    return {
        "name": name,
        "arch": arch_of(name),
        "temperature": found.calibration["temperatures"][name],
        "weight": weight,
    }
