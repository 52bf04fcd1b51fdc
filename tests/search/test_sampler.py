from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from tune_brain.config import Sampler
from tune_brain.errors import ConfigError
from tune_brain.records import TrialRow
from tune_brain.search.sampler import StudySampler, _Tpe, write_journal
from tune_brain.search.study import Study, Trials
from tune_brain.seeds import derive
from tune_brain.space import Space

MakeRow = Callable[..., TrialRow]
VALUES = {"max_lr": 1e-3, "grad_clip": 1.0}


def suggest(
    rows: Sequence[TrialRow],
    space: Space,
    ladder: Sequence[int],
    *,
    seed: int,
    number: int,
    sampler: Sampler = "tpe",
) -> dict[str, float]:
    return StudySampler(space, ladder, seed=seed, sampler=sampler).suggest(Study(rows), number)


def told(rows: Sequence[TrialRow], space: Space) -> optuna.Study:
    return StudySampler(space, (3, 6, 12), seed=0).optuna_study(Study(rows).configurations)


@pytest.fixture
def rows(row: MakeRow) -> list[TrialRow]:
    return [
        row(0, 12, 0.80, values=VALUES),
        row(1, 3, 0.50, values=VALUES),
        row(2, 3, 0.60, values=VALUES),
        row(2, 12, 0.90, values=VALUES),
        row(3, 3, None, values=VALUES),
        row(4, 3, 0.70, values=VALUES),
        row(4, 6, None, values=VALUES, state="running", why=None),
        row(5, 3, None, values=VALUES, state="running", why=None),
    ]


def test_a_configuration_is_one_trial_with_its_scores_at_the_rungs(
    rows: list[TrialRow], space: Space
) -> None:
    trials = told(rows, space).trials
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.COMPLETE,
        TrialState.PRUNED,
        # Promoted: what it scored below stands while it trains.
        TrialState.PRUNED,
        TrialState.RUNNING,
    ]
    assert trials[3].intermediate_values == {}
    assert trials[2].value == 0.90
    assert trials[2].intermediate_values == {3: 0.60, 12: 0.90}
    assert trials[4].intermediate_values == {3: 0.70}
    assert trials[1].params == VALUES
    assert trials[2].user_attrs == {"configuration": 2, "trials": [203, 212]}


def test_equal_rows_give_equal_suggestions_inside_the_space(rows: list[TrialRow], space: Space) -> None:
    first = suggest(rows, space, (3, 6, 12), seed=7, number=5)
    assert suggest(list(rows), space, (3, 6, 12), seed=7, number=5) == first
    assert first.keys() == space.tuned.keys()
    assert all(space.tuned[name].low <= value <= space.tuned[name].high for name, value in first.items())
    assert suggest(rows, space, (3, 6, 12), seed=8, number=5) != first
    assert suggest(rows, space, (3, 6, 12), seed=7, number=6) != first


def test_a_failed_or_running_trial_does_not_count_as_a_score(rows: list[TrialRow], space: Space) -> None:
    scored = told(rows, space).get_trials(states=(TrialState.COMPLETE,))
    assert [trial.user_attrs["configuration"] for trial in scored] == [0, 2]


@pytest.mark.parametrize("asked", ["tpe", "gp"])
def test_a_sampler_stays_away_from_where_trials_fail(row: MakeRow, space: Space, asked: Sampler) -> None:
    # The higher the rate the better, up to where training diverges.
    rates = np.geomspace(space.tuned["max_lr"].low, space.tuned["max_lr"].high, 24)
    edge, rows = rates[15], []
    for number, rate in enumerate(rates, start=1):
        fails, values = rate > edge, {"max_lr": float(rate), "grad_clip": 1.0}
        # Half of those that fail do so after they were promoted.
        if not fails or number % 2:
            rows.append(row(number, 3, 0.1 + 0.03 * number, values=values))
        if fails:
            rows.append(
                row(number, 12 if number % 2 else 3, None, state="failed", why="diverged", values=values)
            )
    found = [
        suggest(rows, space, (3, 12), seed=seed, number=25, sampler=asked)["max_lr"] for seed in range(16)
    ]
    # One that does not hear of failures goes there each time; TPE's densities reach a little beyond the edge.
    assert sum(rate > edge for rate in found) <= 8
    assert sum(rate > rates[18] for rate in found) <= 2


