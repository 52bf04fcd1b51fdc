"""Time to target: how long `tune-brain search` takes to find as much as the plain script does in 24 trials.

    python tests/benchmarks/clock.py [--quick] [--repeats 3] [--data DIR]

The cnn at 64 px, with our default ladder, including start-up and decoding. Both searches record when their
best configuration changed. Each of these configurations is then retrained for 12 epochs with three seeds, by
the code of the search that found it, on a split of the training images by groups that neither search used,
and scored by macro-F1 on validation. The target is the score of the plain script's final configuration; a
search reaches it when its best configuration first scores as much.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

import measure
import numpy as np
import plain_search
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import default_loader

from tune_brain import runs
from tune_brain.config import TrialConfig
from tune_brain.data.arrays import Development, Images
from tune_brain.data.cache import decode
from tune_brain.data.catalogue import scan
from tune_brain.data.groups import join
from tune_brain.data.series import in_blocks, ordered_series
from tune_brain.data.split import cut
from tune_brain.data.twins import twin_groups
from tune_brain.errors import Diverged
from tune_brain.evaluate.winners import choose
from tune_brain.models import build
from tune_brain.records import TrialRow, trials_of
from tune_brain.seeds import derive
from tune_brain.train.fit import fit
from tune_brain.train.training import begin

ARCH, SIZE, TRIALS, EPOCHS = "cnn", 64, 24, 12
SEEDS = (101, 102, 103)
SHARE = 0.15
Held = tuple[float, Any]
"""Seconds since the start of a search, and the configuration that became its best then."""

_development: Development
_files: tuple[list[int], list[int]]
_load = functools.cache(default_loader)
"""Decodes each image once: here only scores matter, not time."""


def _init_worker(data: Path) -> None:
    global _development, _files
    torch.set_num_threads(1)
    names, labels, pixels, thumbnails, held_out = neutral(data)
    kept = ~held_out
    samples = ImageFolder(str(data / "Training")).samples
    place = {Path(name): number for number, (name, _) in enumerate(samples)}
    places = np.array([place[data / name] for name in names])
    _files = places[kept].tolist(), places[held_out].tolist()
    train, validation = (
        Images(pixels=pixels[part], labels=labels[part], thumbnails=thumbnails[part])
        for part in (kept, held_out)
    )
    _development = Development(classes=scan(data).classes, train=train, validation=validation)


def neutral(data: Path) -> tuple[list[str], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Names, labels, pixels and thumbnails of the training images, and a mask of those held out."""
    catalogue = scan(data)
    images = [image for image in catalogue.images if image.part == "train"]
    names = [image.name for image in images]
    decoded, failures = decode([data / name for name in names], SIZE)
    assert not failures, failures
    labels = np.array([image.label for image in images])
    twins, _ = twin_groups(decoded.digests, decoded.thumbnails)
    groups = join(twins, in_blocks(len(names), ordered_series(names, decoded.thumbnails)))
    return names, labels, decoded.pixels, decoded.thumbnails, cut(labels, groups, SHARE, seed=1)


