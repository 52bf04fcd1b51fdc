"""Columns of trials and epochs for the page's script."""

from pathlib import Path

import pytest

from tune_brain import report
from tune_brain.data.batches import steps_per_epoch
from tune_brain.report.page_data import epoch_columns, trial_columns
from tune_brain.report.run_reader import read_contents
from tune_brain.report.run_view import RunView


@pytest.mark.parametrize("images", [1, 2, 32, 33, 34, 64, 65, 2432])
def test_steps_per_epoch_are_those_of_training(scored_run, images: int) -> None:
    shown = RunView(read_contents(scored_run))
    columns = trial_columns(shown.trials, shown.contents.spaces, images)
    assert set(columns["steps"]) == {steps_per_epoch(images, 32)}
    assert set(columns["warmup_share"]) == {0.3}
    assert set(trial_columns(shown.trials, shown.contents.spaces, 0)["steps"]) == {None}


def test_a_page_holds_only_the_measures_of_epochs_that_its_script_reads(scored_run) -> None:
    script = (Path(report.__file__).parent / "dashboard.js").read_text()
    columns = epoch_columns(RunView(read_contents(scored_run)).curves)
    assert {"trial", "epoch", "lr", "val_loss"} < columns.keys()
    assert [name for name in columns if f'"{name}"' not in script and f".{name}" not in script] == []
