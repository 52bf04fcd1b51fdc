"""Columns of trials for the page's script."""

import pytest

from tune_brain.data.batches import steps_per_epoch
from tune_brain.report.page_data import trial_columns
from tune_brain.report.run_reader import read_contents
from tune_brain.report.run_view import RunView


@pytest.mark.parametrize("images", [1, 2, 32, 33, 34, 64, 65, 2432])
def test_steps_per_epoch_are_those_of_training(scored_run, images: int) -> None:
    shown = RunView(read_contents(scored_run))
    columns = trial_columns(shown.trials, shown.contents.spaces, images)
    assert set(columns["steps"]) == {steps_per_epoch(images, 32)}
    assert set(columns["warmup_share"]) == {0.3}
    assert set(trial_columns(shown.trials, shown.contents.spaces, 0)["steps"]) == {None}
