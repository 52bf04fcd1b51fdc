"""Synthetic run folders, written by the functions that write real ones."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from growing import Growing
from predicted import predictions

from tune_brain import runs
from tune_brain.config import RunConfig
from tune_brain.evaluate.scores import comparisons, winner_scores
from tune_brain.evaluate.winners import choose
from tune_brain.files import write_json
from tune_brain.records import BASELINE, EpochRow, Role, SeedRow, TrialRow, append, latest, read, trials_of
from tune_brain.search.ladder import Train, next_step
from tune_brain.search.study import Study
from tune_brain.space import Space, default_folder, load

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
SKILL = {"linear": 0.72, "cnn": 0.9, "resnet18": 0.93, "resnet34": 0.97}
STARTED = 1_760_000_000.0


@dataclass
class MadeUp:
    """One run folder, filled stage by stage."""

    config: RunConfig
    classes: Sequence[str]
    generator: np.random.Generator

    @property
    def folder(self) -> Path:
        return self.config.out

    def record(self, images: int) -> None:
        """Write record.json of a data set with every kind of problem."""
        per_class = {name: images // len(self.classes) for name in self.classes}
        unseen = {
            name: 0 if place == 2 else images // 2 // len(self.classes)
            for place, name in enumerate(per_class)
        }
        data = {
            "digest": "d1" * 32,
            "cut_digest": "c1" * 32,
            "test_digest": "e1" * 32,
            "classes": list(self.classes),
            "counts": {
                "train": {name: 4 * n for name, n in per_class.items()},
                "validation": per_class,
                "test": per_class,
            },
            "official": per_class,
            "unseen": unseen,
            "left_out": {
                "not an image": {"n": 7, "names": ["<img src=x onerror=alert(2)>.txt", "notes.txt"]}
            },
            "twins": {"groups": 12, "images": 30, "across": images - sum(unseen.values())},
            "dropped": 3,
        }
        facts = {
            "data": data,
            "weights": "random weights",
            "precision": dict.fromkeys(self.config.arch, "fp32"),
        }
        write_json(self.folder / "record.json", {**runs.origin(), **facts, "slots": 2})

    def search(self, arch: str, space: Space) -> None:
        """Run a search with one worker, on scores that depend on the learning rate and the length."""
        rows: list[TrialRow] = []
        file = self.folder / "trials.jsonl"
        values: dict[int, dict[str, float]] = {BASELINE: space.baseline}
        while isinstance(step := next_step(Study(rows), self.config), Train):
            drawn = {
                name: math.exp(self.generator.uniform(math.log(tuned.low), math.log(tuned.high)))
                for name, tuned in space.tuned.items()
            }
            number = len(latest(read(file, TrialRow)))
            row = TrialRow(
                trial=number,
                arch=arch,
                configuration=step.configuration,
                epochs=step.epochs,
                repeat=step.repeat,
                values=values.setdefault(step.configuration, drawn),
                seed=number,
                state="running",
                started=STARTED + 60 * number,
                node="10.0.0.1",
                worker=41,
                device="cpu",
            )
            append(file, row)
            rows.append(self._train(row, space))
            append(file, rows[-1])

    def _train(self, row: TrialRow, space: Space) -> TrialRow:
        off = abs(math.log10(row.values["max_lr"] / space.baseline["max_lr"]))
        if row.values["max_lr"] > 0.8 * space.tuned["max_lr"].high:
            detail = "the loss was <b>not finite</b> in epoch 1"
            return row.model_copy(
                update={"state": "failed", "why": "diverged", "detail": detail, "seconds": 3.0}
            )
        top = SKILL[row.arch] - 0.07 * (off - 0.3) ** 2 + self.generator.normal(0, 0.008)
        score = 0.0
        for epoch in range(1, row.epochs + 1):
            score = float(
                np.clip(top - 0.5 * math.exp(-3.2 * epoch / row.epochs - 0.08 * row.epochs), 0.1, 1)
            )
            score += float(self.generator.normal(0, 0.015)) * (1 - epoch / row.epochs)
            line = EpochRow(
                trial=row.trial,
                arch=row.arch,
                epoch=epoch,
                train_loss=1.6 * (1 - score) + 0.05,
                train_accuracy=score,
                train_macro_f1=score,
                val_loss=1.8 * (1 - score) + 0.05,
                val_accuracy=score,
                val_macro_f1=score,
                lr=row.values["max_lr"],
                grad_norm=1.0,
                clipped_share=0.2,
                seconds=5.0,
            )
            append(self.folder / "epochs.jsonl", line)
        done = {"state": "completed", "why": "finished", "score": score, "seconds": 5.0 * row.epochs}
        return row.model_copy(update=done)

    def winners(self, spaces: dict[str, Space]) -> dict[str, runs.Winner]:
        """Write the winner of each study."""
        rows, found = trials_of(self.folder), {}
        for arch, space in spaces.items():
            chosen = choose([row for row in rows if row.arch == arch], self.config.full_length)
            if chosen is None:
                continue
            best = chosen.row
            training = space.trial(
                best.values, epochs=best.epochs, image_size=64, classes=4, seed=best.seed, precision="fp32"
            )
            found[arch] = runs.Winner(
                configuration=best.configuration,
                trial=best.trial,
                score=chosen.scores[0],
                values=best.values,
                data_digest="d1" * 32,
                split_seed=0,
                weights="none",
                training=training,
            )
            runs.write_winner(self.folder, found[arch])
        return found

    def evaluate(self, winners: dict[str, runs.Winner], images: int) -> None:
        """Write scores and comparisons of synthetic predictions; the third class has no unseen image."""
        labels = np.arange(images) * len(self.classes) // images
        unseen = (np.arange(images) % 2 == 0) & (labels != 2)
        named = {"majority": np.zeros_like(labels), "nearest_neighbour": self._predict(labels, 0.8).argmax(1)}
        probabilities = {name: np.eye(len(self.classes))[named[name]] for name in named}
        rows = []
        roles: tuple[tuple[Role, float], ...] = (("winner", 0.0), ("baseline", 0.04))
        for arch, winner in winners.items():
            for role, less in roles[:1] if winner.configuration == BASELINE else roles:
                for index in range(self.config.seeds):
                    skill = SKILL[arch] - less + self.generator.normal(0, 0.005)
                    probabilities[f"{role}-{arch}-{index}"] = self._predict(labels, skill)
                    scores = {"val_loss": 1 - skill, "val_accuracy": skill, "val_macro_f1": skill - 0.01}
                    rows.append(SeedRow(
                        arch=arch, role=role, index=index, seed=index, values={}, seconds=60.0, **scores
                    ))  # fmt: skip
                    append(self.folder / "seed_runs.jsonl", rows[-1])
        opened = predictions(
            labels, unseen=unseen, groups=np.arange(images) // 3, probabilities=probabilities
        )
        against = comparisons(opened, winners, rows, self.classes)
        write_json(self.folder / "comparisons.json", against)
        write_json(self.folder / "scores.json", winner_scores(opened, list(winners), self.classes))
        write_json(self.folder / "sealed.json", {"opened": "2026-01-02T03:04:05+0000", "by": "<tester>"})

    def _predict(self, labels: np.ndarray, skill: float) -> np.ndarray:
        """Probabilities [N, C] with an accuracy of about `skill`; errors are neighbouring classes."""
        logits = self.generator.normal(0, 0.6, (len(labels), len(self.classes)))
        wrong = (labels + self.generator.choice([1, 1, 1, 2], len(labels))) % len(self.classes)
        aim = np.where(self.generator.random(len(labels)) < skill, labels, wrong)
        logits[np.arange(len(labels)), aim] += self.generator.normal(3.2, 0.8, len(labels))
        weights = np.exp(logits)
        return weights / weights.sum(1, keepdims=True)


MakeRun = Callable[..., Path]


def make_run(
    folder: Path,
    *,
    classes: Sequence[str] = CLASSES,
    archs: tuple[str, ...] = ("linear", "cnn"),
    searched: tuple[str, ...] | None = None,
    configs: int = 6,
    images: int = 48,
    evaluated: bool = True,
) -> Path:
    """Make a run's folder; `searched` are the architectures that have trials, by default all."""
    config = RunConfig(out=folder, arch=archs, configs=configs, image_size=64, data=Path("/data/mri"))
    run = runs.create(config, load(default_folder(), archs))
    made = MadeUp(config, classes, np.random.default_rng(4))
    made.record(images)
    for arch in archs if searched is None else searched:
        made.search(arch, run.spaces[arch])
    if evaluated:
        made.evaluate(made.winners(dict(run.spaces)), images)
    return folder


@pytest.fixture(scope="session")
def scored_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A searched and evaluated run, shared by all tests: read only."""
    return make_run(tmp_path_factory.mktemp("runs") / "scored")


@pytest.fixture
def new_run(tmp_path: Path) -> MakeRun:
    """Makes run folders that a test may write to."""
    return lambda name="run", **wanted: make_run(tmp_path / name, **wanted)


@pytest.fixture
def growing(tmp_path: Path) -> Growing:
    """A reference run that has just begun."""
    run = Growing(tmp_path / "growing")
    run.grow(trials=20, epochs=30)
    return run
