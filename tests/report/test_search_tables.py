"""Tables of the ladder, the pace, the machines and the tuned hyperparameters, checked by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_brain.config import RunConfig
from tune_brain.records import TEST_PARTS, EpochRow, TrialRow, append
from tune_brain.report.run_reader import read_contents
from tune_brain.report.run_view import RunView
from tune_brain.report.tables import compare, ladder, pace, parameters, scores, studies
from tune_brain.space import Range, Space

CONFIG = RunConfig(out="run", arch=("linear", "cnn"), ladder=(1, 3, 9), configs=8)


def trial(number: int, score: float | None, **fields) -> TrialRow:
    plain = {
        "arch": "cnn",
        "configuration": number,
        "epochs": 1,
        "values": {"max_lr": 0.1},
        "started": 10.0 * number,
        "seconds": 10.0,
        "state": "completed" if score is not None else "failed",
        "node": "a",
        "worker": 7,
    }
    return TrialRow(trial=number, score=score, seed=0, **{**plain, **fields})


# Configurations 1 to 4 at the bottom one after another; 3 climbs before 4 has ended, 4 at the end of all.
CLIMB = [
    trial(0, 0.8, configuration=0, epochs=9, started=0.0, seconds=90.0),
    trial(1, 0.5, started=0.0),
    trial(2, 0.4, started=10.0),
    trial(3, 0.6, started=20.0),
    trial(4, None, why="diverged", started=30.0, configuration=4),
    trial(5, 0.7, started=40.0, configuration=5),
    trial(6, 0.65, started=31.0, epochs=3, configuration=3),
    trial(7, 0.75, started=60.0, epochs=3, configuration=5),
    trial(8, 0.9, started=70.0, epochs=9, configuration=5),
]


def fates_of(rows: list[TrialRow]) -> pd.DataFrame:
    table = studies.trials(rows, CONFIG)
    return table.join(ladder.fates(table, CONFIG.ladder, ladder.first_starts(rows))).set_index("trial")


def test_a_promotion_is_ranked_among_the_trials_ended_by_then():
    table = fates_of(CLIMB)
    outcomes = table[["fate", "rank", "peers", "cutoff"]]
    # Three had ended when configuration 3 was taken up: it was the best third of them.
    assert outcomes.loc[3].tolist() == ["promoted", 1.0, 3.0, 0.6]
    # By the time of configuration 5, all five had; the failed one counts, as the worst.
    assert outcomes.loc[5].tolist() == ["promoted", 1.0, 5.0, 0.7]
    assert outcomes.loc[1].tolist() == ["left", 3.0, 5.0, 0.7]
    assert outcomes.loc[4, ["fate", "rank"]].tolist() == ["failed", 5.0]
    # Of two at the middle rung a third is less than one.
    assert outcomes.loc[7, ["fate", "rank", "peers"]].tolist() == ["promoted", 1.0, 2.0]
    assert np.isnan(outcomes.loc[7, "cutoff"])
    assert outcomes.loc[6, "fate"] == "left"
    assert outcomes.loc[[0, 8], "fate"].tolist() == ["full", "full"]
    assert outcomes.loc[[0, 8], "rank"].tolist() == [2.0, 1.0]


def test_the_baseline_is_not_ranked_below_full_length():
    rows = [trial(0, 0.9, configuration=0, epochs=1), *CLIMB[1:4]]
    assert fates_of(rows).loc[3, ["rank", "peers"]].tolist() == [1.0, 3.0]


def test_trials_of_the_final_round_do_not_count_as_peers():
    again = trial(9, 0.99, configuration=5, epochs=9, repeat=1, started=200.0)
    rows = [*CLIMB, again]
    table = fates_of(rows)
    assert table.loc[[0, 8], "rank"].tolist() == [2.0, 1.0]
    assert table.loc[[0, 8], "peers"].tolist() == [2.0, 2.0]
    ends = pace.ends(table.reset_index(), ())
    assert ends["best"].max() == 0.9
    assert ladder.cutoffs(table.reset_index(), CONFIG.ladder)["n"].tolist() == [5, 2, 2]
    columns = ["fate", "rank", "peers", "cutoff"]
    pd.testing.assert_frame_equal(table.drop(index=9)[columns], fates_of(CLIMB)[columns])
    assert np.isnan(ladder.agreement(table.reset_index(), 1, 9)[0])


def test_a_running_trial_has_no_rank():
    rows = [*CLIMB[:4], trial(9, None, state="running", configuration=9, started=99.0)]
    table = fates_of(rows)
    assert table.loc[9, "fate"] == "running"
    assert np.isnan(table.loc[9, "rank"])
    assert table.loc[3, "fate"] == "left"


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=12))
def test_ranks_of_one_rung_are_those_of_the_scores(found):
    rows = [trial(number, score, configuration=number + 1) for number, score in enumerate(found)]
    table = fates_of(rows)
    assert table["peers"].tolist() == [len(found)] * len(found)
    best = [-1.0 if score is None else score for score in found]
    assert table["rank"].tolist() == [1 + sum(other > own for other in best) for own in best]
    cutoff = table["cutoff"].dropna()
    assert (table["score"] >= cutoff.max()).sum() >= len(found) // 3 or cutoff.empty


def test_rungs_have_counts_and_a_current_cut_off():
    table = fates_of(CLIMB).reset_index()
    lines = ladder.cutoffs(table, CONFIG.ladder).set_index("epochs")
    assert lines["n"].tolist() == [5, 2, 2]
    assert lines["promoted"].tolist() == [2, 1, 0]
    assert lines.loc[1, ["best", "cutoff"]].tolist() == [0.7, 0.7]
    assert lines.loc[[3, 9], "cutoff"].isna().all()


def test_the_agreement_of_two_rungs_is_a_rank_correlation_over_shared_configurations():
    rows = [
        trial(number, score, configuration=1 + number % 4, epochs=length)
        for number, (score, length) in enumerate(
            [(0.1, 1), (0.2, 1), (0.3, 1), (0.4, 1), (0.5, 9), (0.6, 9), (0.8, 9)]
        )
    ]
    table = studies.trials(rows, CONFIG)
    assert ladder.agreement(table, 1, 9) == (pytest.approx(1.0), 3)
    assert np.isnan(ladder.agreement(table, 1, 3)[0])


def test_the_best_so_far_counts_full_length_only():
    table = pace.ends(fates_of(CLIMB).reset_index(), [SimpleNamespace(trial=4)])
    assert table["trial"].tolist() == [1, 2, 3, 6, 5, 7, 8, 0]
    assert (table["hours"] * 3600).round(6).tolist() == [10, 20, 30, 41, 50, 70, 80, 90]
    assert table["spent"].tolist() == [1, 2, 3, 7, 8, 11, 20, 29]
    assert table["best"].tolist()[-2:] == [0.9, 0.9]
    assert table["best"][:-2].isna().all()


def test_worker_time_includes_the_epochs_before_a_trial_was_lost_and_resumed(new_run):
    run = new_run(archs=("cnn",), searched=(), evaluated=False)
    names = set(EpochRow.model_fields) - {"trial", "arch", "epoch", "seconds"}
    # Ten epochs of 360 s before its worker was lost; the attempt that completed it trained the eleventh only.
    resumed = trial(0, 0.5, configuration=0, epochs=11, attempt=2, started=4000.0, seconds=365.0)
    append(run / "trials.jsonl", resumed, trial(1, None, arch="linear", why="diverged", seconds=7.0))
    append(
        run / "epochs.jsonl",
        *(
            EpochRow(trial=number, arch=arch, epoch=epoch, seconds=seconds, **dict.fromkeys(names, 0.5))
            for number, arch, epochs, seconds in ((0, "cnn", 11, 360.0), (1, "linear", 2, 3.0))
            for epoch in range(1, epochs + 1)
        ),
    )
    shown = RunView(read_contents(run))
    assert shown.spent == {"cnn": (11, 3960.0), "linear": (2, 7.0)}
    table = compare.results(["run"], [shown.studies], [shown.spent], [shown.scores])
    assert table["seconds"].tolist() == [3960.0]


def test_the_start_of_an_attempt_is_corrected_when_its_worker_begins():
    waits = trial(0, None, state="running", started=0.0, seconds=0.0, node="")
    withdrawn = trial(1, None, state="running", started=0.0, seconds=0.0, node="")
    rows = [
        waits,
        waits.model_copy(update={"started": 5.0, "node": "a"}),
        trial(0, 0.5, started=5.0, seconds=4.0),
        withdrawn,
        trial(1, None, started=9.0, seconds=0.0, why="lost", node=""),
    ]
    attempts = pace.timeline(rows, 30.0)
    assert attempts[["trial", "started", "ended", "state"]].values.tolist() == [
        [0, 5.0, 9.0, "completed"],
        [1, 9.0, 9.0, "failed"],
    ]


def test_a_later_row_of_the_same_attempt_is_not_another_attempt():
    running = trial(0, None, state="running", started=0.0, seconds=0.0)
    lost = trial(0, None, started=0.0, seconds=5.0, why="lost", attempt=3)
    again = trial(0, None, state="running", started=20.0, seconds=0.0)
    rows = [running, lost, lost.model_copy(update={"attempt": 2}), again]
    attempts = pace.timeline(rows, 30.0)
    assert attempts[["started", "ended", "state", "slot"]].values.tolist() == [
        [0.0, 5.0, "failed", 1],
        [20.0, 30.0, "running", 1],
    ]


def test_attempts_are_assigned_to_the_first_free_slot():
    rows = [
        trial(0, None, state="running", started=0.0, seconds=0.0, node=""),
        trial(1, None, state="running", started=1.0, seconds=0.0, node=""),
        trial(0, None, started=0.0, seconds=5.0, why="raised"),
        trial(0, None, state="running", started=6.0, seconds=0.0, attempt=2),
        trial(0, 0.5, started=6.0, seconds=4.0, attempt=2),
        # Its driver died; it was started again later and runs.
        trial(1, None, state="running", started=20.0, seconds=0.0, node=""),
        trial(1, None, state="running", started=21.0, seconds=0.0),
    ]
    table = pace.timeline(rows, now=25.0)
    lines = table[["trial", "slot", "started", "ended", "state", "attempt"]].values.tolist()
    assert lines == [
        [0, 1, 0.0, 5.0, "failed", 1],
        [1, 1, 1.0, 10.0, "interrupted", 1],
        [0, 1, 6.0, 10.0, "completed", 2],
        [1, 1, 21.0, 25.0, "running", 1],
    ]
    assert table.loc[0, "node"] == "a"
    busy = pace.busy(table).set_index(["node", "slot"])
    assert busy["failed"].sum() == 1
    assert busy["busy"].max() <= 1


def test_a_pause_before_a_resume_is_no_work_of_the_interrupted_trials():
    begun = [trial(number, None, state="running", started=5.0 * number, seconds=0.0) for number in (1, 2)]
    again = [row.model_copy(update={"started": 5000.0 + row.trial}) for row in begun]
    table = pace.timeline([trial(0, 0.5, started=0.0, seconds=60.0), *begun, *again], now=5010.0)
    interrupted = table[table["state"] == "interrupted"]
    assert interrupted[["trial", "ended"]].values.tolist() == [[1, 60.0], [2, 60.0]]
    assert pace.busy(table)["busy"].max() < 0.02
    # On fewer slots the resumed search may begin with a new trial, which waits for its worker.
    new = trial(3, None, state="running", started=4999.0, seconds=0.0, node="")
    up = new.model_copy(update={"started": 5003.0, "node": "a"})
    rows = [trial(0, 0.5, started=0.0, seconds=60.0), *begun, new, *again, up]
    table = pace.timeline(rows, now=5010.0)
    assert table[table["trial"] == 3][["started", "ended"]].values.tolist() == [[5003.0, 5010.0]]
    assert pace.busy(table)["busy"].max() < 0.02


def test_bars_of_one_slot_never_overlap():
    rng = np.random.default_rng(1)
    rows = [
        trial(number, 0.5, started=float(start), seconds=float(length), node=str(number % 2))
        for number, (start, length) in enumerate(
            zip(rng.uniform(0, 50, 40), rng.uniform(1, 9, 40), strict=True)
        )
    ]
    for _, slot in pace.timeline(rows, now=0.0).groupby(["node", "slot"]):
        ordered = slot.sort_values("started")
        assert (ordered["started"].to_numpy()[1:] >= ordered["ended"].to_numpy()[:-1]).all()


SPACE = Space(
    arch="cnn",
    tuned={"max_lr": Range(low=1e-4, high=1e-2), "grad_clip": Range(low=1, high=11, log=False)},
    fixed={"weight_decay": 0.01},
    baseline={"max_lr": 1e-3, "grad_clip": 2.0},
)


def tuned(number: int, score: float, lr: float, clip: float) -> TrialRow:
    return trial(number, score, epochs=9, values={"max_lr": lr, "grad_clip": clip})


def test_a_best_value_at_the_edge_of_its_range_is_reported():
    table = studies.trials([tuned(1, 0.5, 1e-3, 6.0), tuned(2, 0.9, 9.5e-3, 1.1)], CONFIG)
    assert parameters.placed(table, SPACE).loc[0].tolist() == pytest.approx([0.5, 0.5])
    assert parameters.edges(table, SPACE) == [("max_lr", "upper"), ("grad_clip", "lower")]
    inside = studies.trials([tuned(1, 0.5, 1e-3, 6.0)], CONFIG)
    assert parameters.edges(inside, SPACE) == []


def test_a_surface_follows_the_scores_and_stays_near_them():
    rng = np.random.default_rng(0)
    places = pd.DataFrame({"x": rng.uniform(0, 0.5, 40), "y": rng.uniform(0, 1, 40)})
    surface = parameters.surface(places, places["y"], "x", "y")
    assert surface.shape == (parameters.GRID, parameters.GRID)
    assert np.nanmean(surface[-4:, :10]) > np.nanmean(surface[:4, :10]) + 0.4
    assert np.isnan(surface[:, -1]).all()
    assert np.nanmin(surface) >= places["y"].min()
    assert np.nanmax(surface) <= places["y"].max()
    assert parameters.surface(places[:9], places["y"][:9], "x", "y") is None


def test_the_gain_of_tuning_is_a_difference_in_macro_f1():
    means = {("cnn", "winner"): (0.8, 0.7), ("cnn", "baseline"): (0.75, 0.72)}
    table = pd.DataFrame(
        [
            {"classifier": name, "role": role, "part": part, "metric": "f1", "mean": mean}
            for (name, role), both in means.items()
            for part, mean in zip(TEST_PARTS, both, strict=True)
        ]
    )
    again = scores.retrained({"validation": {"cnn": {"search": 0.9, "winner": [0.85], "baseline": [0.83]}}})
    line = scores.worth(table, again).loc[0]
    assert line[["official", "unseen", "optimism"]].tolist() == pytest.approx([0.8, 0.7, 0.05])
    gains = line[["gain_validation", "gain_official", "gain_unseen"]].tolist()
    assert gains == pytest.approx([0.02, 0.05, -0.02])


def test_failed_trials_count_the_epochs_that_they_reported():
    rows = [trial(0, None, epochs=9), trial(1, 0.5, configuration=1, started=20.0)]
    reported = [SimpleNamespace(trial=0)] * 2
    assert pace.ends(studies.trials(rows, CONFIG), reported)["spent"].tolist() == [3]
