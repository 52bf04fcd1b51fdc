"""What is left to train, and when a search may no longer be continued."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from trained import train

from tune_brain import runs
from tune_brain.errors import ConfigError, Interrupted, RunFolderError, SealedTestError
from tune_brain.records import TrialRow, append, read
from tune_brain.runs import Run
from tune_brain.stages.preconditions import check_search_is_open, unfinished
from tune_brain.stages.resume import resume
from tune_brain.stages.search import write_studies

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def test_a_study_is_unfinished_until_its_ladder_is_and_again_when_it_is_extended(
    made: Callable[..., Run],
) -> None:
    run = made(arch=("linear", "cnn"))
    assert unfinished(run) == ["linear", "cnn"]
    train(run)
    assert unfinished(run) == []
    last = read(run.folder / "trials.jsonl", TrialRow)[-1]
    append(run.folder / "trials.jsonl", last.model_copy(update={"state": "running", "score": None}))
    assert unfinished(run) == ["cnn"]
    append(run.folder / "trials.jsonl", last)
    assert unfinished(made(arch=("linear", "cnn"), configs=4)) == ["linear", "cnn"]
    assert unfinished(made(arch=("linear", "cnn"), final_round=(2, 2))) == ["linear", "cnn"]


def test_ranges_that_lack_a_trained_configuration_are_refused(
    made: Callable[..., Run], no_ray: SimpleNamespace, tmp_path: Path
) -> None:
    run, no_ray.most = made(), 3
    with pytest.raises(Interrupted):
        resume(run.folder)
    no_ray.most = 1000
    path = run.folder / "spaces" / "linear.toml"
    high, lower = run.spaces["linear"].tuned["max_lr"].high, run.spaces["linear"].baseline["max_lr"]
    text = path.read_text()
    assert text.count(f"high = {high}\n") == 1
    path.write_text(text.replace(f"high = {high}\n", f"high = {lower}\n"))
    for command in (resume, lambda folder: write_studies(folder, tmp_path / "studies.log")):
        with pytest.raises(ConfigError, match=r"linear\.toml without configuration 1"):
            command(run.folder)
    assert not (tmp_path / "studies.log").exists()
    path.write_text(text)
    write_studies(run.folder, tmp_path / "studies.log")
    resume(run.folder)


@pytest.mark.parametrize("folder", sorted(REFERENCE.iterdir()), ids=lambda folder: folder.name)
def test_the_committed_runs_are_finished(folder: Path) -> None:
    assert unfinished(runs.open_run(folder)) == []


def test_a_search_is_closed_once_seed_runs_have_begun_or_the_test_is_open(tmp_path: Path) -> None:
    check_search_is_open(tmp_path)
    (tmp_path / "seed_runs.jsonl").touch()
    with pytest.raises(RunFolderError, match="seed runs of the winners have begun"):
        check_search_is_open(tmp_path)
    (tmp_path / "sealed.json").touch()
    with pytest.raises(SealedTestError, match="can no longer be continued"):
        check_search_is_open(tmp_path)


def test_a_folder_inside_a_run_is_refused_with_the_path_of_the_run(
    made: Callable[..., Run], tmp_path: Path
) -> None:
    run = made()
    with pytest.raises(RunFolderError, match=rf"The run is {run.folder}\."):
        runs.open_run(run.folder / "winners")
    with pytest.raises(RunFolderError, match="given as --out"):
        runs.open_run(tmp_path)
