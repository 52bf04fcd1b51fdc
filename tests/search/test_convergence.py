"""When a study has converged, on constructed scores."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import result
from pydantic import ValidationError

from tune_brain.config import RunConfig
from tune_brain.records import TrialRow, append, trials_of
from tune_brain.report.page import write_page
from tune_brain.runs import create
from tune_brain.search.convergence import FEWEST, SEEDS, convergence, expected_best
from tune_brain.search.display import end_line
from tune_brain.search.ladder import Finished, Train, next_step
from tune_brain.search.study import Study
from tune_brain.space import Space
from tune_brain.stages.status import status

MakeRow = Callable[..., TrialRow]
LADDER = (1, 2, 4)
NOISE = (0.49, 0.5, 0.51, 0.5, 0.5)
FLAT = [0.5 + 0.01 * float(one) for one in np.random.default_rng(0).normal(size=64)]
RISING = [0.5 + 0.01 * number for number in range(64)]


def config(configs: int, **options: Any) -> RunConfig:
    given = {"ladder": LADDER, "configs": configs, "final_round": (2, 1), "until_converged": True, **options}
    return RunConfig.model_construct(**given)


def study(row: MakeRow, scores: Sequence[float], noise: Sequence[float] = NOISE) -> list[TrialRow]:
    """The shortest rung: configurations in the order of their scores here, and seeds of the baseline."""
    rows = [row(number, 1, score) for number, score in enumerate(scores, 1)]
    return rows + [row(0, 1, score, repeat=n, trial=9000 + n) for n, score in enumerate(noise, 1)]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.data())
def test_the_expected_best_is_the_mean_over_all_choices(scores: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(scores)))
    bests = [max(chosen) for chosen in itertools.combinations(scores, count)]
    assert expected_best(scores, count) == pytest.approx(fmean(bests))


def test_flat_scores_have_converged_and_rising_ones_have_not(row: MakeRow) -> None:
    flat, rising = (convergence(study(row, scores), 1) for scores in (FLAT, RISING))
    assert flat is not None
    assert rising is not None
    assert flat.noise == stdev(NOISE)
    assert (flat.reached, rising.reached) == (True, False)
    assert rising.gain == pytest.approx(0.32)
    assert flat.reason.startswith("converged: 64 more configurations are expected to gain 0.")
    assert rising.reason.startswith("not converged: ")


def test_a_lucky_early_find_does_not_end_a_study_whose_scores_differ(row: MakeRow) -> None:
    spread = [0.9, *(0.5 + 0.01 * number for number in range(30))]
    found = convergence(study(row, spread), 1)
    assert found is not None
    # Half of all choices of half of them miss the .9, for .79 at the most.
    assert found.gain > (0.9 - 0.79) / 2
    assert not found.reached


def test_a_late_find_keeps_a_study_going(row: MakeRow) -> None:
    """In any order but this one, the best would have been known early."""
    late = convergence(study(row, [*[0.5] * 15, *[0.6] * 15]), 1)
    early = convergence(study(row, [*[0.6] * 15, *[0.5] * 15]), 1)
    assert late is not None
    assert early is not None
    assert (late.reached, early.reached) == (False, True)


@pytest.mark.parametrize(("configurations", "seeds"), [(FEWEST - 1, SEEDS), (64, SEEDS - 1), (64, 0)])
def test_too_few_tell_nothing(row: MakeRow, configurations: int, seeds: int) -> None:
    assert convergence(study(row, FLAT[:configurations], NOISE[:seeds]), 1) is None


def test_a_study_has_not_converged_while_a_trial_will_be_retried(row: MakeRow) -> None:
    rows = study(row, [0.5] * (FEWEST - 1))
    lost = row(FEWEST, 1, None, why="lost", detail="its worker died")
    assert end_line(lost, [*rows, lost], 1) is None
    diverged = row(FEWEST, 1, None)
    assert "converged" in str(end_line(diverged, [*rows, diverged], 1))


def test_failed_configurations_are_the_worst_and_failed_seeds_tell_no_noise(row: MakeRow) -> None:
    failed = [row(number, 1, None) for number in range(1, 31)]
    found = convergence(study(row, [])[:0] + failed + study(row, [], NOISE), 1)
    assert found is not None
    assert (found.gain, found.reached) == (0.0, True)
    seeds = [row(0, 1, None, repeat=n, trial=n) for n in range(1, SEEDS + 1)]
    assert convergence([*study(row, FLAT, []), *seeds], 1) is None


def climb(row: MakeRow, scores: Sequence[float], configs: int, rows: Sequence[TrialRow] = ()):
    """A whole study on one slot, where a configuration scores the same at each rung; and how it ended."""
    rows = list(rows)
    while isinstance(step := next_step(Study(rows), config(configs)), Train):
        score = NOISE[step.repeat - 1] if step.configuration == 0 else scores[step.configuration - 1]
        rows.append(row(step.configuration, step.epochs, score, repeat=step.repeat, trial=len(rows)))
    return rows, step


def sampled(rows: Sequence[TrialRow]) -> int:
    return max(row.configuration for row in rows)


def test_a_flat_study_ends_with_promotions_and_final_round_and_a_rising_one_samples_all(row: MakeRow) -> None:
    rows, end = climb(row, FLAT, 60)
    assert (sampled(rows), end) == (FEWEST, Finished())
    seeds = [one for one in rows if one.configuration == 0 and one.epochs == 1]
    assert [one.repeat for one in seeds] == [1, 2, 3, 4, 5]
    assert len({one.configuration for one in rows if one.epochs == 4}) >= 2
    # The baseline's short seeds are no part of its final round.
    assert sum(one.repeat > 0 and one.epochs == 4 for one in rows) == 2
    assert sampled(climb(row, RISING, 60)[0]) == 60


def test_a_baseline_whose_noise_was_measured_has_its_final_round_too(row: MakeRow) -> None:
    rows = [*study(row, FLAT[:24]), row(0, 4, 0.9, trial=1), row(1, 2, trial=2), row(1, 4, 0.6, trial=3)]
    rows += [row(number, 2, trial=500 + number) for number in range(2, 25)]
    rows += [row(number, 4, trial=600 + number) for number in range(2, 25)]
    assert next_step(Study(rows), config(24, final_round=(1, 1))) == Train(0, 4, 1)


def test_a_study_that_asks_for_few_trains_no_seed_of_its_baseline(row: MakeRow) -> None:
    rows, _ = climb(row, FLAT, FEWEST)
    assert [one.epochs for one in rows if one.configuration == 0 and one.epochs == 1] == []


def test_a_converged_study_stays_so_when_more_is_asked(row: MakeRow) -> None:
    rows, _ = climb(row, FLAT, 30)
    assert climb(row, FLAT, 60, rows)[0] == rows
    assert isinstance(next_step(Study(rows), config(60, until_converged=False)), Train)


def work(searcher, stop: int = 1000) -> None:
    """One trial at a time: linear scores by its place between seeds, cnn ever more."""
    for count in range(stop):
        if not isinstance(config := searcher.suggest(f"ray-{count}"), dict):
            return
        trial, number = config["trial"], config["number"]
        flat = 0.5 + number % 7 / 1000
        score = flat if trial["arch"] == "linear" else 0.3 + number / 1000
        searcher.on_trial_complete(
            f"ray-{count}", result=result(*range(1, trial["epochs"] + 1), score=score, done=True)
        )


@pytest.mark.parametrize("stop", [30, 47, 60])
def test_the_slots_go_to_the_other_study_and_an_interrupted_search_ends_alike(
    make, tmp_path: Path, stop: int
) -> None:
    def ran() -> list[tuple[object, ...]]:
        return [(row.arch, row.configuration, row.epochs, row.repeat) for row in trials_of(tmp_path)]

    def searcher():
        return make(concurrency=1, configs=26, ladder=(1, 2), sampler="random", until_converged=True)

    work(searcher(), stop)
    work(searcher())
    interrupted = ran()
    for file in tmp_path.glob("*.jsonl"):
        file.unlink()
    work(searcher())
    assert interrupted == ran()
    count = {arch: max(row[1] for row in ran() if row[0] == arch) for arch in ("linear", "cnn")}
    assert count == {"linear": FEWEST, "cnn": 26}


def test_a_ladder_of_one_length_cannot_tell() -> None:
    with pytest.raises(ValidationError, match="two lengths"):
        RunConfig(out=Path(), ladder=(3,), until_converged=True)


def test_the_log_says_once_why_a_study_has_ended(row: MakeRow) -> None:
    rows = study(row, FLAT[:22])
    lines = [end_line(rows[-1], rows[:count], 1) for count in (19, 24, 26)]
    assert lines == [None, None, None]
    assert str(end_line(rows[-1], rows, 1)).startswith("linear: converged: 22 more configurations are")
    # What ends after that does not say it again.
    assert end_line(rows[0], rows, 1) is None
    assert end_line(rows[-1], study(row, RISING), 1) is None


@pytest.mark.slow
def test_status_and_page_say_why_a_study_has_ended(
    row: MakeRow, space: Space, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"out": tmp_path / "run", "arch": ("linear",), "ladder": LADDER, "until_converged": True}
    run = create(RunConfig.model_validate(asked), {"linear": space})
    for one in study(row, FLAT[:22]):
        append(run.folder / "trials.jsonl", one.model_copy(update={"values": space.baseline}))
    status(run.folder)
    why = "onverged: 22 more configurations are expected to gain"
    told = capsys.readouterr().out
    assert f"linear: c{why}" in told
    assert "22/22" in told
    assert f"C{why}" in write_page(run.folder).read_text()
