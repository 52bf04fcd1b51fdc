import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from tune_brain.config import RunConfig
from tune_brain.errors import RunFolderError
from tune_brain.records import EpochRow, TrialRow, append
from tune_brain.runs import create
from tune_brain.search.outcomes import Outcomes, place, read_outcomes
from tune_brain.search.replay import HANDOVER, START, replay
from tune_brain.search.sampler import StudySampler
from tune_brain.search.study import Study
from tune_brain.search.surrogate import Surrogate, _fit, _remaining_noise, rank_errors
from tune_brain.space import Space
from tune_brain.stages.replay import Variant, configured, replay_once

MakeRow = Callable[..., TrialRow]
LADDER = (1, 3, 9)


def truth(at: np.ndarray) -> float:
    return float(0.9 - np.sum((at - 0.5) ** 2))


@pytest.fixture
def outcomes(space: Space) -> Outcomes:
    """A smooth score with one best, two seeds .01 to either side, shorter trials .1 and .2 lower."""
    halton = StudySampler(space, LADDER, seed=0, sampler="halton")
    values = [halton.suggest(Study(), number) for number in range(1, 41)]
    places = np.array([place(space, one) for one in values])
    scores = np.array([truth(at) for at in places])
    return Outcomes(
        space=space,
        places=places,
        scores={1: scores[:, None] - 0.2, 3: scores[:, None] - 0.1, 9: scores[:, None] + [[0.01, -0.01]]},
        cycles=dict.fromkeys(LADDER),
        curves=np.full((40, 2, 9), np.nan),
        seconds=2.0,
    )


def config(**asked: object) -> RunConfig:
    return RunConfig.model_validate(
        {"out": ".", "arch": ("linear",), "ladder": LADDER, "configs": 9, "final_round": (0, 0), **asked}
    )


@pytest.mark.slow
def test_the_surrogate_knows_the_table_and_guesses_between(outcomes: Outcomes) -> None:
    surrogate = Surrogate(outcomes)
    assert surrogate.noise == pytest.approx(0.02 / np.sqrt(2))
    assert surrogate.best == pytest.approx(max(map(truth, outcomes.places)), abs=0.01)
    between = {"max_lr": 2e-3, "grad_clip": 0.9}
    expected = truth(place(outcomes.space, between))
    assert surrogate.true(between, 0) == pytest.approx(expected, abs=0.02)
    assert surrogate.score(between, 1, 0, 0) == pytest.approx(expected - 0.2, abs=0.02)
    assert min(rank_errors(outcomes).values()) > 0.9


def test_seeds_of_a_configuration_differ_by_the_noise_about_its_true_score(outcomes: Outcomes) -> None:
    surrogate = Surrogate(outcomes)
    values = {"max_lr": 1e-3, "grad_clip": 1.0}
    seeds = [surrogate.score(values, 9, repeat, 0) for repeat in range(200)]
    assert np.mean(seeds) == pytest.approx(surrogate.true(values, 0), abs=0.003)
    assert np.std(seeds) == pytest.approx(surrogate.noise, rel=0.1)
    assert surrogate.score(values, 9, 1, 0) == seeds[1]
    # Of a shorter trial one seed is known; others scatter as the table does about its smooth mean.
    short = [surrogate.score(values, 1, repeat, 0) for repeat in range(200)]
    assert len(set(short[1:])) > 1
    assert np.std(short[1:]) == pytest.approx(np.std(surrogate._deviations[1]), rel=0.2)


def test_shorter_trials_scatter_as_their_seeds_do_where_there_are_two(outcomes: Outcomes) -> None:
    """Three seeds of length 3, .03 apart; of length 1 the table has one."""
    scores = {**outcomes.scores, 3: outcomes.scores[3] + [[0.03, 0.0, -0.03]]}
    surrogate = Surrogate(dataclasses.replace(outcomes, scores=scores))
    values = {"max_lr": 1e-3, "grad_clip": 1.0}
    drawn = np.array([surrogate.score(values, 3, 0, seed) for seed in range(60)])
    assert drawn.std() == pytest.approx(0.03, rel=0.2)
    assert drawn.mean() == pytest.approx(truth(place(outcomes.space, values)) - 0.1, abs=0.02)
    of_one = np.array([surrogate.score(values, 1, 0, seed) for seed in range(60)])
    assert of_one.std() < 0.01
    assert surrogate.noise == pytest.approx(0.02 / np.sqrt(2))


