import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_brain.config import RunConfig
from tune_brain.records import TrialRow
from tune_brain.search.ladder import Finished, Retry, Train, Wait, cycle, expected_epochs, next_step
from tune_brain.search.study import Study

MakeRow = Callable[..., TrialRow]


def step(rows: Sequence[TrialRow], configs: int = 9, live: Sequence[int] = (), **options: Any):
    # Not validated: a final round of one trial, which no user may have, is easier to follow.
    given = {"ladder": (3, 6, 12), "configs": configs, "final_round": (0, 0), **options}
    return next_step(Study(rows), RunConfig.model_construct(**given), live)


def test_the_baseline_comes_first_and_at_full_length() -> None:
    assert step([]) == Train(0, 12)


def test_new_configurations_start_at_the_bottom_and_are_counted_up(row: MakeRow) -> None:
    assert step([row(0, 12)]) == Train(1, 3)
    assert step([row(0, 12), row(1, 3), row(2, 3)]) == Train(3, 3)


def test_the_best_third_of_a_rung_is_promoted_before_a_new_configuration_starts(row: MakeRow) -> None:
    rows = [row(0, 12), row(1, 3, 0.1), row(2, 3, 0.9), row(3, 3, 0.5)]
    assert step(rows) == Train(2, 6)
    assert step([*rows, row(2, 6, 0.9)]) == Train(4, 3)


def test_a_trial_far_below_full_length_is_the_beginning_of_a_full_one() -> None:
    assert [cycle(epochs, 12) for epochs in (1, 2, 3, 12)] == [12, None, None, None]
    assert [cycle(epochs, 36) for epochs in (1, 3, 4)] == [36, 36, None]
    assert cycle(1, 3) is None


def test_the_highest_rung_is_promoted_first(row: MakeRow) -> None:
    bottom = [row(number, 3, number / 20) for number in range(1, 13)]
    middle = [row(12, 6, 0.2), row(11, 6, 0.8), row(10, 6, 0.3)]
    assert step([row(0, 12), *bottom, *middle], configs=12) == Train(11, 12)
    assert step([row(0, 12), *bottom, *middle, row(11, 12)], configs=12) == Train(9, 6)


def test_of_equal_scores_the_earlier_configuration_is_promoted(row: MakeRow) -> None:
    assert step([row(0, 12), row(1, 3), row(2, 3), row(3, 3)]) == Train(1, 6)


def test_the_baseline_has_no_place_in_a_rung(row: MakeRow) -> None:
    assert step([row(0, 12), row(1, 3), row(2, 3)]) == Train(3, 3)


def test_failed_configurations_count_as_the_worst_and_are_never_promoted(row: MakeRow) -> None:
    rows = [row(0, 12), row(1, 3, None), row(2, 3, None), row(3, 3, 0.1)]
    assert step(rows) == Train(3, 6)
    assert step([row(0, 12), row(1, 3, None)], configs=1) == Finished()


def test_when_all_are_sampled_the_best_is_taken_to_the_top_even_alone(row: MakeRow) -> None:
    rows = [row(0, 12), row(1, 3, 0.4), row(2, 3, 0.6)]
    assert step(rows, configs=2) == Train(2, 6)
    assert step([*rows, row(2, 6, 0.1)], configs=2) == Train(2, 12)
    assert step([*rows, row(2, 6, 0.1), row(2, 12, 0.7)], configs=2) == Finished()


def test_a_best_that_fails_above_gives_way_to_the_next(row: MakeRow) -> None:
    rows = [row(0, 12), row(1, 3, 0.4), row(2, 3, 0.6), row(2, 6, None)]
    assert step(rows, configs=2) == Train(1, 6)


def test_a_rung_is_not_closed_while_a_trial_in_it_runs(row: MakeRow) -> None:
    running = row(2, 3, None, state="running", why=None)
    assert step([row(0, 12), row(1, 3, 0.4), running], configs=2, live=[running.trial]) == Wait()


