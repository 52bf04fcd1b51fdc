"""The seal names configurations, not only how their seed runs are called."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tune_brain import runs
from tune_brain.data.prepare import prepare
from tune_brain.errors import ClusterError, RunFolderError, SealedTestError
from tune_brain.evaluate import retrain, sealed
from tune_brain.evaluate.retrain import SeedRun, check_rows, plan, rows_of, train_all
from tune_brain.evaluate.sealed import check_seal, seed_runs_that_predicted
from tune_brain.progress import Progress
from tune_brain.runs import Run
from tune_brain.slots import Slots

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def planned(folder: Path) -> tuple[Run, list[SeedRun]]:
    run = runs.open_run(folder)
    return run, plan(run, runs.read_winners(run))


@pytest.mark.parametrize("folder", sorted(REFERENCE.iterdir()), ids=lambda folder: folder.name)
def test_the_seals_and_rows_of_the_committed_runs_are_theirs(folder: Path) -> None:
    run, asked = planned(folder)
    check_rows(run, asked)
    check_seal(folder, asked)


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A committed run whose cnn has another winner now."""
    folder = Path(shutil.copytree(REFERENCE / "sartaj", tmp_path / "run"))
    path = folder / "winners" / "cnn.toml"
    winner = runs.read_winner(path)
    runs.write_winner(folder, winner.model_copy(update={"values": {**winner.values, "max_lr": 0.0123}}))
    return folder


def test_seed_runs_of_another_winner_are_not_taken_for_its_own(changed: Path) -> None:
    run, asked = planned(changed)
    with pytest.raises(RunFolderError, match=r"winners that stand.*winner-cnn-0"):
        check_rows(run, asked)
    (changed / "seed_runs.jsonl").unlink()
    check_rows(run, asked)


def test_a_test_that_was_opened_for_another_winner_stays_closed(changed: Path) -> None:
    _, asked = planned(changed)
    with pytest.raises(SealedTestError, match="for other seed runs"):
        check_seal(changed, asked)
    seal = json.loads((changed / "sealed.json").read_text())
    _, before = planned(REFERENCE / "sartaj")
    seal["for"] = {one.name: dict(one.values) for one in before}
    (changed / "sealed.json").write_text(json.dumps(seal))
    check_seal(changed, before)
    (changed / "seed_runs.jsonl").unlink()
    with pytest.raises(SealedTestError, match="for other seed runs"):
        check_seal(changed, asked)
    with pytest.raises(SealedTestError, match="for other seed runs"):
        check_seal(changed, before[:-1])


def test_an_opening_that_broke_off_stays_the_first(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Iterator[object]:
        raise ClusterError("The cluster is gone")
        yield

    prepared = prepare(phantoms, image_size=16, seed=0)
    monkeypatch.setattr(sealed.compute, "put", lambda array: array)
    monkeypatch.setattr(sealed.compute, "each", broken)
    slots = Slots(count=1, cpus=1, gpus=0)
    with pytest.raises(ClusterError):
        sealed.open_test(tmp_path, prepared, [], [], slots)
    file = tmp_path / "sealed.json"
    first = json.loads(file.read_text()) | {"opened": "2026-01-01T00:00:00+0000"}
    file.write_text(json.dumps(first))
    monkeypatch.setattr(sealed.compute, "each", lambda *_: iter(()))
    sealed.open_test(tmp_path, prepared, [], [], slots)
    seal = json.loads(file.read_text())
    assert len(seal.pop("again")) == 1
    assert seal == first
    # What was said is kept from now on.
    sealed.open_test(tmp_path, prepared, [], [], slots)
    assert len(json.loads(file.read_text())["again"]) == 1


def test_openings_by_other_runs_at_the_same_test_are_counted(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_BRAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sealed.compute, "put", lambda array: array)
    monkeypatch.setattr(sealed.compute, "each", lambda *_: iter(()))
    prepared = prepare(phantoms, image_size=16, seed=0)
    for name, before in (("one", 0), ("two", 1), ("two", 1), ("three", 2)):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "predictions.npz").unlink(missing_ok=True)
        sealed.open_test(tmp_path / name, prepared, [], [], Slots(count=1, cpus=1, gpus=0))
        assert json.loads((tmp_path / name / "sealed.json").read_text())["earlier_openings"] == before
    (tmp_path / "cache" / "openings.jsonl").write_text("{}\n")
    (tmp_path / "four").mkdir()
    sealed.open_test(tmp_path / "four", prepared, [], [], Slots(count=1, cpus=1, gpus=0))
    assert json.loads((tmp_path / "four" / "sealed.json").read_text())["earlier_openings"] is None


def test_networks_are_not_scored_by_what_others_said(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, asked = planned(REFERENCE / "sartaj")
    asked = asked[:2]
    (tmp_path / "weights").mkdir()
    for one in asked:
        one.weights(tmp_path).write_bytes(one.name.encode())
    seed_runs_that_predicted(tmp_path, asked)
    prepared = prepare(phantoms, image_size=16, seed=0)
    said = np.zeros((len(np.load(prepared.sealed / "labels.npy")), 4), np.float32)
    monkeypatch.setattr(sealed.compute, "put", lambda array: array)
    monkeypatch.setattr(sealed.compute, "each", lambda *_: ((index, said) for index in range(2)))
    slots = Slots(count=1, cpus=1, gpus=0)
    opened = sealed.open_test(tmp_path, prepared, asked, asked, slots)
    seed_runs_that_predicted(tmp_path, asked)
    assert sealed.open_test(tmp_path, prepared, asked, asked, slots).probabilities.keys() == (
        opened.probabilities.keys()
    )
    asked[1].weights(tmp_path).write_bytes(b"other")
    with pytest.raises(SealedTestError, match=f"{asked[1].name}: trained again, with"):
        seed_runs_that_predicted(tmp_path, asked)
    # One that has diverged this time, and one that had when the test was opened.
    with pytest.raises(SealedTestError, match=f"{asked[1].name}: trained again, with"):
        seed_runs_that_predicted(tmp_path, asked[:1])
    asked[1].weights(tmp_path).write_bytes(asked[1].name.encode())
    _, more = planned(REFERENCE / "sartaj")
    more[2].weights(tmp_path).write_bytes(b"third")
    assert seed_runs_that_predicted(tmp_path, more[:3]) == asked
    kept = tmp_path / "predictions.npz"
    kept.write_bytes(kept.read_bytes()[:-200])
    for read in (
        lambda: seed_runs_that_predicted(tmp_path, asked),
        lambda: sealed.open_test(tmp_path, prepared, [], [], slots),
    ):
        with pytest.raises(SealedTestError, match="must be readable"):
            read()


def test_networks_that_came_out_otherwise_are_scored_by_their_own_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(REFERENCE / "sartaj", tmp_path / "run"))
    run, asked = planned(folder)
    before = rows_of(run, asked)
    again = {"val_loss": 0.5, "val_accuracy": 0.5, "val_macro_f1": 0.25, "seconds": 1.0}
    monkeypatch.setattr(retrain.compute, "put", lambda value: value)
    monkeypatch.setattr(
        retrain.compute, "each", lambda _, jobs, __: ((place, (again, b"")) for place in range(len(jobs)))
    )
    # A run comes back from a repository without its weights.
    train_all(run, asked, None, None, Slots(count=1, cpus=1, gpus=0), Progress())
    after = rows_of(run, asked)
    assert [row.name for row in after] == [row.name for row in before]
    assert {row.val_macro_f1 for row in after} == {0.25}