def test_what_a_smooth_mean_leaves_of_the_noise_is_known(outcomes: Outcomes) -> None:
    model = _fit(outcomes.places, np.linspace(0, 1, 40) % 0.3)
    rng = np.random.default_rng(0)
    left = []
    for _ in range(30):
        noise = rng.normal(0, 1, 40)
        smooth = _fit(outcomes.places, noise, model.kernel_).predict(outcomes.places)
        left.append(np.mean((noise - smooth) ** 2) / np.var(noise))
    assert np.mean(left) == pytest.approx(_remaining_noise(model, outcomes.places), rel=0.1)
    assert _remaining_noise(model, outcomes.places) < 0.97


def test_where_one_configuration_has_two_seeds_the_others_scatter_as_it_does(outcomes: Outcomes) -> None:
    """As after a final round of one finalist; most of what one seed of the others deviates by is noise."""
    full = outcomes.scores[9][:, :1] + np.random.default_rng(0).normal(0, 0.03, (40, 1))
    again = np.full((40, 1), np.nan)
    again[7] = full[7] + 0.03 * np.sqrt(2)
    surrogate = Surrogate(dataclasses.replace(outcomes, scores={9: np.hstack([full, again])}))
    assert surrogate.noise == pytest.approx(0.03)
    far = {"max_lr": 1e-3, "grad_clip": 1.0}
    drawn = [surrogate.score(far, 9, repeat, 0) for repeat in range(60)]
    assert np.std(drawn) == pytest.approx(0.03, rel=0.2)
    assert np.std(surrogate._deviations[9]) < 0.01


def test_a_length_that_was_not_trained_is_expected_from_those_that_were(outcomes: Outcomes) -> None:
    few = outcomes.scores[9].copy()
    few[5:] = np.nan
    surrogate = Surrogate(Outcomes(**{**vars(outcomes), "scores": {**outcomes.scores, 9: few}}))
    values = {"max_lr": 1e-3, "grad_clip": 1.0}
    assert surrogate.true(values, 0) == pytest.approx(truth(place(outcomes.space, values)), abs=0.03)


def test_what_diverged_in_a_short_trial_is_expected_to_in_a_long_one_and_not_the_other_way(
    outcomes: Outcomes,
) -> None:
    known = {length: scores.copy() for length, scores in outcomes.scores.items()}
    # The first diverged in the shortest trials and came no further, the second in the longest alone.
    known[1][0], known[3][0], known[9][0] = 0, np.nan, np.nan
    known[1][1], known[3][1], known[9][1] = np.nan, np.nan, 0
    surrogate = Surrogate(dataclasses.replace(outcomes, scores=known))
    assert [surrogate._means[length][0] for length in LADDER] == [0, 0, 0]
    assert surrogate._means[9][1] == 0
    falls_back = dataclasses.replace(outcomes, scores={**known, 1: known[1] + 0.3, 3: known[3] + 0.3})
    assert Surrogate(falls_back)._means[1][1] > 0


@pytest.mark.parametrize(
    ("slots", "ends"),
    [
        # The baseline and two configurations of 9 epochs of 2 s, one after another and two at a time.
        (1, [1, 2, 3]),
        (2, [1, 1, 2]),
        (8, [1, 1, 1]),
    ],
)
def test_the_clock_is_that_of_the_slots(outcomes: Outcomes, slots: int, ends: list[int]) -> None:
    ended = list(replay(Surrogate(outcomes), config(ladder=(9,), configs=2, sampler="random"), slots))
    assert [one.seconds for one in ended] == pytest.approx([START + end * (18 + HANDOVER) for end in ends])


def test_the_clock_of_two_slots_and_two_lengths_by_hand(outcomes: Outcomes) -> None:
    asked = config(ladder=(3, 9), configs=3, sampler="halton")
    ended = list(replay(Surrogate(outcomes), asked, 2))
    short, long = 3 * 2.0 + HANDOVER, 9 * 2.0 + HANDOVER
    # One slot takes the baseline to the top, the other the three at the bottom, the best of which goes on.
    by_hand = [
        ((1, 3), short),
        ((2, 3), 2 * short),
        ((0, 9), long),
        ((3, 3), 3 * short),
        ((2, 9), 3 * short + long),
    ]
    assert [(one.row.configuration, one.row.epochs) for one in ended] == [trial for trial, _ in by_hand]
    assert [one.seconds for one in ended] == pytest.approx([START + seconds for _, seconds in by_hand])


def test_a_ladder_promotes_as_the_search_does_and_repeats_exactly(outcomes: Outcomes) -> None:
    surrogate = Surrogate(outcomes)
    ended = list(replay(surrogate, config(final_round=(2, 2)), 1))
    by_length = {length: [one.row for one in ended if one.row.epochs == length] for length in LADDER}
    assert [len(rows) for rows in by_length.values()] == [9, 3, 1 + 1 + 4]
    best = max(by_length[1], key=lambda row: row.score or 0)
    assert best.configuration in {row.configuration for row in by_length[9]}
    again = list(replay(surrogate, config(final_round=(2, 2)), 1))
    assert [one.row.score for one in again] == [one.row.score for one in ended]
    other = list(replay(surrogate, config(final_round=(2, 2), seed=1), 1))
    assert [one.row.score for one in other] != [one.row.score for one in ended]


