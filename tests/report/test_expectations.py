"""The gain that a search promised and its winners' expected scores, by hand and on a committed run."""

import re
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from pages import Page

from tune_brain.config import RunConfig
from tune_brain.records import TrialRow
from tune_brain.report.page import fragment
from tune_brain.report.run_reader import read_contents
from tune_brain.report.run_view import RunView
from tune_brain.report.score_views import winners
from tune_brain.report.tables.expectations import expectations
from tune_brain.report.views import VIEWS

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
    assert line["arch"] == "cnn"
    # The baseline's short trial, which measures noise, is no full-length one.
    assert line["promised"] == pytest.approx(0.1)
    assert np.isnan(line["mean"])


def test_seed_runs_give_an_expected_score():
    (line,) = expectations(ROWS, CONFIG, AGAIN).to_dict("records")
    assert line["promised"] == pytest.approx(0.1)
    assert line["low"] < line["mean"] < line["high"]
    # The mean of the four seeds is .87; shrinkage towards the study's mean lowers it.
    assert 0.86 < line["mean"] < 0.87


def test_a_rivals_diverged_trial_of_the_final_round_changes_no_expectation():
    lost = trial(2, 0.0, repeat=1).model_copy(update={"score": None, "state": "failed", "why": "diverged"})
    (without,) = expectations(ROWS, CONFIG, AGAIN).to_dict("records")
    (line,) = expectations([*ROWS, lost], CONFIG, AGAIN).to_dict("records")
    assert line == without


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([trial(0, 0.9), trial(1, 0.8)], id="the baseline won"),
        pytest.param([row for row in ROWS if row.configuration or row.repeat], id="no full-length baseline"),
    ],
)
def test_without_a_full_length_baseline_to_beat_no_gain_is_promised(rows):
    (line,) = expectations(rows, CONFIG, AGAIN).to_dict("records")
    assert np.isnan(line["promised"])


def test_in_a_committed_run_the_expected_scores_lie_between_search_and_seed_runs():
    contents = read_contents(REFERENCE / "sartaj")
    lines = {line["arch"]: line for line in winners(RunView(contents), ())["worth"]}
    assert list(lines) == ["linear", "cnn", "resnet18"]
    for arch, line in lines.items():
        seeds = contents.comparisons["validation"][arch]
        # The seed runs score less than the search, and the expected score lies between the two.
        assert fmean(seeds["winner"]) < line["mean"] < line["search"] == seeds["search"]
        assert line["low"] < fmean(seeds["winner"]) < line["high"]
        assert line["promised"] > 0


def test_what_a_search_promised_stands_beside_what_it_gained(scored_run):
    shown = RunView(read_contents(scored_run))
    (view,) = (view for view in VIEWS if view.name == "winners")
    html = str(fragment(view, shown, []))
    table = html.partition("Was the search worth it?")[2].partition("</table>")[0]
    row = table.partition('<tr data-arch="cnn">')[2].partition("</tr>")[0]
    cells = [Page(cell).text for cell in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)]
    line = shown.expectations.set_index("arch").loc["cnn"]
    assert cells[5] == f"{line['mean']:.3f} [{line['low']:.3f}, {line['high']:.3f}]"
    assert cells[6] == f"{line['promised'] * 100:+.1f}"
