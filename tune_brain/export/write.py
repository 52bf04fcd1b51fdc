"""Export a run: its best configurations, and a bundle of each winner and of their ensemble."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from tune_brain.bundle.manifest import write_manifest
from tune_brain.bundle.schema import ABOUT, CARD, FORMAT, SIMILAR, About, weights_file
from tune_brain.config import check
from tune_brain.errors import RunFolderError
from tune_brain.evaluate.ensemble import ENSEMBLE
from tune_brain.evaluate.validation import VALIDATED, Validated, read
from tune_brain.evaluate.winners import check_chosen, check_intact
from tune_brain.export.card import card
from tune_brain.files import as_json, making, read_json, require_new, write_text, writing_output
from tune_brain.interrupts import interruptible
from tune_brain.layout import CALIBRATION, RECORD, SCORES
from tune_brain.progress import Progress
from tune_brain.records import arch_of
from tune_brain.runs import Run, Winner, open_run, portable_toml, read_winners, without_paths
from tune_brain.text import quoted

HERE = Path(__file__).parent
PORTABLE = HERE.parent / "portable"
NOTE = "Not a medical device."
DATA = (
    *("digest", "cut_digest", "counts", "official", "unseen"),
    *("twins", "patients", "uneven", "parted", "allowed_leak"),
)
"""Keys of the record's `data` that a bundle contains."""


@dataclass(frozen=True, kw_only=True)
class _Results:
    """Results of the earlier stages, read from a run's folder."""

    run: Run
    winners: Mapping[str, Winner]
    record: Mapping[str, Any]
    calibration: Mapping[str, Any]
    scores: Mapping[str, Any]
    validated: Validated


def export(folder: Path, to: Path, *, onnx: bool = False) -> Path:
    """Write `configurations.json` and, of an evaluated run, a bundle of each winner and of the ensemble.

    A winner's bundle contains its first seed run, so no seed run is selected by its score. The ensemble's
    contains all seed runs of the architectures with a share in it. Before `evaluate`, only configurations are
    written. Says which winners get no bundle and which bundles are never sure. No file names a folder of this
    machine.

    Args:
        folder: the run.
        to: a new or empty folder.
        onnx: whether to write the networks as ONNX as well.

    Returns:
        The folder written.

    Raises:
        RunFolderError: the run has no winners yet, or a file of its evaluation is missing or was changed; or
            `onnx` is asked for before `evaluate`.
        ConfigError: the target is a file, not empty, or cannot be written.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP.
    """
    run, to = open_run(folder), to.resolve()
    winners = read_winners(run)
    # Scores on the test belong to their winners, whatever today's rule would choose.
    if (folder / SCORES).exists():
        check_intact(run, winners)
    else:
        check_chosen(run, winners)
    if onnx and not (folder / SCORES).exists():
        raise RunFolderError(
            "ONNX files are written into bundles, which an evaluated run has",
            found=f"no {folder / SCORES}",
            remedy=f"tune-brain evaluate {quoted(folder)}",
        )
    require_new(to, "An export")
    with interruptible("Interrupted; nothing of the export is kept"), writing_output(to), making(to) as made:
        best = {
            arch: without_paths(winner).model_dump(mode="json", exclude={"data"})
            for arch, winner in winners.items()
        }
        write_text(made / "configurations.json", as_json(best))
        if (folder / SCORES).exists():
            results = _Results(
                run=run,
                winners=winners,
                record=read_json(folder / RECORD),
                calibration=read_json(folder / CALIBRATION),
                scores=read_json(folder / SCORES),
                validated=read(folder),
            )
            for arch in winners:
                if arch not in results.scores:
                    Progress().say(f"{arch}: no bundle, since all seed runs of its winner diverged")
            for name in results.scores:
                _write(results, name, made / name, onnx=onnx)
    return to


def _write(results: _Results, name: str, into: Path, *, onnx: bool) -> None:
    if name == ENSEMBLE:
        weights = results.calibration["weights"]
        leading = max(weights, key=weights.__getitem__)
    else:
        leading = results.validated.of(name)[0]
        weights = {leading: 1.0}
    embedding = results.validated.of(arch_of(leading))[0]
    about = _about(results, name, weights, embedding)
    if about.abstention.never_sure:
        Progress().say(f"{name}: {about.abstention.never_sure}")
    (into / "weights").mkdir(parents=True)
    for member in weights:
        source = results.run.folder / "weights" / f"{member}.safetensors"
        try:
            content = source.read_bytes()
        except FileNotFoundError:
            raise RunFolderError(
                "A bundle needs the weights of its seed runs",
                found=f"no {source}",
                remedy="Train them again, on the images of the run:\n"
                f"tune-brain evaluate {quoted(results.run.folder)}",
            ) from None
        if hashlib.sha256(content).hexdigest() != results.validated.weights.get(member):
            raise RunFolderError(
                "A bundle must contain the networks that were scored",
                found=f"{source} does not have the SHA-256 that {VALIDATED} records for it",
                remedy="Restore it from a copy of the run.",
            )
        (into / weights_file(member)).write_bytes(content)
    similar = {"embeddings": results.validated.embeddings[embedding], "labels": results.validated.known}
    (into / SIMILAR).write_bytes(save({key: np.ascontiguousarray(array) for key, array in similar.items()}))
    for arch in {arch_of(member) for member in weights}:
        (into / "configurations").mkdir(exist_ok=True)
        write_text(into / "configurations" / f"{arch}.toml", portable_toml(results.winners[arch]))
    shutil.copytree(PORTABLE, into / "portable", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(HERE / "predict.py.txt", into / "predict.py")
    if onnx:
        from tune_brain.export.onnx import write_onnx

        write_onnx(about, into)
    write_text(into / ABOUT, as_json(about.model_dump(mode="json")))
    write_text(into / CARD, card(about, onnx=onnx))
    write_manifest(into)


def _about(results: _Results, name: str, weights: Mapping[str, float], embedding: str) -> About:
    data, trainings = results.record["data"], [winner.training for winner in results.winners.values()]
    size = trainings[0].image_size
    values = {
        "format": FORMAT,
        "name": name,
        "classes": data["classes"],
        "image_size": size,
        "preprocessing": f"grey, shorter side resized to {size} px, centre {size}x{size}, values in 0..1",
        "members": [_member(results, member, weight) for member, weight in weights.items()],
        "temperature": results.calibration["ensemble_temperature"] if name == ENSEMBLE else 1.0,
        "embedding": embedding,
        "ood": results.calibration["ood"],
        "abstention": results.calibration["abstention"][name],
        "calibration": results.calibration["validation"][name],
        "scores": results.scores[name],
        "data": {"seed": results.run.config.seed, **{key: data[key] for key in DATA if key in data}},
        "versions": {key: results.record[key] for key in ("tune_brain", "python", "packages", "commit")},
        "weights_started_from": results.record["weights"],
        "note": NOTE,
    }
    return check(About, values, f"The bundle of {name}")


def _member(results: _Results, name: str, weight: float) -> dict[str, Any]:
    return {
        "name": name,
        "arch": arch_of(name),
        "temperature": results.calibration["temperatures"][name],
        "weight": weight,
    }