def test_a_warm_start_begins_with_what_the_space_names(outcomes: Outcomes) -> None:
    best = {"max_lr": 1e-3, "grad_clip": 1.0}
    warm = dataclasses.replace(outcomes, space=outcomes.space.model_copy(update={"first": (best,)}))
    surrogate = Surrogate(warm)
    asked = config(ladder=(9,), configs=3, sampler="random")
    ways = [list(replay(surrogate, asked, 1, warm_start=way)) for way in (True, False)]
    begun = [{one.row.configuration: one.row.values for one in way} for way in ways]
    assert begun[0][1] == best
    assert begun[1][1] != best
    # What is sampled after it is what would have been sampled as that configuration.
    assert [begun[0][number] for number in (2, 3)] == [begun[1][number] for number in (2, 3)]


def test_a_table_is_read_from_the_runs_of_one_space(space: Space, tmp_path: Path, row: MakeRow) -> None:
    values: list[Mapping[str, float]] = [space.baseline, {"max_lr": 1e-2, "grad_clip": 0.2}]
    for name, length in (("long", 9), ("short", 3)):
        run = create(config(out=tmp_path / name, ladder=(length,)), {"linear": space})
        for number, one in enumerate(values):
            for repeat in range(2 if length == 9 else 1):
                score = None if (length, number) == (3, 1) else 0.5 + number / 10 + repeat / 100
                trial = 10 * number + repeat
                ended = row(number, length, score, values=one, repeat=repeat, trial=trial, seed=trial)
                append(run.folder / "trials.jsonl", ended)
                for epoch in range(1, length + 1):
                    metrics = dict.fromkeys(EpochRow.model_fields, 0.5) | {"trial": trial, "arch": "linear"}
                    metrics |= {"epoch": epoch, "val_macro_f1": (epoch + repeat) / 100, "seconds": 4.0}
                    append(run.folder / "epochs.jsonl", EpochRow.model_validate(metrics))
    found = read_outcomes([tmp_path / "long", tmp_path / "short"], "linear")
    assert found.scores[9].tolist() == pytest.approx(np.array([[0.5, 0.51], [0.6, 0.61]]))
    # The second diverged as a short trial.
    assert found.scores[3].tolist() == [[0.5], [0.0]]
    assert found.curves.shape == (2, 2, 9)
    assert found.curves[0, 1].tolist() == [(epoch + 1) / 100 for epoch in range(1, 10)]
    assert (found.seconds, found.full_length) == (4.0, 9)
    # A run beside its copy knows no more than itself.
    shutil.copytree(tmp_path / "long", tmp_path / "copy")
    twice = read_outcomes([tmp_path / "long", tmp_path / "copy"], "linear")
    assert twice.scores[9].tolist() == found.scores[9].tolist()
    for name, digest in (("long", "a" * 64), ("copy", "b" * 64)):
        (tmp_path / name / "record.json").write_text(json.dumps({"data": {"cut_digest": digest}}))
    with pytest.raises(RunFolderError, match=r"same images.*long: aaaaaaaa at .*copy: bbbbbbbb at "):
        read_outcomes([tmp_path / "long", tmp_path / "copy"], "linear")
    create(config(out=tmp_path / "none"), {"linear": space})
    with pytest.raises(RunFolderError, match="needs completed trials"):
        read_outcomes([tmp_path / "none"], "linear")
    with pytest.raises(RunFolderError, match="no run of cnn"):
        read_outcomes([tmp_path / "long"], "cnn")


def test_a_rivals_diverged_final_trial_does_not_change_what_the_winner_is_expected_to_score(
    outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    surrogate = Surrogate(outcomes)
    given = {"sampler": "random", "ladder": (9,), "configs": 4, "slots": 1, "final_round": (3, 1)}
    variant = Variant.model_validate(given)
    before = replay_once(surrogate, variant, 0)
    rows = [ended.row for ended in replay(surrogate, configured(variant, "linear", 0), 1)]
    rival = min((row for row in rows if row.repeat), key=lambda row: row.score)
    score = surrogate.score
    monkeypatch.setattr(
        surrogate,
        "score",
        lambda values, length, repeat, seed: (
            0.0 if repeat and values == rival.values else score(values, length, repeat, seed)
        ),
    )
    after = replay_once(surrogate, variant, 0)
    assert after["chosen"] == before["chosen"]
    assert after["expected"] == pytest.approx(before["expected"], abs=0.005)
