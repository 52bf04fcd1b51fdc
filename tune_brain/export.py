"""Export: the best configurations of a run and the weights of its winners, one folder for each."""

import json
import shutil
from pathlib import Path

from tune_brain.errors import RunFolderError
from tune_brain.records import read_json, write_json
from tune_brain.runs import open_run, read_winners, winner_file


def export(folder: Path, to: Path) -> Path:
    """Write `configurations.json` and, for each winner, a folder with all that is needed to use it.

    A winner's folder holds its configuration (winner.toml), the weights of its first seed run (no seed run is
    picked by its score), and model.json: classes, how to prepare an image, where the weights started, scores.
    Before `evaluate` there are configurations only.

    Returns:
        The folder written.

    Raises:
        RunFolderError: the run has no winners yet, or the target is a file or not empty.
    """
    run = open_run(folder)
    winners = read_winners(run)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise RunFolderError(
            "Models are exported to a new or empty folder", found=str(to), remedy="Name another with --to."
        )
    aside = to.with_name(f".{to.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    record = read_json(folder / "record.json")
    scores_file = folder / "scores.json"
    scores = read_json(scores_file) if scores_file.exists() else {}
    for arch, winner in winners.items():
        into = aside / arch
        into.mkdir()
        shutil.copyfile(winner_file(folder, arch), into / "winner.toml")
        weights = folder / "weights" / f"winner-{arch}-0.safetensors"
        if weights.exists():
            shutil.copyfile(weights, into / "weights.safetensors")
        size = winner.training.image_size
        model = {
            "arch": arch,
            "classes": record["data"]["classes"],
            "input": f"grey, shorter side resized to {size} px, centre {size}x{size}, values in 0..1",
            "image_size": size,
            "weights_started_from": record["weights"],
            "data_digest": winner.data_digest,
            "scores": scores.get(arch),
            "note": "Not a medical device.",
        }
        write_json(into / "model.json", model)
    best = {arch: json.loads(winner.model_dump_json()) for arch, winner in winners.items()}
    write_json(aside / "configurations.json", best)
    if to.exists():
        to.rmdir()
    aside.replace(to)
    return to