def spread(count: int, row: MakeRow, space: Space) -> list[TrialRow]:
    """Ended trials at 3 epochs, better the higher their learning rate."""
    rates = np.geomspace(space.tuned["max_lr"].low, space.tuned["max_lr"].high, count)
    return [
        row(number, 3, number / 40, values={"max_lr": float(rate), "grad_clip": 1.0})
        for number, rate in enumerate(rates, start=1)
    ]


def test_a_promoted_configuration_that_trains_on_is_not_taken_for_a_bad_one(
    row: MakeRow, space: Space
) -> None:
    ended = spread(20, row, space)
    promoted = [
        row(number, 12, None, values=ended[number - 1].values, state="running", why=None)
        for number in (19, 20)
    ]
    for seed in range(4):
        alone = suggest(ended, space, (3, 12), seed=seed, number=21)
        assert suggest([*ended, *promoted], space, (3, 12), seed=seed, number=21) == alone
    retried = row(20, 12, None, why="memory", values=ended[19].values)
    assert suggest([*ended, retried], space, (3, 12), seed=0, number=21) == suggest(
        ended, space, (3, 12), seed=0, number=21
    )


def test_a_configuration_without_a_score_repels_the_next(row: MakeRow, space: Space) -> None:
    ended = spread(12, row, space)
    first = [suggest(ended, space, (3, 12), seed=seed, number=13) for seed in range(8)]
    second = [
        suggest(
            [*ended, row(13, 3, None, values=values, state="running", why=None)],
            space, (3, 12), seed=seed, number=13,
        )
        for seed, values in enumerate(first)
    ]  # fmt: skip
    assert sum(one != other for one, other in zip(first, second, strict=True)) > 4


@pytest.mark.slow
def test_it_beats_random_search_on_a_known_function(row: MakeRow, space: Space) -> None:
    def known(values: dict[str, float]) -> float:
        return 1 - (log10(values["max_lr"]) + 3.3) ** 2 / 10 - (log10(values["grad_clip"]) - 0.2) ** 2 / 10

    def searched(seed: int) -> float:
        rows: list[TrialRow] = []
        for number in range(1, 41):
            values = suggest(rows, space, (3, 6, 12), seed=seed, number=number)
            rows.append(row(number, 12, known(values), values=values))
        return max(row.score for row in rows)

    def at_random(seed: int) -> float:
        generator = np.random.default_rng(seed)
        draws = [
            {
                name: float(np.exp(generator.uniform(np.log(limits.low), np.log(limits.high))))
                for name, limits in space.tuned.items()
            }
            for _ in range(40)
        ]
        return max(map(known, draws))

    regret = [1 - searched(seed) for seed in range(5)]
    random_regret = [1 - at_random(derive(seed) % 2**32) for seed in range(5)]
    assert np.median(regret) < np.median(random_regret) / 2


def test_the_journal_opens_in_optuna_and_is_never_written_over(
    rows: list[TrialRow], space: Space, tmp_path: Path
) -> None:
    file, began = tmp_path / "studies.log", 1e9
    optuna.logging.set_verbosity(optuna.logging.INFO)
    rows[0] = rows[0].model_copy(update={"started": began, "seconds": 5.0})
    write_journal(file, {"linear": rows}, {"linear": space}, 12, {"linear": 2})
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    opened = optuna.load_study(study_name="linear", storage=storage)
    failed = [trial.number for trial in opened.trials if trial.state == TrialState.FAIL]
    assert failed == [3]
    assert opened.trials[0].datetime_start == datetime.fromtimestamp(began)
    assert opened.trials[0].duration == timedelta(seconds=5)
    states = [trial.state for trial in opened.trials if trial.number != 3]
    running = [TrialState.RUNNING] * 2
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE, *running]
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    with pytest.raises(ConfigError, match="new file"):
        write_journal(file, {"linear": rows}, {"linear": space}, 12, {})


