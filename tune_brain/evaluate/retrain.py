"""Seed runs: winners and baselines retrained at full length with new seeds, in parallel on Ray."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor, nn

from tune_brain import compute
from tune_brain.array_types import Bytes, Float32s
from tune_brain.cluster import check_versions, versions
from tune_brain.config import TrialConfig
from tune_brain.data.arrays import Development
from tune_brain.errors import Diverged
from tune_brain.evaluate.seed_runs import SeedRun, untrained
from tune_brain.files import replacing, writing_run
from tune_brain.layout import SEED_RUNS
from tune_brain.models import build, state_of
from tune_brain.portable.networks import CPU, INFERENCE, predict
from tune_brain.progress import Progress
from tune_brain.records import SeedRow, append, read
from tune_brain.runs import Run
from tune_brain.slots import Slots
from tune_brain.text import duration
from tune_brain.train.fit import fit
from tune_brain.train.precision import slow_on_this_cpu
from tune_brain.train.process import make_ready
from tune_brain.train.training import begin

Weights = Mapping[str, Tensor]


def train_all(
    run: Run,
    runs: Sequence[SeedRun],
    development: Development,
    weights: Weights | None,
    slots: Slots,
    progress: Progress,
) -> list[SeedRun]:
    """Train every seed run whose row or weights are missing; write its weights, then its row.

    Must be called inside `compute.session`.

    Args:
        run: the run.
        runs: its seed runs.
        development: the images for training and validation.
        weights: the weights from which the pretrained architecture starts; None: random ones.
        slots: how many train at a time, and on what.
        progress: where results are reported.

    Returns:
        Those that finished. A seed run that diverges is reported and left out, as the number of seeds in the
        scores shows.

    Raises:
        ClusterError: a seed run raised.
    """
    rows = run.folder / SEED_RUNS
    previous = {row.name: row for row in read(rows, SeedRow)}
    pending = untrained(run, runs, previous.values())
    progress.say(f"seed runs: {len(pending)} to train, {slots.count} at a time")
    precisions = {seed_run.training.arch: seed_run.training.precision for seed_run in pending}
    # On a cluster, other machines train than this one.
    if run.config.address is None and not slots.gpus and (slow := slow_on_this_cpu(precisions)):
        progress.say(slow)
    shared, start = compute.put(development), compute.put(weights)
    jobs = [(seed_run.training, shared, start, versions()) for seed_run in pending]
    diverged, on_cpu = list[SeedRun](), False
    for ended, (index, result) in enumerate(compute.each(_train, jobs, slots), 1):
        seed_run = pending[index]
        if isinstance(result, str):
            diverged.append(seed_run)
            progress.say(f"{seed_run.name}: diverged and is left out of the scores: {result}")
            continue
        measures, state, device = result
        if slots.gpus and device == "cpu" and not on_cpu:
            on_cpu = True
            progress.say(
                "torch cannot use a GPU that Ray assigned (is its driver too old?) and trains on the CPU"
            )
        with writing_run(run.folder), replacing(seed_run.weights(run.folder)) as aside:
            aside.write_bytes(state)
        row = SeedRow(
            arch=seed_run.training.arch,
            role=seed_run.role,
            index=seed_run.index,
            seed=seed_run.training.seed,
            values=dict(seed_run.values),
            **measures,
        )
        before = previous.get(seed_run.name)
        if before is None or before.model_dump(exclude={"seconds"}) != row.model_dump(exclude={"seconds"}):
            append(rows, row)
        if before and before.val_macro_f1 != row.val_macro_f1:
            progress.say(f"{seed_run.name}: retrained with another result ({before.val_macro_f1:.4f} before)")
        took = f"{duration(row.seconds)} ({ended}/{len(pending)})"
        progress.say(f"{seed_run.name}: validation macro-F1 {row.val_macro_f1:.4f} in {took}")
    return [seed_run for seed_run in runs if seed_run not in diverged]


def digests(run: Path, runs: Sequence[SeedRun]) -> dict[str, str]:
    """SHA-256 of the weights of trained seed runs, by name."""
    return {
        seed_run.name: hashlib.sha256(seed_run.weights(run).read_bytes()).hexdigest() for seed_run in runs
    }


def _train(
    config: TrialConfig, development: Development, weights: Weights | None, versions_of_driver: str
) -> tuple[dict[str, float], bytes, str] | str:
    """Train one seed run; return measures, state as safetensors and device, or how it diverged."""
    check_versions(versions_of_driver)
    make_ready()
    started = time.perf_counter()
    model, device = build(config, weights), compute.device()
    last: dict[str, float] = {}
    try:
        for row in fit(begin(model, config, development, device)):
            last = row
    except Diverged as end:
        return str(end)
    measures = {name: last[name] for name in ("val_loss", "val_accuracy", "val_macro_f1")}
    measures["seconds"] = round(time.perf_counter() - started, 3)
    return measures, save(state_of(model)), device.type


def trained_model(config: TrialConfig, state: bytes) -> nn.Module:
    """The model of a finished seed run, ready to predict in this process.

    Args:
        config: the seed run's training.
        state: its weights as the bytes of a safetensors file.
    """
    make_ready()
    model = build(config)
    model.load_state_dict(load(state))
    return model


def reproducible_logits(model: nn.Module, pixels: Bytes) -> Float32s:
    """Logits [N, C] for images uint8 [N, 1, H, W], equal to those of the exported bundle bit for bit.

    As in a bundle, the model predicts one image at a time, on the CPU and in the inference precision.
    """
    logits: Float32s = predict(model, pixels, CPU, INFERENCE, batch=1).numpy()
    return logits


def predict_logits(config: TrialConfig, state: bytes, pixels: Bytes) -> Float32s:
    """`reproducible_logits` of `trained_model`: a job for `compute.each`."""
    return reproducible_logits(trained_model(config, state), pixels)
