"""On the clock: how long `tune-brain search` takes to find as much as the plain script does in 24 trials.

    python tests/benchmarks/clock.py [--quick] [--repeats 3] [--data DIR]

The cnn at 64 px, ours on the default ladder, start-up and decoding counted. Both searches tell when they came
to hold which configuration for the best. Each such configuration is then trained anew for 12 epochs with
three seeds, by the search that found it, on a cut of the training images by groups that is neither's own, and
scored by macro-F1 on validation. The mark is what the plain script's last configuration scores so; a search
has reached it when it first holds one that scores as much.
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
from tune_brain.data.split import blocks, cut
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
"""Seconds since a search was started, and what it then came to hold for the best."""

_development: Development
_files: tuple[list[int], list[int]]
_load = functools.cache(default_loader)
"""Images are decoded once where scores are asked for and not the time."""


def _take(data: Path) -> None:
    global _development, _files
    torch.set_num_threads(1)
    names, labels, pixels, thumbnails, held = neutral(data)
    seen = ~held
    samples = ImageFolder(str(data / "Training")).samples
    place = {Path(name): number for number, (name, _) in enumerate(samples)}
    places = np.array([place[data / name] for name in names])
    _files = places[seen].tolist(), places[held].tolist()
    train, validation = (
        Images(pixels=pixels[part], labels=labels[part], thumbnails=thumbnails[part]) for part in (seen, held)
    )
    _development = Development(classes=scan(data).classes, train=train, validation=validation)


def neutral(data: Path) -> tuple[list[str], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Names, labels, pixels and thumbnails of the training images, and which of them are held out."""
    catalogue = scan(data)
    images = [image for image in catalogue.images if image.part == "train"]
    names = [image.name for image in images]
    decoded, failures = decode([data / name for name in names], SIZE)
    assert not failures, failures
    labels = np.array([image.label for image in images])
    twins, _ = twin_groups(decoded.digests, decoded.thumbnails)
    groups = join(twins, blocks(names, decoded.thumbnails))
    return names, labels, decoded.pixels, decoded.thumbnails, cut(labels, groups, SHARE, seed=1)


def plain(data: Path, trials: int, epochs: int, seed: int) -> list[Held]:
    """Search as the plain script does; what it held for the best, from when on."""
    options = [str(data), ARCH, str(trials), str(epochs), str(SIZE), str(seed)]
    started = time.time()
    command = [sys.executable, str(Path(plain_search.__file__)), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    reports = [
        (at, accuracy, trial["config"])
        for trial in json.loads(done.stdout.splitlines()[-1])["trials"]
        for at, accuracy in trial["reports"]
    ]
    found, best = list[Held](), 0.0
    for at, accuracy, config in sorted(reports, key=lambda report: report[0]):
        if accuracy > best:
            best = accuracy
            if not found or found[-1][1] != config:
                found.append((at - started, config))
    return found


def ours(data: Path, trials: int, ladder: Sequence[int], seed: int) -> list[Held]:
    """Search with `tune-brain search` and an empty cache; what it held for the best, from when on."""
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
    ended, found = list[TrialRow](), list[Held]()
    for row in sorted(rows, key=lambda row: row.started + row.seconds):
        ended.append(row)
        chosen = choose(ended, run.config.epochs)
        if chosen is None:
            continue
        config = run.spaces[ARCH].trial(
            chosen.row.values,
            epochs=run.config.epochs,
            image_size=SIZE,
            classes=4,
            seed=0,
            precision=precision,
        )
        if not found or found[-1][1] != config:
            found.append((row.started + row.seconds - started, config))
    return found


def plain_score(job: tuple[Mapping[str, Any], int]) -> float:
    """Macro-F1 of one of the plain script's configurations, trained by its own code with another seed."""
    config, seed = job
    *_, (predicted, labels) = plain_search.fitted(dict(config), *_files, seed, _load)
    return float(f1_score(labels, predicted, average="macro"))


def own_score(job: tuple[TrialConfig, int]) -> float:
    """Macro-F1 of one of our configurations with another seed."""
    config = job[0].model_copy(update={"seed": derive(job[1], "clock")})
    try:
        rows = list(fit(begin(build(config, None), config, _development, torch.device("cpu"))))
    except Diverged:
        return 0.0
    return float(rows[-1]["val_macro_f1"])


def reached(held: Sequence[Held], score: Callable[[Any], float], mark: float | None = None) -> dict[str, Any]:
    """When a search first held a configuration that is worth the mark, and what its last one is worth."""
    known: dict[str, float] = {}
    for _, config in held:
        # A search may go back to what it held before.
        if repr(config) not in known:
            known[repr(config)] = score(config)
    scores = [known[repr(config)] for _, config in held]
    first = (at for (at, _), worth in zip(held, scores, strict=True) if worth >= (mark or scores[-1]))
    return {
        "held since: s": [round(at, 1) for at, _ in held],
        "macro-F1": scores,
        "reached: s": next(first, None),
    }


def main() -> None:
    options = measure.parser(__doc__)
    options.set_defaults(repeats=3)
    asked = options.parse_args()
    data = asked.data.resolve()
    trials, epochs, ladder = (2, 2, (1, 2)) if asked.quick else (TRIALS, EPOCHS, (1, EPOCHS))
    seeds: Iterable[int] = SEEDS[:1] if asked.quick else SEEDS
    rounds = []
    for repeat in range(1 if asked.quick else asked.repeats):
        arms = {"plain": plain(data, trials, epochs, repeat), "ours": ours(data, trials, ladder, repeat)}
        print(repeat, arms, flush=True)
        pool = ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=_take, initargs=(data,))
        with pool:

            def mean(score: Callable[[Any], float], config: Any, pool: ProcessPoolExecutor = pool) -> float:
                return fmean(pool.map(score, [(config, seed) for seed in seeds]))

            theirs = reached(arms["plain"], functools.partial(mean, plain_score))
            mark = theirs["macro-F1"][-1]
            own = reached(arms["ours"], functools.partial(mean, own_score), mark)
        rounds.append({"mark": mark, "plain": theirs, "ours": own})
        print(rounds[-1], flush=True)
    result: dict[str, Any] = {"trials": trials, "rounds": rounds}
    if all(own["ours"]["reached: s"] for own in rounds):
        times = [[one[arm]["reached: s"] for one in rounds] for arm in ("plain", "ours")]
        result["plain / ours"] = measure.ratio(*times)
    measure.tell("clock", result, quick=asked.quick)


if __name__ == "__main__":
    main()