def test_a_trial_that_runs_nowhere_is_taken_up_at_its_own_attempt(row: MakeRow) -> None:
    lost = row(1, 3, None, state="running", why=None)
    assert step([row(0, 12), lost]) == Retry(lost, 1)


def test_what_raises_is_tried_once_more_what_is_lost_twice_and_what_diverges_or_hangs_never(
    row: MakeRow,
) -> None:
    raised = row(1, 3, None, why="raised")
    assert step([row(0, 12), raised]) == Retry(raised, 2)
    assert step([row(0, 12), row(1, 3, None, why="raised", attempt=2)]) == Train(2, 3)
    lost = row(1, 3, None, why="lost", attempt=2)
    assert step([row(0, 12), lost]) == Retry(lost, 3)
    assert step([row(0, 12), row(1, 3, None, why="lost", attempt=3)]) == Train(2, 3)
    for why in ("diverged", "timeout"):
        assert step([row(0, 12), row(1, 3, None, why=why)]) == Train(2, 3)


def test_a_ladder_of_one_rung_trains_every_configuration_at_full_length(row: MakeRow) -> None:
    rows = [row(0, 12)]
    for number in range(1, 4):
        assert step(rows, 3, ladder=(12,)) == Train(number, 12)
        rows.append(row(number, 12))
    assert step(rows, 3, ladder=(12,)) == Finished()


def run_alone(scores: Sequence[float], make: MakeRow, ladder: Sequence[int]) -> list[TrialRow]:
    """A whole study on one slot, where a configuration scores the same at each rung."""
    rows: list[TrialRow] = []
    while isinstance(then := step(rows, len(scores), ladder=ladder), Train):
        score = 0.0 if then.configuration == 0 else scores[then.configuration - 1]
        rows.append(make(then.configuration, then.epochs, score))
    assert then == Finished()
    return rows


