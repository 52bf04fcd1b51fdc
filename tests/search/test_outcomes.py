"""Trials of one epoch, whole cycles and beginnings of the full one, as a replay takes them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tune_brain.config import RunConfig
from tune_brain.errors import RunFolderError
from tune_brain.records import EpochRow, TrialRow, append
from tune_brain.runs import create
from tune_brain.search.outcomes import Outcomes, as_searched, read_outcomes
from tune_brain.space import Space

MakeRow = Callable[..., TrialRow]


@pytest.fixture
def outcomes(space: Space) -> Outcomes:
    """One configuration: .5 after a whole cycle of one epoch, .2 and .3 after the first of 12."""
    curves = np.linspace([[0.2, 0.3]], 0.9, 12, axis=-1)
    scores = {1: np.array([[0.5]]), 3: np.array([[0.6]]), 12: curves[:, :, -1]}
    return Outcomes(
        space=space,
        places=np.zeros((1, 2)),
        scores=scores,
        cycles=dict.fromkeys(scores),
        curves=curves,
        seconds=1.0,
    )


def test_where_whole_cycles_were_trained_the_full_trials_tell_of_their_beginnings(outcomes: Outcomes) -> None:
    found = as_searched(outcomes)
    assert found.scores[1].tolist() == [[0.2, 0.3]]
    assert found.cycles == {1: 12, 3: None, 12: None}
    assert {length: found.scores[length].tolist() for length in (3, 12)} == {3: [[0.6]], 12: [[0.9, 0.9]]}


def test_beginnings_that_were_trained_tell_of_themselves(outcomes: Outcomes) -> None:
    begun = replace(outcomes, cycles={**outcomes.cycles, 1: 12})
    assert as_searched(begun).scores[1].tolist() == [[0.5]]


def test_what_would_be_known_at_no_length_leaves_all_as_they_were_trained(outcomes: Outcomes) -> None:
    unknown = np.full_like(outcomes.curves, np.nan)
    scores = {
        length: np.concatenate([of, np.full_like(of, np.nan)]) for length, of in outcomes.scores.items()
    }
    scores[1][1] = 0.4
    two = replace(
        outcomes,
        places=np.zeros((2, 2)),
        scores=scores,
        curves=np.concatenate([outcomes.curves, unknown]),
    )
    assert as_searched(two) is two
    scores[3][1] = 0.4
    assert as_searched(two).cycles[1] == 12


def test_trials_of_two_kinds_are_no_table(space: Space, tmp_path: Path, row: MakeRow) -> None:
    config = RunConfig(out=tmp_path / "run", arch=("linear",), ladder=(1, 12), final_round=(0, 0))
    run = create(config, {"linear": space})
    for trial, cycle in enumerate((None, 12)):
        values = {"max_lr": 1e-3, "grad_clip": 1.0 + trial}
        append(run.folder / "trials.jsonl", row(trial, 1, values=values, trial=trial, cycle=cycle))
        metrics = dict.fromkeys(EpochRow.model_fields, 0.5) | {"trial": trial, "arch": "linear", "epoch": 1}
        append(run.folder / "epochs.jsonl", EpochRow.model_validate(metrics))
    with pytest.raises(RunFolderError, match="complete one-cycles and some beginnings"):
        read_outcomes([run.folder], "linear")
