"""The sealed test: opened once, for the configurations in the seal; references learn from training alone."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tune_brain import runs
from tune_brain.data.prepare import Prepared, prepare
from tune_brain.errors import ClusterError, RunFolderError, SealedTestError
from tune_brain.evaluate import retrain, sealed
from tune_brain.evaluate.retrain import train_all
from tune_brain.evaluate.sealed import check_seal, seed_runs_that_predicted
from tune_brain.evaluate.seed_runs import SeedRun, check_rows, plan, rows_of
from tune_brain.progress import Progress
from tune_brain.runs import Run
from tune_brain.slots import Slots

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


SLOTS = Slots(count=1, gpus=0)


def planned(folder: Path) -> tuple[Run, list[SeedRun]]:
    """A run and its seed runs."""
    run = runs.open_run(folder)
    return run, plan(run, runs.read_winners(run))


def without_seed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no job run, as where there are no seed runs, so that Ray need not be started."""
    monkeypatch.setattr(sealed.compute, "put", lambda array: array)
    monkeypatch.setattr(sealed.compute, "each", lambda *_: iter(()))


@pytest.mark.parametrize("folder", sorted(REFERENCE.iterdir()), ids=lambda folder: folder.name)
def test_the_seals_and_rows_of_the_committed_runs_belong_to_their_winners(folder: Path) -> None:
    run, seed_runs = planned(folder)
    check_rows(run, seed_runs)
    check_seal(folder, seed_runs)


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A committed run whose cnn has another winner now."""
    folder = Path(shutil.copytree(REFERENCE / "sartaj", tmp_path / "run"))
    path = folder / "winners" / "cnn.toml"
    winner = runs.read_winner(path)
    runs.write_winner(folder, winner.model_copy(update={"values": {**winner.values, "max_lr": 0.0123}}))
    return folder


def test_rows_of_a_former_winners_seed_runs_are_refused(changed: Path) -> None:
    run, seed_runs = planned(changed)
    with pytest.raises(RunFolderError, match=r"current winners.*winner-cnn-0"):
        check_rows(run, seed_runs)
    (changed / "seed_runs.jsonl").unlink()
    check_rows(run, seed_runs)


def test_a_test_that_was_opened_for_another_winner_stays_closed(changed: Path) -> None:
    _, seed_runs = planned(changed)
    with pytest.raises(SealedTestError, match="for other seed runs"):
        check_seal(changed, seed_runs)
    seal = json.loads((changed / "sealed.json").read_text())
    _, before = planned(REFERENCE / "sartaj")
    seal["for"] = {seed_run.name: dict(seed_run.values) for seed_run in before}
    (changed / "sealed.json").write_text(json.dumps(seal))
    check_seal(changed, before)
    (changed / "seed_runs.jsonl").unlink()
    with pytest.raises(SealedTestError, match="for other seed runs"):
        check_seal(changed, seed_runs)
    with pytest.raises(SealedTestError, match="for other seed runs"):
        check_seal(changed, before[:-1])


def test_results_without_the_seal_that_belongs_to_them_are_refused(changed: Path) -> None:
    (changed / "sealed.json").unlink()
    _, seed_runs = planned(changed)
    with pytest.raises(RunFolderError, match=r"no .*sealed\.json beside scores\.json, comparisons\.json"):
        check_seal(changed, seed_runs)
    for name in ("scores.json", "comparisons.json"):
        (changed / name).unlink()
    check_seal(changed, seed_runs)
    (changed / "predictions.npz").touch()
    with pytest.raises(RunFolderError, match=r"no .*sealed\.json beside predictions\.npz"):
        check_seal(changed, seed_runs)


def test_the_references_learn_from_the_training_images_alone(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most training images show no tumour, most test images a glioma."""
    monkeypatch.setenv("TUNE_BRAIN_CACHE", str(tmp_path / "cache"))
    without_seed_runs(monkeypatch)
    images = Path(shutil.copytree(phantoms, tmp_path / "images"))
    for part, left, majority in (("Training", 8, "notumor"), ("Testing", 3, "glioma")):
        for folder in (images / part).iterdir():
            if folder.name != majority:
                for file in sorted(folder.iterdir())[left:]:
                    file.unlink()
    prepared = prepare(images, image_size=16, seed=0)
    (tmp_path / "run").mkdir()
    test = sealed.open_test(tmp_path / "run", prepared, [], [], SLOTS)
    train = prepared.development().train
    assert prepared.classes[np.bincount(train.labels).argmax()] == "notumor"
    assert prepared.classes[np.bincount(test.labels).argmax()] == "glioma"
    assert {prepared.classes[index] for index in test.probabilities["majority"].argmax(1)} == {"notumor"}

    thumbnails = np.load(prepared.sealed / "thumbnails.npy").astype(np.int64)
    gaps = thumbnails[:, None] - train.thumbnails.astype(np.int64)
    nearest = (gaps**2).sum((2, 3)).argmin(1)
    assert test.probabilities["nearest_neighbour"].argmax(1).tolist() == train.labels[nearest].tolist()


