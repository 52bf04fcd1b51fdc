from collections.abc import Callable
from pathlib import Path

from tune_brain.config import RunConfig
from tune_brain.records import TrialRow
from tune_brain.search.display import best_so_far, studies_table, trial_line
from tune_brain.search.ledger import Ledger
from tune_brain.search.study import Study


def test_the_time_left_is_unknown_while_there_is_no_machine(
    row: Callable[..., TrialRow], tmp_path: Path
) -> None:
    config = RunConfig(out=tmp_path, arch=("linear",), ladder=(1, 2))
    ledger, ended = Ledger(None), row(1, 2, seconds=4.0)
    ledger.start(ended)
    assert studies_table(config, ledger, 0).caption == "time left about ?"
    assert trial_line(ended, config, ledger, 0).endswith(", ? left")
    assert not trial_line(ended, config, ledger, 1).endswith(", ? left")


def test_the_best_so_far_is_no_further_seeds(row: Callable[..., TrialRow]) -> None:
    study = Study()
    for of in (row(0, 1, 0.9), row(1, 2, 0.6), row(1, 2, 0.8, repeat=1, trial=9)):
        study.take(of)
    assert best_so_far(study, 2) == "0.6000"
