"""The choice of winners, with and without a final round."""

from pathlib import Path
from statistics import fmean

import pytest

from tune_brain import runs
from tune_brain.config import RunConfig
from tune_brain.data.prepare import prepare
from tune_brain.evaluate.shrinkage import shrunken_score
from tune_brain.evaluate.winners import choose, converged_scores, write_winners
from tune_brain.progress import Progress
from tune_brain.records import TrialRow
from tune_brain.space import default_folder, load


def row(configuration: int, score: float | None, repeat: int = 0, **fields: object) -> TrialRow:
    given = {"trial": 10 * configuration + repeat, "arch": "cnn", "epochs": 12, "values": {}, "seed": 0}
    state = (
        {"state": "failed", "why": "diverged"} if score is None else {"state": "completed", "why": "finished"}
    )
    return TrialRow(
        configuration=configuration, score=score, repeat=repeat, started=0.0, **{**given, **state, **fields}
    )


def test_without_a_final_round_the_best_score_wins_and_ties_go_to_the_earlier() -> None:
    rows = [row(0, 0.7), row(1, 0.9), row(2, 0.9), row(3, 0.99, epochs=6), row(4, None)]
    chosen = choose(rows, 12)
    assert chosen is not None
    assert (chosen.row.configuration, chosen.scores) == (1, (0.9,))
    assert choose(rows[3:], 12) is None


def test_after_a_final_round_the_best_mean_of_the_finalists_wins() -> None:
    rows = [row(1, 0.9), row(2, 0.88), row(3, 0.87), row(1, 0.7, 1), row(2, 0.86, 1)]
    chosen = choose(rows, 12)
    assert chosen is not None
    assert (chosen.row.configuration, chosen.scores) == (2, (0.88, 0.86))
    assert fmean(chosen.scores) < 0.88


def test_a_final_trial_that_diverged_scores_zero_and_a_lost_one_is_left_out() -> None:
    finalists = [row(1, 0.9), row(2, 0.8)]
    diverged = choose([*finalists, row(1, None, 1), row(2, 0.8, 1)], 12)
    assert diverged is not None
    assert diverged.row.configuration == 2
    lost = choose(
        [*finalists, row(1, None, 1, why="lost"), row(2, 0.8, 1), row(2, 0.7, 2), row(1, 0.9, 2)], 12
    )
    assert lost is not None
    assert (lost.row.configuration, lost.scores) == (1, (0.9, 0.9))


def test_an_interrupted_final_round_does_not_favour_the_finalist_it_began_with() -> None:
    finalists = [row(1, 0.9), row(2, 0.899), row(3, 0.898)]
    for again in (0.5, None):
        cut = choose([*finalists, row(1, again, 1)], 12)
        assert cut is not None
        assert (cut.row.configuration, cut.scores) == (2, (0.899,))
    held = choose([*finalists, row(1, 0.91, 1)], 12)
    assert held is not None
    assert (held.row.configuration, held.scores) == (1, (0.9, 0.91))
    # Two finalists with extra trials are a comparison, and a single score is not eligible beside them.
    two = choose([*finalists, row(1, 0.88, 1), row(2, 0.885, 1), row(1, 0.87, 2)], 12)
    assert two is not None
    assert (two.row.configuration, two.scores) == (2, (0.899, 0.885))


def test_a_rivals_diverged_trial_does_not_change_what_the_winner_is_expected_to_score() -> None:
    rows = [row(1, 0.9), row(2, 0.88), row(3, 0.87), row(1, 0.89, 1), row(2, 0.87, 1), row(2, None, 2)]
    assert converged_scores(rows, 12) == {1: [0.9, 0.89], 2: [0.88, 0.87], 3: [0.87]}
    found = shrunken_score(converged_scores(rows, 12), 1)
    assert found == shrunken_score(converged_scores(rows[:-1], 12), 1)
    assert found is not None
    assert found.high - found.low < 0.1


@pytest.mark.parametrize(
    ("again", "words"),
    [
        ((0.89, 0.87), "]"),
        ((0.89, 0.88, None), "], without 1 trial of the final round that diverged"),
        ((0.89, 0.88, None, None), "], without 2 trials of the final round that diverged"),
    ],
)
def test_where_the_expected_score_is_said_so_are_the_diverged_trials_that_it_leaves_out(
    again: tuple[float | None, ...],
    words: str,
    phantoms: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = RunConfig(out=tmp_path / "run", arch=("cnn",), ladder=(12,), image_size=16)
    run = runs.create(config, load(default_folder(), ["cnn"]))
    values = run.spaces["cnn"].baseline
    rows = [row(number, score, values=values) for number, score in ((1, 0.9), (2, 0.88), (3, 0.87))]
    rows += [row(1, again[0], 1), *(row(2, score, repeat) for repeat, score in enumerate(again[1:], 1))]
    write_winners(run, rows, prepare(phantoms, image_size=16, seed=0), {"cnn": "fp32"}, Progress())
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("cnn: with other seeds it is expected to score 0.8")
    assert said.endswith(words)