@pytest.mark.parametrize(
    "sampler", ["tpe", "halton-tpe", "halton", "random", pytest.param("gp", marks=pytest.mark.slow)]
)
def test_every_sampler_is_a_pure_function_that_stays_inside_the_space(
    sampler: Sampler, space: Space, row: MakeRow
) -> None:
    ended = [row(number, 3, number / 40, values=VALUES) for number in range(1, 13)]
    again = row(12, 12, 0.9, values=VALUES, repeat=1)
    drawn = [
        suggest(rows, space, (3, 12), seed=1, number=number, sampler=sampler)
        for number, heard in ((1, 0), (13, 12))
        for rows in (ended[:heard], ended[:heard], [*ended[:heard], *([again] if heard else [])])
    ]
    assert drawn[0] == drawn[1] == drawn[2]
    assert drawn[3] == drawn[4] == drawn[5]
    assert drawn[0] != drawn[3]
    assert all(
        space.tuned[name].low <= value <= space.tuned[name].high
        for values in drawn
        for name, value in values.items()
    )


@pytest.mark.parametrize("sampler", ["tpe", "halton-tpe", "halton", "random"])
def test_a_batch_size_is_sampled_whole_from_all_of_its_range(
    sampler: Sampler, space: Space, row: MakeRow
) -> None:
    known = space.model_dump()
    known["tuned"]["batch_size"] = {"low": 16, "high": 19}
    known["baseline"]["batch_size"] = 17
    tuned, rows = Space.model_validate(known), []
    for number in range(1, 41):
        values = suggest(rows, tuned, (3, 12), seed=0, number=number, sampler=sampler)
        rows.append(row(number, 3, 0.5, values=values, trial=number))
        assert tuned.hyperparameters(rows[-1].values).batch_size == values["batch_size"]
    assert {row.values["batch_size"] for row in rows} == {16, 17, 18, 19}


def test_tpe_suggests_what_optunas_own_would(
    space: Space, row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def suggested() -> list[dict[str, float]]:
        rows, found = list[TrialRow](), []
        for number in range(1, 17):
            found.append(suggest(rows, space, (3, 12), seed=0, number=number, sampler="tpe"))
            score = 0.5 + found[-1]["max_lr"] if number % 3 else None
            rows.append(row(number, 3, score, values=found[-1], trial=number))
        return found

    ours = suggested()
    monkeypatch.delattr(_Tpe, "infer_relative_search_space")
    assert suggested() == ours


def test_gp_hears_of_a_configuration_that_is_at_a_longer_length_just_now(
    space: Space, row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []
    made = StudySampler.optuna_study

    def hear(self: StudySampler, trials: Iterable[Trials], _: BaseSampler) -> optuna.Study:
        heard.extend(trials)
        return made(self, ())

    monkeypatch.setattr(StudySampler, "optuna_study", hear)
    running = row(1, 12, None, values=VALUES, state="running", why=None)
    suggest([row(1, 3, 0.9, values=VALUES), running], space, (3, 12), seed=0, number=2, sampler="gp")
    assert [(one.configuration, one.epochs) for trials in heard for one in trials] == [(1, 3)]


@pytest.mark.slow
def test_gp_is_asked_on_one_thread_whatever_the_machine_has(
    space: Space, row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    seen = []

    class Seeing(optuna.samplers.GPSampler):
        def sample_relative(self, *given: Any) -> dict[str, Any]:
            seen.append(torch.get_num_threads())
            return super().sample_relative(*given)

    monkeypatch.setattr(optuna.samplers, "GPSampler", Seeing)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    ended = [row(number, 3, number / 40, values=VALUES) for number in range(1, 13)]
    suggest(ended, space, (3, 12), seed=1, number=13, sampler="gp")
    after = torch.get_num_threads()
    torch.set_num_threads(before)
    assert (seen, after) == ([1], 2)


def test_halton_points_do_not_depend_on_rows_and_cover_the_space_evenly(space: Space, row: MakeRow) -> None:
    ended = [row(1, 3, 0.5, values=VALUES)]
    points = [suggest((), space, (3, 12), seed=0, number=n, sampler="halton") for n in range(1, 33)]
    assert points[4] == suggest(ended, space, (3, 12), seed=0, number=5, sampler="halton")
    # In base 2, each half, quarter and eighth of the range holds its share of the first 32 points.
    places = sorted(int(8 * (log10(point["max_lr"]) + 5) / 4) for point in points)
    assert places == sorted([*range(8)] * 4)
