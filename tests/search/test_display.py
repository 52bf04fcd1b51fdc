from collections.abc import Callable
from pathlib import Path

from tune_brain.config import RunConfig
from tune_brain.records import TrialRow
from tune_brain.search.display import studies_table, trial_line
from tune_brain.search.ledger import Ledger


def test_the_time_left_is_unknown_while_there_is_no_machine(
    row: Callable[..., TrialRow], tmp_path: Path
) -> None:
    config = RunConfig(out=tmp_path, arch=("linear",), ladder=(1, 2))
    ledger, ended = Ledger(None), row(1, 2, seconds=4.0)
    ledger.start(ended)
    assert studies_table(config, ledger, 0).caption == "time left about ?"
    assert trial_line(ended, config, ledger, 0).endswith(", ? left")
    assert not trial_line(ended, config, ledger, 1).endswith(", ? left")
