"""Tables of scores and studies, checked by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tune_brain.config import RunConfig
from tune_brain.records import TEST_PARTS, EpochRow, TrialRow
from tune_brain.report import findings
from tune_brain.report.tables import scores, studies

CONFIG = RunConfig(out="run", arch=("linear", "cnn"), ladder=(1, 2), configs=3)
EMPTY = dict.fromkeys(("mean", "std", "low", "high"))


def trial(number: int, score: float | None = 0.5, **fields) -> TrialRow:
    state = "completed" if score is not None else "failed"
    plain = {"arch": "cnn", "configuration": number, "epochs": 1, "values": {"max_lr": 0.1}, "seconds": 10.0}
    return TrialRow(trial=number, score=score, state=state, seed=0, started=0, **{**plain, **fields})


def epoch(number: int, place: int, score: float = 0.5) -> EpochRow:
    names = set(EpochRow.model_fields) - {"trial", "arch", "epoch", "val_macro_f1"}
    return EpochRow(trial=number, arch="cnn", epoch=place, val_macro_f1=score, **dict.fromkeys(names, 0.0))


ROWS = [
    trial(0, 0.6, epochs=2),
    trial(1, 0.9),
    trial(2, None, why="diverged", detail="nan"),
    trial(3, 0.7, epochs=2, configuration=1),
    trial(4, 0.2, epochs=2, arch="linear", configuration=0),
    trial(5, 0.7, epochs=2, configuration=3),
]


def test_trials_are_sorted_by_architecture_and_flag_winner_and_baseline():
    table = studies.trials(ROWS, CONFIG)
    assert table["trial"].tolist() == [4, 0, 1, 2, 3, 5]
    assert table.loc[table["winner"], "trial"].tolist() == [4, 3]
    assert table.loc[table["baseline"], "trial"].tolist() == [4, 0]
    assert table.loc[table["full"], "trial"].tolist() == [4, 0, 3, 5]
    assert table.loc[table["score"].isna(), "trial"].tolist() == [2]
    assert table["why"].tolist() == ["", "", "", "diverged", "", ""]


def test_tuned_hyperparameters_are_listed_once_in_order():
    rows = [trial(1, values={"max_lr": 1, "clip": 2}), trial(2, values={"max_lr": 1, "decay": 3})]
    assert studies.parameters(studies.trials(rows, CONFIG)) == ["max_lr", "clip", "decay"]


def test_curves_are_sorted_by_trial_and_have_its_rung_and_flags():
    rows = [epoch(3, 1, 0.5), epoch(1, 1, 0.4), epoch(3, 2, 0.7)]
    table = studies.curves([*rows, epoch(99, 1)], studies.trials(ROWS, CONFIG))
    assert table[["trial", "epoch", "val_macro_f1"]].values.tolist() == [
        [1, 1, 0.4],
        [3, 1, 0.5],
        [3, 2, 0.7],
    ]
    assert table["epochs"].tolist() == [1, 2, 2]
    assert table["winner"].tolist() == [False, True, True]


def test_studies_count_what_the_search_did():
    table = studies.studies(studies.trials(ROWS, CONFIG), CONFIG).set_index("arch")
    assert table.loc["cnn"].to_dict() == {
        "configurations": 3,
        "trials": [2, 3],
        "running": 0,
        "interrupted": 0,
        "failed": 1,
        "best": 0.7,
        "baseline": 0.6,
    }
    assert table.loc["linear", "configurations"] == 0
    assert table.loc["linear", "best"] == table.loc["linear", "baseline"] == 0.2


def test_the_best_of_a_study_is_its_winners_mean_and_not_a_lucky_seed():
    again = [
        trial(6, 0.5, epochs=2, configuration=1, repeat=1),
        trial(7, 0.75, epochs=2, configuration=3, repeat=1),
        trial(8, 0.95, epochs=2, configuration=0, repeat=1),
        trial(9, 0.1, epochs=2, configuration=0, repeat=2),
        trial(10, 0.6, epochs=2, configuration=3, repeat=2),
    ]
    trials = studies.trials([*ROWS, *again], CONFIG)
    assert trials.loc[trials["winner"] & (trials["arch"] == "cnn"), "configuration"].tolist() == [3]
    of_cnn = studies.studies(trials, CONFIG).set_index("arch").loc["cnn"]
    assert of_cnn[["best", "baseline"]].tolist() == pytest.approx([2.05 / 3, 1.65 / 3])


def test_no_rows_give_empty_tables():
    trials = studies.trials([], CONFIG)
    assert trials.empty
    assert studies.curves([], trials).empty
    assert studies.parameters(trials) == []
    table = studies.studies(trials, CONFIG)
    assert table["trials"].tolist() == [[0, 0], [0, 0]]
    assert table["best"].isna().all()
    for table in (scores.scores({}, {}), scores.retrained({}), scores.pairs({}), scores.images({})):
        assert table.empty


def scored(f1: float, log_loss: float | None = None) -> dict:
    about = {"n": 10, "groups": 5, "seeds": 3}
    found = {"f1": {"mean": f1, "std": 0.01, "low": f1 - 0.1, "high": f1 + 0.1}}
    if log_loss is not None:
        found["log_loss"] = {"mean": log_loss, "std": None, "low": None, "high": None}
    return {**about, **found}


def test_scores_are_sorted_by_classifier_and_flag_the_best_winner():
    winners = {
        "cnn": {"official": scored(0.8, 0.5), "unseen": scored(0.7, 0.9)},
        "linear": {"official": scored(0.6, 0.4), "unseen": {**scored(0.0), "n": 0, "f1": EMPTY}},
    }
    comparisons = {
        "baselines": {"cnn": {"official": scored(0.9, 0.1), "unseen": scored(0.9, 0.1)}},
        "references": {"majority": {"official": scored(0.1), "unseen": scored(0.1)}},
    }
    table = scores.scores(winners, comparisons)
    order = table[["classifier", "role"]].drop_duplicates().values.tolist()
    assert order == [["cnn", "winner"], ["cnn", "baseline"], ["linear", "winner"], ["majority", "reference"]]
    best = table.loc[table["best"], ["classifier", "part", "metric"]].values.tolist()
    assert best == [
        ["cnn", "official", "f1"],
        ["cnn", "unseen", "f1"],
        ["cnn", "unseen", "log_loss"],
        ["linear", "official", "log_loss"],
    ]
    empty = table[(table["classifier"] == "linear") & (table["part"] == "unseen")]
    assert empty[["mean", "std", "low", "high"]].isna().all(axis=None)
    assert table.loc[table["classifier"] == "majority", "metric"].tolist() == ["f1", "f1"]
    assert table.loc[0, ["n", "groups", "seeds", "mean", "low"]].tolist() == [
        10,
        5,
        3,
        0.8,
        pytest.approx(0.7),
    ]


def test_winners_are_compared_with_the_ensemble_by_calibrated_probabilities():
    def calibrated(before: float, after: float) -> dict:
        found = scored(0.5, before)
        return {
            part: {**found, "calibrated": {"log_loss": scored(0, after)["log_loss"]}} for part in TEST_PARTS
        }

    table = scores.scores({"cnn": calibrated(0.9, 0.3), "ensemble": calibrated(0.4, 0.4)}, {})
    losses = table[table["metric"] == "log_loss"]
    assert losses.loc[losses["classifier"] == "cnn", "mean"].tolist() == [0.3, 0.3]
    assert set(losses.loc[losses["best"], "classifier"]) == {"cnn"}


def test_the_gains_of_tuning_are_listed_from_smallest_to_largest():
    worth = pd.DataFrame({"arch": ["a", "b", "c"], "gain_unseen": [-0.06, 0.001, np.nan]})
    heading = findings.winners(SimpleNamespace(worth=worth))
    assert heading == "Tuned minus untuned on the unseen test, in points of macro-F1: a -6.0, b +0.1"


def test_runs_on_different_images_are_not_ranked():
    table = pd.DataFrame({"run": ["a", "b"], "arch": "cnn", "unseen": np.nan, "best": [0.8, 0.9]})
    assert (
        findings.compare(table, same_cut=True, same_test=False)
        == "b has the highest score on validation: cnn, 0.900"
    )
    assert "b" not in findings.compare(table, same_cut=False, same_test=True).split()
    table["unseen"] = 0.5
    for same_cut, images in ((None, "images that may differ"), (False, "different images")):
        found = findings.compare(table, same_cut=same_cut, same_test=None)
        assert found == f"Runs on {images}, side by side"


def test_row_shares_are_of_the_true_class():
    shares = scores.row_shares([[3, 1], [0, 0]])
    assert shares[0].tolist() == [0.75, 0.25]
    assert np.isnan(shares[1]).all()


def test_classes_of_a_score_are_listed_with_their_means():
    one = {"n": 4, **{name: {**EMPTY, "mean": 0.5} for name in ("precision", "recall", "f1", "roc_auc")}}
    table = scores.per_class({"per_class": {"a": one, "b": {"n": 0, "precision": EMPTY}}})
    assert table.loc[0].tolist() == ["a", 4, 0.5, 0.5, 0.5, 0.5]
    assert table.loc[1, ["precision", "recall", "f1", "roc_auc"]].isna().all()


def test_retrained_scores_are_means_over_the_seeds():
    found = {"cnn": {"search": 0.9, "winner": [0.7, 0.8, 0.9], "baseline": [0.6]}}
    found["linear"] = {"search": 0.5, "winner": [0.5, 0.5], "baseline": []}
    table = scores.retrained({"validation": found}).set_index("arch")
    assert table.loc["cnn", ["search", "winner", "winner_std"]].tolist() == pytest.approx([0.9, 0.8, 0.1])
    assert table.loc["cnn", "baseline"] == 0.6
    assert np.isnan(table.loc["linear", "baseline"])


def test_pairs_name_the_significantly_better_classifier():
    pair = {"a": "cnn", "b": "linear", "only_a": 9, "only_b": 1, "p": 0.02}
    rows = [
        {**pair, "part": "official", "p_holm": 0.04},
        {**pair, "part": "unseen", "p_holm": 0.05},
        {**pair, "part": "unseen", "only_a": 1, "only_b": 9, "p_holm": 0.01},
    ]
    table = scores.pairs({"mcnemar": rows})
    assert table["part"].tolist() == ["unseen", "unseen", "official"]
    assert table["better"].tolist() == ["", "linear", "cnn"]


def test_the_better_classifier_leads_in_more_groups_and_perhaps_on_fewer_images():
    row = {"part": "unseen", "a": "cnn", "b": "linear", "only_a": 9, "only_b": 30, "p": 0.02, "p_holm": 0.02}
    table = scores.pairs({"mcnemar": [{**row, "groups_a": 9, "groups_b": 1}]})
    assert table["better"].tolist() == ["cnn"]


def test_images_are_counted_by_class_and_part():
    data = {
        "classes": ["a", "all"],
        "counts": {"train": {"a": 3, "all": 4}, "validation": {"a": 1}, "test": {"a": 9}},
        "official": {"a": 9, "all": 2},
        "unseen": {"a": 5, "all": 0},
    }
    table = scores.images(data)
    assert table.index.tolist() == ["a", "all"]
    assert table.values.tolist() == [[3, 1, 9, 5], [4, 0, 2, 0]]
