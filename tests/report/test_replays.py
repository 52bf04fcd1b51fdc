"""Results of replayed searches: summary and anytime curves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import Page

from tune_brain.files import write_json
from tune_brain.report.replays import anytime, describe, figure, reached, summary, write_replay


def repeat(epochs: list[int], true: list[float], chosen: float) -> dict[str, Any]:
    seconds = [10.0 * one for one in epochs]
    end = {"chosen": chosen, "expected": chosen - 0.05, "realised": true[-1], "baseline": 0.5}
    return {"epochs": epochs, "seconds": seconds, "true": true, **end}


YARDSTICK = {"name": "random", "repeats": [repeat([12, 96], [0.6, 0.7], 0.8)] * 10}
OTHER = {
    "name": "tpe",
    "repeats": [repeat([12, 24, 48], [0.4, 0.8, 0.8], 0.9)] * 9
    + [repeat([12, 24, 48], [0.7, 0.4, 0.4], 0.4)],
}


def test_a_score_is_reached_once_the_choice_stays_at_or_above_it() -> None:
    one = repeat([3, 6, 9, 12], [0.7, 0.5, 0.8, 0.8], 0.8)
    assert [reached(one, target) for target in (0.5, 0.6, 0.8)] == [3, 9, 9]
    assert reached(one, 0.9) == np.inf


def test_the_summary_has_scores_epochs_and_optimism() -> None:
    lines = summary({"best": 0.9, "noise": 0.01, "variants": [YARDSTICK, OTHER]}).set_index("way")
    assert lines.loc["random", ["epochs", "score", "saving"]].tolist() == pytest.approx([96, 0.7, 1.0])
    tpe = lines.loc["tpe"]
    assert tpe["score"] == pytest.approx(0.76)
    assert tpe["regret"] == pytest.approx(0.14)
    assert tpe["gap"] == pytest.approx(0.09)
    # Nine promise .05 more than .8, one .05 less than .4.
    assert tpe["shrunken"] == pytest.approx(0.05)
    assert tpe["worse"] == pytest.approx(0.1)
    assert tpe["reached"] == pytest.approx(0.9)
    assert np.isnan(tpe["saving"])
    always = {**OTHER, "repeats": OTHER["repeats"][:9]}
    study = {"best": 0.9, "noise": None, "variants": [YARDSTICK, always]}
    assert summary(study)["saving"][1] == pytest.approx(96 / 24)
    # One seed's score is all that is known of the truth, and so promises nothing beyond it.
    assert summary(study)[["gap", "error", "shrunken"]].isna().all(axis=None)


NOTHING = {"epochs": [30], "seconds": [300.0], "true": [], "baseline": 0.5} | dict.fromkeys(
    ("chosen", "expected", "realised")
)
"""A replay that ended before any configuration had trained in full."""


def test_a_replay_without_a_winner_has_reached_nothing_and_leaves_the_scores_unknown() -> None:
    assert reached(NOTHING, 0.1) == np.inf
    some = {"name": "brief", "repeats": [*OTHER["repeats"][:3], NOTHING]}
    lines = summary({"best": 0.9, "noise": 0.01, "variants": [YARDSTICK, some]}).set_index("way")
    unknown = ["score", "low", "high", "regret", "gap", "error", "shrunken", "worse", "epochs_90"]
    assert lines.loc["brief", unknown].isna().all()
    assert lines.loc["brief", ["epochs", "reached"]].tolist() == [48, 0.75]
    lines = summary({"best": 0.9, "noise": 0.01, "variants": [some, OTHER]}).set_index("way")
    assert lines["reached"].tolist() == [0.75, 0.9]
    # Where most replays of the reference found no winner, there is no score to reach.
    few = {"name": "few", "repeats": [OTHER["repeats"][0], NOTHING, NOTHING]}
    lines = summary({"best": 0.9, "noise": 0.01, "variants": [few, OTHER]}).set_index("way")
    assert lines["reached"].isna().all()
    assert lines.loc["tpe", "score"] == pytest.approx(0.76)


def test_a_curve_counts_replays_without_a_winner_only_among_all() -> None:
    repeats = OTHER["repeats"][:3]
    curve = anytime({"repeats": [*repeats, NOTHING]}, "epochs")
    assert curve["median"].iloc[-1] == pytest.approx(0.8)
    assert curve["epochs"].iloc[0] == pytest.approx(12)
    assert anytime({"repeats": [*repeats, *[NOTHING] * 3]}, "epochs").empty


def test_a_strategy_that_found_nothing_has_a_line_in_the_table(tmp_path: Path) -> None:
    study = {**STUDY, "noise": 0.01, "variants": [YARDSTICK, {"name": "brief", "repeats": [NOTHING] * 2}]}
    write_json(tmp_path / "replay.json", {"runs": ["a"], "repeats": 2, "studies": [study]})
    page = Page(write_replay(tmp_path / "replay.json").read_text(encoding="utf-8"))
    assert "brief 30 5 min - - - - - - - 0 % - -" in page.text


def test_an_anytime_curve_is_a_step_function() -> None:
    curve = anytime(OTHER, "epochs")
    assert curve["median"].iloc[0] == pytest.approx(0.4)
    assert set(np.round(curve["median"][curve["epochs"] > 24.01], 3)) == {0.8}
    assert (curve["low"] <= curve["median"]).all()


STUDY = {
    "arch": "cnn",
    "full_length": 12,
    "configurations": 1,
    "seconds_an_epoch": 0.5,
    "rank_correlation": {"1": 0.25, "12": 0.5},
    "noise": None,
    "best": 0.9,
    "variants": [YARDSTICK, OTHER],
}


@pytest.fixture
def replayed(tmp_path: Path) -> Path:
    write_json(tmp_path / "replay.json", {"runs": ["a"], "repeats": 10, "studies": [STUDY]})
    return tmp_path / "replay.json"


def test_the_terminal_explains_each_column_and_leaves_out_empty_ones(replayed: Path) -> None:
    lines = list(describe(replayed))
    assert "rank correlation of predicted with real scores: 0.25 at 1 epoch, 0.50 at 12 epochs" in lines
    table = next(line for line in lines if line.lstrip().startswith("strategy")).splitlines()
    # Optimism is unknown without a second seed.
    assert "optimism" not in table[0]
    legend = [line.partition("  ")[0] for line in lines[lines.index("") + 1 :]]
    assert legend == [
        *("epochs", "time", "score", "5 to 95 %", "regret", "< untuned", "reached", "90 % by", "saving")
    ]
    assert all(heading in table[0] for heading in legend)
    assert table[1].split()[:4] == ["random", "96", "16", "min"]


def test_the_page_has_the_same_table_and_legend(replayed: Path) -> None:
    page = Page(write_replay(replayed).read_text(encoding="utf-8"))
    assert "1 trained configuration, 0.50 s per epoch." in page.text
    assert "strategy epochs time score 5 to 95 % regret < untuned reached 90 % by saving" in page.text
    assert "saving epochs of the reference divided by those" in page.text
    assert "A curve falls where" in page.text


def test_bands_are_drawn_for_few_strategies_and_time_has_a_suitable_unit() -> None:
    few = figure(STUDY, "seconds")
    assert [trace.fill for trace in few.data].count("tonexty") == 2
    assert few.layout.xaxis.title.text == "minutes"
    last = max(max(trace.x) for trace in few.data)
    assert last == pytest.approx(960 / 60)
    many = figure({**STUDY, "variants": [YARDSTICK, OTHER] * 2}, "epochs")
    assert [trace.fill for trace in many.data] == [None] * 4
    assert many.layout.xaxis.title.text == "epochs trained"
