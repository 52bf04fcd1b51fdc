"""A search extended: what it repeats, what it loses, and what one has that was long from the start."""

from pathlib import Path
from typing import Any

import pytest
from played import work

from tune_brain.evaluate.winners import choose, full_scores
from tune_brain.records import TrialRow, trials_of


@pytest.mark.parametrize(("before", "after"), [(1, 2), (3, 6), (4, 9)])
def test_a_search_extended_repeats_nothing_and_has_what_a_long_one_has(
    make, tmp_path: Path, before: int, after: int
) -> None:
    def ran() -> list[tuple[Any, ...]]:
        rows = trials_of(tmp_path)
        return [(row.arch, row.configuration, row.epochs, *row.values.items(), row.score) for row in rows]

    work(make(concurrency=1, configs=after))
    long = ran()
    for file in tmp_path.glob("*.jsonl"):
        file.unlink()
    work(make(concurrency=1, configs=before))
    short = ran()
    work(make(concurrency=1, configs=after))
    extended = ran()
    assert extended[: len(short)] == short
    assert len(set(extended)) == len(extended)
    # The short one promoted its best when it came to its end; of two rungs, that changes nothing else.
    assert set(extended) >= set(long)
    assert {one for one in set(extended) - set(long) if one[2] == 1} == set()


@pytest.mark.parametrize("configs", [3, 12, 18])
def test_where_the_ladder_decided_alike_an_extended_search_is_the_long_one(
    make, tmp_path: Path, configs: int
) -> None:
    """One rung: nothing is promoted, so the short search takes no step that the long one would not take."""

    def ran(configs: int) -> list[dict[str, Any]]:
        work(make(concurrency=1, configs=configs, ladder=(2,)))
        return [row.model_dump(exclude={"started", "seconds"}) for row in trials_of(tmp_path)]

    long = ran(2 * configs)
    for file in tmp_path.glob("*.jsonl"):
        file.unlink()
    short = ran(configs)
    assert ran(2 * configs)[: len(short)] == short
    extended = trials_of(tmp_path)
    assert by_study(extended) == by_study([TrialRow.model_validate(row | {"started": 0.0}) for row in long])


def test_the_promotion_of_a_third_is_the_same_in_a_short_and_a_long_search(make, tmp_path: Path) -> None:
    """Nine configurations promote three, all as the best third, before the search comes to its end."""
    work(make(concurrency=1, configs=18))
    long = by_study(trials_of(tmp_path))
    for file in tmp_path.glob("*.jsonl"):
        file.unlink()
    work(make(concurrency=1, configs=9))
    work(make(concurrency=1, configs=18))
    assert by_study(trials_of(tmp_path)) == long


def test_former_finalists_keep_their_seeds_and_stand_for_choice_beside_the_new(make, tmp_path: Path) -> None:
    def ran(configs: int) -> list[TrialRow]:
        work(make(concurrency=1, configs=configs, ladder=(2,), arch=("linear",), final_round=(2, 2)))
        return trials_of(tmp_path)

    def finalists(rows: list[TrialRow]) -> set[int]:
        return {row.configuration for row in rows if row.repeat}

    long = ran(12)
    for file in tmp_path.glob("*.jsonl"):
        file.unlink()
    short = ran(4)
    extended = ran(12)
    assert extended[: len(short)] == short
    # Beside what the long search has, nothing but the final round of the short one.
    assert by_study(extended) == by_study(long) | by_study(short)
    assert finalists(extended) == finalists(long) | finalists(short) > finalists(long)
    scores = full_scores(extended, 2)
    assert {number for number, found in scores.items() if len(found) == 3} == finalists(extended)
    # One of the short search that scores more than the new ones wins.
    (former, *_) = finalists(short) - finalists(long)
    lifted = [
        row.model_copy(update={"score": 2.0}) if row.configuration == former else row for row in extended
    ]
    chosen = choose(lifted, 2)
    assert chosen
    assert chosen.row.configuration == former


def test_a_damaged_line_that_was_removed_costs_no_other_trial(make, tmp_path: Path) -> None:
    work(make(concurrency=1), limit=6)
    path = tmp_path / "trials.jsonl"
    kept = [line for line in path.read_text().splitlines(keepends=True) if '"trial":2,' not in line]
    path.write_text("".join(kept))
    before = trials_of(tmp_path)
    work(make(concurrency=1))
    after = trials_of(tmp_path)
    assert len(before) == 5
    assert after[:5] == before
    work(make(concurrency=1))
    assert trials_of(tmp_path) == after


def by_study(rows: list[TrialRow]) -> set[tuple[Any, ...]]:
    """The leaderboard: what was trained and what it scored, without the order in which studies took turns."""
    return {
        (row.arch, row.configuration, row.epochs, *row.values.items(), row.seed, row.score) for row in rows
    }