def test_an_interrupted_opening_counts_as_the_first(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Iterator[object]:
        raise ClusterError("The cluster is gone")
        yield

    prepared = prepare(phantoms, image_size=16, seed=0)
    without_seed_runs(monkeypatch)
    monkeypatch.setattr(sealed.compute, "each", broken)
    with pytest.raises(ClusterError):
        sealed.open_test(tmp_path, prepared, [], [], SLOTS)
    file = tmp_path / "sealed.json"
    first = json.loads(file.read_text()) | {"opened": "2026-01-01T00:00:00+0000"}
    file.write_text(json.dumps(first))
    without_seed_runs(monkeypatch)
    sealed.open_test(tmp_path, prepared, [], [], SLOTS)
    seal = json.loads(file.read_text())
    assert len(seal.pop("again")) == 1
    assert seal == first
    # From now on the stored predictions are read.
    sealed.open_test(tmp_path, prepared, [], [], SLOTS)
    assert len(json.loads(file.read_text())["again"]) == 1


@pytest.fixture
def prepared(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    """Images on a machine where no test has been opened; there are no seed runs to predict them."""
    monkeypatch.setenv("TUNE_BRAIN_CACHE", str(tmp_path / "cache"))
    without_seed_runs(monkeypatch)
    return prepare(phantoms, image_size=16, seed=0)


def earlier_openings(run: Path, prepared: Prepared) -> int | None:
    """Open the test for a run; returns the number of earlier openings in its seal."""
    run.mkdir(exist_ok=True)
    (run / "predictions.npz").unlink(missing_ok=True)
    sealed.open_test(run, prepared, [], [], SLOTS)
    counted: int | None = json.loads((run / "sealed.json").read_text())["earlier_openings"]
    return counted


def test_openings_by_other_runs_at_the_same_test_are_counted(prepared: Prepared, tmp_path: Path) -> None:
    openings = [earlier_openings(tmp_path / name, prepared) for name in ("one", "two", "two", "three")]
    assert openings == [0, 1, 1, 2]
    (tmp_path / "cache" / "openings.jsonl").write_text("{}\n")
    assert earlier_openings(tmp_path / "four", prepared) is None


def test_an_opening_whose_seal_cannot_be_written_is_not_counted_against_the_next_attempt(
    prepared: Prepared, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.touch()
    with pytest.raises(RunFolderError):
        sealed.open_test(run, prepared, [], [], SLOTS)
    run.unlink()
    assert earlier_openings(run, prepared) == 0


def test_an_opening_that_was_cut_short_before_it_was_recorded_is_recorded_when_it_is_repeated(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(sealed, "_record_opening", interrupted)
        with pytest.raises(KeyboardInterrupt):
            earlier_openings(tmp_path / "one", prepared)
    assert [earlier_openings(tmp_path / name, prepared) for name in ("one", "two")] == [0, 1]


def test_networks_are_not_scored_by_the_predictions_of_others(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, seed_runs = planned(REFERENCE / "sartaj")
    seed_runs = seed_runs[:2]
    (tmp_path / "weights").mkdir()
    for seed_run in seed_runs:
        seed_run.weights(tmp_path).write_bytes(seed_run.name.encode())
    seed_runs_that_predicted(tmp_path, seed_runs)
    prepared = prepare(phantoms, image_size=16, seed=0)
    logits = np.zeros((len(np.load(prepared.sealed / "labels.npy")), 4), np.float32)
    monkeypatch.setattr(sealed.compute, "put", lambda array: array)
    monkeypatch.setattr(sealed.compute, "each", lambda *_: ((index, logits) for index in range(2)))
    opened = sealed.open_test(tmp_path, prepared, seed_runs, seed_runs, SLOTS)
    seed_runs_that_predicted(tmp_path, seed_runs)
    assert sealed.open_test(tmp_path, prepared, seed_runs, seed_runs, SLOTS).probabilities.keys() == (
        opened.probabilities.keys()
    )
    second = seed_runs[1]
    second.weights(tmp_path).write_bytes(b"other")
    with pytest.raises(SealedTestError, match=f"{second.name}: trained again, with"):
        seed_runs_that_predicted(tmp_path, seed_runs)
    # The second has diverged this time.
    with pytest.raises(SealedTestError, match=f"{second.name}: trained again, with"):
        seed_runs_that_predicted(tmp_path, seed_runs[:1])
    second.weights(tmp_path).write_bytes(second.name.encode())
    # A third had diverged when the test was opened.
    _, more = planned(REFERENCE / "sartaj")
    more[2].weights(tmp_path).write_bytes(b"third")
    assert seed_runs_that_predicted(tmp_path, more[:3]) == seed_runs
    file = tmp_path / "predictions.npz"
    file.write_bytes(file.read_bytes()[:-200])
    for read in (
        lambda: seed_runs_that_predicted(tmp_path, seed_runs),
        lambda: sealed.open_test(tmp_path, prepared, [], [], SLOTS),
    ):
        with pytest.raises(SealedTestError, match="must be readable"):
            read()


def test_retrained_networks_replace_the_validation_rows_of_the_former_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(REFERENCE / "sartaj", tmp_path / "run"))
    run, seed_runs = planned(folder)
    before = rows_of(run, seed_runs)
    again = {"val_loss": 0.5, "val_accuracy": 0.5, "val_macro_f1": 0.25, "seconds": 1.0}
    monkeypatch.setattr(retrain.compute, "put", lambda value: value)
    monkeypatch.setattr(
        retrain.compute,
        "each",
        lambda _, jobs, __: ((place, (again, b"", "cpu")) for place in range(len(jobs))),
    )
    # The run was copied without its weights.
    train_all(run, seed_runs, None, None, SLOTS, Progress())
    after = rows_of(run, seed_runs)
    assert [row.name for row in after] == [row.name for row in before]
    assert {row.val_macro_f1 for row in after} == {0.25}
