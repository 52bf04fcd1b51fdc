from collections.abc import Callable
from pathlib import Path

from tune_brain import runs
from tune_brain.config import RunConfig
from tune_brain.layout import EPOCHS
from tune_brain.records import EpochRow, TrialRow, append, trials_of
from tune_brain.search.display import best_so_far, studies_table, trial_line
from tune_brain.search.ledger import Ledger
from tune_brain.search.study import Study


def test_the_time_left_is_unknown_while_there_is_no_machine(
    row: Callable[..., TrialRow], tmp_path: Path
) -> None:
    config = RunConfig(out=tmp_path, arch=("linear",), ladder=(1, 2))
    ledger, ended = Ledger(None), row(1, 2, seconds=4.0)
    ledger.start(ended)
    assert studies_table(config, ledger, 0, since=0.0).caption == "time left about ?"
    assert trial_line(ended, config, ledger, 0, 0.0).endswith(", ? left")
    assert not trial_line(ended, config, ledger, 1, 0.0).endswith(", ? left")


def test_the_best_so_far_is_no_further_seeds(row: Callable[..., TrialRow]) -> None:
    study = Study()
    for of in (row(0, 1, 0.9), row(1, 2, 0.6), row(1, 2, 0.8, repeat=1, trial=9)):
        study.update(of)
    assert best_so_far(study, 2) == "0.6000"


def test_a_finished_search_has_no_time_left_and_misses_no_epochs() -> None:
    run = runs.open_run(Path(__file__).parents[2] / "results" / "reference" / "both")
    ledger = Ledger(run.folder)
    table = studies_table(run.config, ledger, 2, since=None)
    spent = sum(row.epochs for row in trials_of(run.folder))
    assert table.caption == "time left about 0 s"
    assert list(table.columns[-1].cells) == [f"{spent}/{spent}"]


def test_only_epochs_that_have_been_trained_are_counted(row: Callable[..., TrialRow], tmp_path: Path) -> None:
    config = RunConfig(out=tmp_path, arch=("linear",), ladder=(1, 12), configs=1, final_round=(0, 0))
    ledger = Ledger(tmp_path)
    metrics = dict.fromkeys(EpochRow.model_fields, 0.5)
    for trial, state in ((0, "running"), (1, "failed")):
        ledger.start(row(trial, 12, None, trial=trial, state=state, why=None))
        ledger.add_epochs(trial, [{**metrics, "epoch": epoch} for epoch in (1, 2)])
        # A trial that continues from its last checkpoint repeats an epoch.
        ledger.add_epochs(trial, [{**metrics, "epoch": epoch} for epoch in (2, 3)])
    # The rows of another machine, copied before the trial's own.
    append(tmp_path / EPOCHS, EpochRow(**{**metrics, "trial": 9, "epoch": 1, "arch": "linear"}))
    for read in (ledger, Ledger(tmp_path)):
        (cell,) = studies_table(config, read, 1, since=0.0).columns[-1].cells
        assert str(cell).startswith("6/")


def test_a_finished_search_misses_no_epochs_where_a_trial_diverged(
    row: Callable[..., TrialRow], tmp_path: Path
) -> None:
    config = RunConfig(out=tmp_path, arch=("linear",), ladder=(2,), configs=1, final_round=(0, 0))
    ledger = Ledger(tmp_path)
    metrics = dict.fromkeys(EpochRow.model_fields, 0.5)
    for number, score in enumerate((0.5, None)):
        ledger.start(row(number, 2, score, trial=number))
        ledger.add_epochs(number, [{**metrics, "epoch": epoch} for epoch in (1, 2)[: 2 - number]])
    assert list(studies_table(config, ledger, 1, since=0.0).columns[-1].cells) == ["3/3"]


def test_the_pace_counts_attempts_that_were_lost(row: Callable[..., TrialRow]) -> None:
    lost = {"state": "failed", "why": "lost", "score": None}
    study = Study()
    study.update(row(1, 12, None, state="running", why=None))
    study.update(row(1, 12, seconds=3600.0, attempt=1, **lost))
    # As where the searcher grants it one more attempt.
    study.update(row(1, 12, seconds=3600.0, attempt=0, **lost))
    study.update(row(1, 12, None, state="running", why=None))
    study.update(row(1, 12, 0.5, seconds=360.0))
    assert study.pace == 330.0


def test_a_trial_that_will_be_retried_is_still_to_be_done(
    row: Callable[..., TrialRow], tmp_path: Path
) -> None:
    config = RunConfig(out=tmp_path, arch=("linear",), ladder=(1, 12), configs=1, final_round=(0, 0))
    ledger = Ledger(None)
    for started in (row(0, 12, seconds=120.0), row(1, 1, seconds=10.0), row(1, 12, None, why="lost")):
        ledger.start(started)
    assert studies_table(config, ledger, 1, since=0.0).caption == "time left about 2 min"