def halving(scores: Sequence[float], ladder: Sequence[int]) -> list[set[int]]:
    """Synchronous successive halving: who stands at each rung above the first."""
    standing = sorted(range(1, len(scores) + 1), key=lambda number: -scores[number - 1])
    rungs = []
    for _ in ladder[1:]:
        standing = standing[: max(1, len(standing) // 3)]
        rungs.append(set(standing))
    return rungs


@settings(max_examples=60, deadline=None)
@given(
    st.permutations(range(1, 28)), st.integers(1, 27), st.sampled_from([(3, 6, 12), (2, 4), (1, 3, 9, 27)])
)
def test_on_one_slot_everything_that_synchronous_halving_promotes_is_promoted(
    order: list[int], size: int, ladder: tuple[int, ...]
) -> None:
    scores = [value / 100 for value in order[:size]]
    rows = run_alone(scores, make_row(), ladder)
    for rung, expected in zip(ladder[1:], halving(scores, ladder), strict=True):
        assert expected <= {row.configuration for row in rows if row.epochs == rung and row.configuration}
    trained = [(row.configuration, row.epochs) for row in rows]
    assert len(trained) == len(set(trained)), "a configuration was trained twice at one rung"


@settings(max_examples=100, deadline=None)
@given(
    data=st.data(),
    configs=st.integers(1, 20),
    slots=st.integers(1, 6),
    ladder=st.sampled_from([(12,), (1, 12), (3, 6, 12), (1, 2, 3, 4)]),
    final=st.tuples(st.integers(0, 4), st.integers(1, 2)),
)
def test_with_many_slots_the_final_round_is_of_the_best_however_early_it_begins(
    data: st.DataObject, configs: int, slots: int, ladder: tuple[int, ...], final: tuple[int, int]
) -> None:
    rows: list[TrialRow] = []
    while True:
        running = [row.trial for row in rows if row.state == "running"]
        then = step(rows, configs, running, ladder=ladder, final_round=final)
        if isinstance(then, Train) and len(running) < slots:
            made = make_row()(then.configuration, then.epochs, None)
            started = {"trial": len(rows), "repeat": then.repeat, "state": "running", "why": None}
            rows.append(made.model_copy(update=started))
            continue
        if then == Finished():
            break
        ended = data.draw(st.sampled_from(running))
        score = data.draw(st.none() | st.integers(0, 9).map(float))
        done = {"score": score, "state": "completed" if score is not None else "failed", "why": "diverged"}
        rows[ended] = rows[ended].model_copy(update=done)
    first = [row for row in rows if row.epochs == ladder[-1] and not row.repeat and row.score is not None]
    best = sorted(first, key=lambda row: (-(row.score or 0), row.configuration))[: final[0]]
    expected = {(row.configuration, repeat) for row in best for repeat in range(1, final[1] + 1)}
    assert {(row.configuration, row.repeat) for row in rows if row.repeat} == expected
    assert sum(row.repeat > 0 for row in rows) == len(expected)


def test_a_slot_does_not_wait_for_the_last_trial_where_it_cannot_change_who_is_best(row: MakeRow) -> None:
    rows = [row(0, 12, 0.7), row(1, 12, 0.5), row(2, 12, 0.9, trial=1)]
    rows.append(row(3, 12, None, trial=2, state="running", why=None))
    assert step(rows, 3, (2,), ladder=(12,), final_round=(2, 1)) == Train(2, 12, repeat=1)
    rows.append(row(2, 12, None, trial=3, repeat=1, state="running", why=None))
    assert step(rows, 3, (2, 3), ladder=(12,), final_round=(2, 1)) == Wait()
    assert step(rows[:4], 3, (2,), ladder=(12,), final_round=(1, 1)) == Wait()
    assert step(rows[:4], 4, (2,), ladder=(12,), final_round=(2, 1)) == Train(4, 12)
    assert step(rows[:4], 3, (2,), ladder=(12,), final_round=(2, 1), until_converged=True) == Wait()


def make_row() -> Callable[..., TrialRow]:
    def make(configuration: int, epochs: int, score: float | None) -> TrialRow:
        return TrialRow(
            trial=configuration * 100 + epochs,
            arch="linear",
            configuration=configuration,
            epochs=epochs,
            values={},
            seed=0,
            state="completed",
            why="finished",
            score=score,
            started=0.0,
        )

    return make


def test_expected_epochs_are_those_of_studies_in_which_later_configurations_are_a_little_better() -> None:
    assert expected_epochs((12,), 5) == 12 + 5 * 12
    assert expected_epochs((1, 12), 64, (3, 1)) == 12 + 64 + 29 * 12 + 3 * 12
    rng, spent = random.Random(0), []
    for _ in range(20):
        scores = [rng.random() + number / 60 for number in range(30)]
        spent.append(sum(row.epochs for row in run_alone(scores, make_row(), (1, 9))))
    assert expected_epochs((1, 9), 30) == pytest.approx(sum(spent) / len(spent), rel=0.1)


def test_the_best_full_length_trials_are_trained_again_when_the_ladder_is_done(row: MakeRow) -> None:
    def final(rows: Sequence[TrialRow]):
        return step(rows, 3, ladder=(12,), final_round=(2, 2))

    rows = [row(0, 12, 0.7), row(1, 12, 0.5), row(2, 12, 0.9)]
    assert final(rows) == Train(3, 12)
    rows.append(row(3, 12, None))
    assert final(rows) == Train(2, 12, repeat=1)
    rows += [row(2, 12, 0.1, repeat=1, trial=1), row(2, 12, repeat=2, trial=2)]
    assert final(rows) == Train(0, 12, repeat=1)
    rows += [
        row(0, 12, None, repeat=1, trial=3),
        row(0, 12, None, repeat=2, trial=4, state="running", why=None),
    ]
    assert step(rows, 3, (4,), ladder=(12,), final_round=(2, 2)) == Wait()
    rows[-1] = row(0, 12, repeat=2, trial=4)
    assert final(rows) == Finished()
    # A search extended afterwards goes on up the ladder as if no trial had been repeated.
    assert step(rows, 4, ladder=(12,), final_round=(2, 2)) == Train(4, 12)