def plain(data: Path, trials: int, epochs: int, seed: int) -> list[Held]:
    """Run the plain script; returns its successive best configurations."""
    options = [str(data), ARCH, str(trials), str(epochs), str(SIZE), str(seed)]
    started = time.time()
    command = [sys.executable, str(Path(plain_search.__file__)), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    reports = [
        (at, accuracy, trial["config"])
        for trial in json.loads(done.stdout.splitlines()[-1])["trials"]
        for at, accuracy in trial["reports"]
    ]
    successive, best = list[Held](), 0.0
    for at, accuracy, config in sorted(reports, key=lambda report: report[0]):
        if accuracy > best:
            best = accuracy
            if not successive or successive[-1][1] != config:
                successive.append((at - started, config))
    return successive


def ours(data: Path, trials: int, ladder: Sequence[int], seed: int) -> list[Held]:
    """Run `tune-brain search` with an empty cache; returns its successive best configurations."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        options = f"--arch {ARCH} --configs {trials} --image-size {SIZE} --seed {seed}".split()
        options += ["--ladder", ",".join(map(str, ladder))]
        command = [*measure.PROGRAM, "search", "--data", str(data)]
        started = time.time()
        subprocess.run(
            [*command, "--out", str(out), *options],
            check=True,
            capture_output=True,
            env={**os.environ, "TUNE_BRAIN_CACHE": f"{folder}/cache"},
        )
        run = runs.open_run(out)
        rows = trials_of(out)
        precision = runs.read_winners(run)[ARCH].training.precision
    ended, successive = list[TrialRow](), list[Held]()
    for row in sorted(rows, key=lambda row: row.started + row.seconds):
        ended.append(row)
        chosen = choose(ended, run.config.full_length)
        if chosen is None:
            continue
        config = run.spaces[ARCH].trial(
            chosen.row.values,
            epochs=run.config.full_length,
            image_size=SIZE,
            classes=4,
            seed=0,
            precision=precision,
        )
        if not successive or successive[-1][1] != config:
            successive.append((row.started + row.seconds - started, config))
    return successive


def plain_score(job: tuple[Mapping[str, Any], int]) -> float:
    """Macro-F1 of one of the plain script's configurations, retrained by its own code with a seed."""
    config, seed = job
    *_, (predicted, labels) = plain_search.fitted(dict(config), *_files, seed, _load)
    return float(f1_score(labels, predicted, average="macro"))


def own_score(job: tuple[TrialConfig, int]) -> float:
    """Macro-F1 of one of our configurations, retrained with a seed; 0 if it diverges."""
    config = job[0].model_copy(update={"seed": derive(job[1], "clock")})
    try:
        rows = list(fit(begin(build(config, None), config, _development, torch.device("cpu"))))
    except Diverged:
        return 0.0
    return float(rows[-1]["val_macro_f1"])


def reached(
    successive: Sequence[Held], score: Callable[[Any], float], target: float | None = None
) -> dict[str, Any]:
    """When a search's best configuration first scored the target, and the scores of all of them.

    Args:
        successive: the successive best configurations.
        score: returns the score of a configuration.
        target: the score to reach; by default that of the last configuration.
    """
    scored: dict[str, float] = {}
    for _, config in successive:
        # A search may return to an earlier configuration.
        if repr(config) not in scored:
            scored[repr(config)] = score(config)
    scores = [scored[repr(config)] for _, config in successive]
    first = (at for (at, _), value in zip(successive, scores, strict=True) if value >= (target or scores[-1]))
    return {
        "held since: s": [round(at, 1) for at, _ in successive],
        "macro-F1": scores,
        "reached: s": next(first, None),
    }


def main() -> None:
    options = measure.parser(__doc__)
    options.set_defaults(repeats=3)
    args = options.parse_args()
    data = args.data.resolve()
    trials, epochs, ladder = (2, 2, (1, 2)) if args.quick else (TRIALS, EPOCHS, (1, EPOCHS))
    seeds: Iterable[int] = SEEDS[:1] if args.quick else SEEDS
    rounds = []
    for repeat in range(1 if args.quick else args.repeats):
        arms = {"plain": plain(data, trials, epochs, repeat), "ours": ours(data, trials, ladder, repeat)}
        print(repeat, arms, flush=True)
        pool = ProcessPoolExecutor(
            2, mp_context=get_context("spawn"), initializer=_init_worker, initargs=(data,)
        )
        with pool:

            def mean(score: Callable[[Any], float], config: Any, pool: ProcessPoolExecutor = pool) -> float:
                return fmean(pool.map(score, [(config, seed) for seed in seeds]))

            theirs = reached(arms["plain"], functools.partial(mean, plain_score))
            target = theirs["macro-F1"][-1]
            of_ours = reached(arms["ours"], functools.partial(mean, own_score), target)
        rounds.append({"mark": target, "plain": theirs, "ours": of_ours})
        print(rounds[-1], flush=True)
    result: dict[str, Any] = {"trials": trials, "rounds": rounds}
    if all(of_ours["ours"]["reached: s"] for of_ours in rounds):
        times = [[of_round[arm]["reached: s"] for of_round in rounds] for arm in ("plain", "ours")]
        result["plain / ours"] = measure.ratio(*times)
    measure.report("clock", result, quick=args.quick)


if __name__ == "__main__":
    main()
