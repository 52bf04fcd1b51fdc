"""The gain that a search promised and what remains of it, by hand and on a committed run."""

from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import pytest

from tune_brain.config import RunConfig
from tune_brain.records import TrialRow
from tune_brain.report import formatting
from tune_brain.report.run_reader import read_contents
from tune_brain.report.run_view import RunView
from tune_brain.report.score_views import winners
from tune_brain.report.tables.overtuning import expectations, overtuning

CONFIG = RunConfig(out="run", arch=("linear", "cnn"), ladder=(1, 9))
REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def trial(configuration: int, score: float, epochs: int = 9, repeat: int = 0) -> TrialRow:
    fixed = {"arch": "cnn", "values": {}, "seed": 0, "state": "completed", "started": 0.0}
    number = 100 * configuration + 10 * epochs + repeat
    return TrialRow(
        trial=number, configuration=configuration, epochs=epochs, repeat=repeat, score=score, **fixed
    )


ROWS = [trial(0, 0.80), trial(1, 0.90), trial(2, 0.82), trial(3, 0.84), trial(0, 0.99, epochs=1, repeat=1)]
AGAIN = {"validation": {"cnn": {"search": 0.9, "winner": [0.85, 0.87, 0.86], "baseline": [0.82, 0.84, 0.83]}}}


def test_with_one_seed_each_there_is_a_promised_gain_but_no_expected_score():
    (line,) = expectations(ROWS, CONFIG, {}).to_dict("records")
    assert (line["arch"], line["chosen"]) == ("cnn", 0.9)
    # The baseline's short trial, which measures noise, is no full-length one.
    assert line["promised"] == pytest.approx(0.1)
    assert np.isnan(line["mean"])


def test_seed_runs_give_an_expected_score_and_the_gain_that_remains():
    table = expectations(ROWS, CONFIG, AGAIN)
    (line,) = table.to_dict("records")
    assert line["promised"] == pytest.approx(0.1)
    assert line["low"] < line["mean"] < line["high"]
    # The mean of the four seeds is .87; shrinkage towards the study's mean lowers it.
    assert 0.86 < line["mean"] < 0.87
    gains = {"gain_validation": 0.03, "gain_official": 0.004, "gain_unseen": -0.02}
    (joined,) = overtuning(table, pd.DataFrame([{"arch": "cnn", **gains}])).to_dict("records")
    assert formatting.overtuned(joined).startswith(
        "cnn: the search promised +10.0 points over the untuned baseline; other seeds show +3.0, "
        "the official test +0.4, the unseen test -2.0. Expected with other seeds: 0.86"
    )
    assert formatting.overtuned(joined).endswith(" on validation; its own trials scored 0.900.")
    assert overtuning(table, pd.DataFrame()).empty


def test_a_rivals_diverged_trial_of_the_final_round_changes_no_expectation():
    lost = trial(2, 0.0, repeat=1).model_copy(update={"score": None, "state": "failed", "why": "diverged"})
    (without,) = expectations(ROWS, CONFIG, AGAIN).to_dict("records")
    (line,) = expectations([*ROWS, lost], CONFIG, AGAIN).to_dict("records")
    assert line == without


def test_a_baseline_that_won_promised_nothing():
    rows = [trial(0, 0.9), trial(1, 0.8)]
    line = expectations(rows, CONFIG, {}).to_dict("records")[0]
    assert formatting.overtuned(line) == "cnn: the untuned baseline won, so the search promised no gain."


def test_without_a_full_length_score_of_the_baseline_nothing_is_said_to_have_won():
    rows = [row for row in ROWS if row.configuration or row.repeat]
    table = expectations(rows, CONFIG, AGAIN)
    gains = {"gain_validation": 0.03, "gain_official": 0.004, "gain_unseen": np.nan}
    (line,) = overtuning(table, pd.DataFrame([{"arch": "cnn", **gains}])).to_dict("records")
    assert (line["untuned"], formatting.number(line["promised"])) == (False, formatting.NOTHING)
    assert formatting.overtuned(line).startswith(
        "cnn: its untuned baseline has no full-length score in the search, which so promised no gain; "
        "other seeds show +3.0, the official test +0.4."
    )


def test_in_a_committed_run_the_expected_scores_lie_between_search_and_seed_runs():
    contents = read_contents(REFERENCE / "sartaj")
    lines = {line["arch"]: line for line in winners(RunView(contents), ())["overtuning"]}
    assert list(lines) == ["linear", "cnn", "resnet18"]
    for arch, line in lines.items():
        seeds = contents.comparisons["validation"][arch]
        assert line["chosen"] == pytest.approx(seeds["search"])
        # The seed runs score less than the search, and the expected score lies between the two.
        assert fmean(seeds["winner"]) < line["mean"] < line["chosen"]
        assert line["low"] < fmean(seeds["winner"]) < line["high"]
        assert f"{arch}: the search promised +" in formatting.overtuned(line)
