"""Seed runs: winners and baselines trained again at full length with other seeds, through Ray in parallel."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from tune_brain import compute
from tune_brain.config import TrialConfig
from tune_brain.data.arrays import Development
from tune_brain.errors import Diverged, RunFolderError
from tune_brain.models import build, state_of
from tune_brain.portable.networks import CPU, INFERENCE, predict
from tune_brain.progress import Progress
from tune_brain.records import BASELINE, Role, SeedRow, append, read, replacing, seed_name, writing
from tune_brain.runs import Run, Winner
from tune_brain.seeds import derive
from tune_brain.slots import Slots
from tune_brain.text import duration
from tune_brain.train.fit import fit
from tune_brain.train.process import make_ready
from tune_brain.train.training import begin

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class SeedRun:
    """One winner or baseline to be trained with one seed."""

    role: Role
    index: int
    training: TrialConfig
    values: Mapping[str, float]

    @property
    def name(self) -> str:
        """How its row, weights and predictions are found."""
        return seed_name(self.role, self.training.arch, self.index)

    def weights(self, run: Path) -> Path:
        """Where its weights stand."""
        return run / "weights" / f"{self.name}.safetensors"


def plan(run: Run, winners: Mapping[str, Winner]) -> list[SeedRun]:
    """All seed runs of a run. A baseline that won its study is trained once, as the winner.

    No seed is that of a trial of the search: a winner's own seed is part of why it won.
    """
    runs = []
    for arch, winner in winners.items():
        roles: dict[Role, Mapping[str, float]] = {"winner": winner.values}
        if winner.configuration != BASELINE:
            roles["baseline"] = run.spaces[arch].baseline
        for role, values in roles.items():
            for index in range(run.config.seeds):
                hyperparameters = run.spaces[arch].hyperparameters(values)
                seed = derive(run.config.seed, arch, role, "seed run", index)
                training = winner.training.model_copy(
                    update={"hyperparameters": hyperparameters, "seed": seed}
                )
                runs.append(SeedRun(role=role, index=index, training=training, values=values))
    return runs


def check_rows(run: Run, runs: Sequence[SeedRun]) -> None:
    """Refuse to take rows of other configurations or seeds for those of these seed runs.

    Raises:
        RunFolderError: the winners have changed since a seed run was trained.
    """
    path = run.folder / "seed_runs.jsonl"
    trained = {row.name: row for row in read(path, SeedRow)}
    for one in runs:
        row = trained.get(one.name)
        if row and (row.seed, row.values) != (one.training.seed, one.values):
            raise RunFolderError(
                "Seed runs must be those of the winners that stand",
                found=f"{path} holds {one.name} with seed {row.seed} and {row.values}",
                remedy="Move it aside to train them anew.",
            )


def rows_of(run: Run, runs: Sequence[SeedRun]) -> list[SeedRow]:
    """The rows of these seed runs, as they were trained last; others may stand beside them.

    Those of an evaluation with more seeds that was given up, and of networks that are no more: where a run
    comes back without its weights, they are trained again, and on another processor come out otherwise.
    """
    names = {one.name for one in runs}
    last = {row.name: row for row in read(run.folder / "seed_runs.jsonl", SeedRow)}
    return [row for name, row in last.items() if name in names]


def train_all(
    run: Run,
    runs: Sequence[SeedRun],
    development: Development,
    weights: State | None,
    slots: Slots,
    progress: Progress,
) -> list[SeedRun]:
    """Train every seed run whose row or weights are missing; write its weights, then its row.

    Inside `compute.session`.

    Returns:
        Those that ended well: a seed run that diverges is said and left out, which the scores' count shows.

    Raises:
        ClusterError: a seed run raised.
    """
    rows = run.folder / "seed_runs.jsonl"
    done = {row.name: row for row in read(rows, SeedRow)}
    left = [one for one in runs if one.name not in done or not one.weights(run.folder).exists()]
    progress.say(f"seed runs: {len(left)} to train, {slots.count} at a time")
    shared, start = compute.put(development), compute.put(weights)
    jobs = [(one.training, shared, start) for one in left]
    diverged = []
    for ended, (index, result) in enumerate(compute.each(_train, jobs, slots), 1):
        one = left[index]
        if isinstance(result, str):
            diverged.append(one)
            progress.say(f"{one.name}: diverged and is left out of the scores: {result}")
            continue
        measured, state = result
        with writing(run.folder), replacing(one.weights(run.folder)) as aside:
            aside.write_bytes(state)
        row = SeedRow(
            arch=one.training.arch,
            role=one.role,
            index=one.index,
            seed=one.training.seed,
            values=dict(one.values),
            **measured,
        )
        before = done.get(one.name)
        if before is None or before.model_dump(exclude={"seconds"}) != row.model_dump(exclude={"seconds"}):
            append(rows, row)
        if before and before.val_macro_f1 != row.val_macro_f1:
            progress.say(f"{one.name}: trained again, not as it was ({before.val_macro_f1:.4f})")
        took = f"{duration(row.seconds)} ({ended}/{len(left)})"
        progress.say(f"{one.name}: validation macro-F1 {row.val_macro_f1:.4f} in {took}")
    return [one for one in runs if one not in diverged]


def digests(run: Path, runs: Sequence[SeedRun]) -> dict[str, str]:
    """SHA-256 of the weights of trained seed runs, by name."""
    return {one.name: hashlib.sha256(one.weights(run).read_bytes()).hexdigest() for one in runs}


def _train(
    config: TrialConfig, development: Development, weights: State | None
) -> tuple[dict[str, float], bytes] | str:
    """Train one seed run; return its last measures and its state as safetensors, or how it diverged."""
    make_ready()
    started = time.perf_counter()
    model = build(config, weights)
    last: dict[str, float] = {}
    try:
        for row in fit(begin(model, config, development, compute.device())):
            last = row
    except Diverged as end:
        return str(end)
    kept = {name: last[name] for name in ("val_loss", "val_accuracy", "val_macro_f1")}
    return {**kept, "seconds": round(time.perf_counter() - started, 3)}, save(state_of(model))


def logits(config: TrialConfig, state: bytes, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits [N, C] of a trained model, its state as safetensors, for images uint8 [N, 1, H, W].

    One image at a time, on the CPU and as a bundle speaks, so that it says the same of an image to the last
    bit.
    """
    make_ready()
    model = build(config)
    model.load_state_dict(load(state))
    scores: NDArray[np.float32] = predict(model, pixels, CPU, INFERENCE, batch=1).numpy()
    return scores
