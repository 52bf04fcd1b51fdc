from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_brain.records import BASELINE, TrialRow, Why
from tune_brain.search import study as module
from tune_brain.search.study import BEST_SHOWN, SAMPLER_LIMIT, Study, Trials, is_tried_again

MakeRow = Callable[..., TrialRow]

ENDS: tuple[Why | None, ...] = (None, "finished", "diverged", "raised", "lost", "memory")


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, object]]:
    """What is heard of some trials, in turn: each starts, and perhaps ends, fails and starts again."""
    heard, trials = [], draw(st.integers(0, 10))
    for trial in range(trials):
        of = {
            "trial": trial,
            "configuration": draw(st.integers(BASELINE, 4)),
            "epochs": draw(st.sampled_from((1, 12))),
            "repeat": draw(st.integers(0, 1)),
        }
        for attempt, why in enumerate(draw(st.lists(st.sampled_from(ENDS), min_size=1, max_size=3)), start=1):
            heard.append({**of, "attempt": attempt, "state": "running", "score": None, "why": None})
            if why is None:
                break
            score = draw(st.floats(0, 1)) if why == "finished" else None
            state = "failed" if score is None else "completed"
            seconds = draw(st.integers(1, 9))
            heard.append({**heard[-1], "state": state, "score": score, "why": why, "seconds": seconds})
            if why == "finished":
                break
    return heard


@given(histories())
def test_what_is_counted_as_rows_come_is_what_all_of_them_say(heard: list[dict[str, object]]) -> None:
    study, latest = Study(), dict[int, TrialRow]()
    for fields in heard:
        row = TrialRow.model_validate({"arch": "cnn", "values": {}, "seed": 0, "started": 0.0, **fields})
        study.update(row)
        latest[row.trial] = row
    rows = list(latest.values())
    assert study.rows == rows
    assert study.allotted == sum(row.epochs for row in rows)
    assert study.tried == {row.configuration for row in rows} - {BASELINE}
    running = [row for row in rows if row.state == "running"]
    assert sorted(study.running, key=lambda row: row.trial) == running
    assert study.unsettled == {row.trial: row for row in rows if row in running or is_tried_again(row)}
    ended = [row for row in rows if row.score is not None]
    epochs = sum(row.epochs for row in ended)
    completed = {row.trial for row in ended}
    seconds = sum(
        fields["seconds"] for fields in heard if fields["trial"] in completed and "seconds" in fields
    )
    assert study.pace == (pytest.approx(seconds / epochs) if ended else None)
    for length in (1, 12):
        scores = [row.score for row in ended if row.epochs == length and not row.repeat]
        assert study.best.get(length) == max(scores, default=None)
        first = [row for row in rows if row.epochs == length and not row.repeat]
        assert study.started[length] == {row.configuration for row in first}
        ranked = [row for row in first if row.state != "running" and row.configuration != BASELINE]
        ranked.sort(key=lambda row: (row.state == "failed", -(row.score or 0), row.configuration))
        assert scored(study.ranking(length)) == scored(ranked)
    for configuration in range(5):
        own = [row for row in rows if row.configuration == configuration and not row.repeat]
        assert study.of(configuration) == tuple(own)
    assert Study(rows).for_sampler() == study.for_sampler()


def scored(rows: list[TrialRow]) -> list[tuple[int, float | None]]:
    """Configuration and score of each row."""
    return [(row.configuration, row.score) for row in rows]


@settings(max_examples=200)
@given(histories(), st.integers(1, 2), st.integers(1, 2))
def test_what_a_sampler_hears_is_chosen_from_all_rows(
    heard: list[dict[str, object]], best: int, others: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BEST_SHOWN", best)
        patch.setattr(module, "SAMPLER_LIMIT", best + others)
        study, rows = Study(), dict[int, TrialRow]()
        for fields in heard:
            row = TrialRow.model_validate({"arch": "cnn", "values": {}, "seed": 0, "started": 0.0, **fields})
            study.update(row)
            rows[row.trial] = row
        assert study.for_sampler() == from_all(list(rows.values()), best, others)


def from_all(rows: list[TrialRow], best: int, room: int) -> list[Trials]:
    """The same, by looking through all rows."""
    last = {row.configuration: row for row in rows if not row.repeat}
    kept = set(last)
    if len(last) > best + room:
        ended = [row for row in last.values() if row.state != "running"]
        ranked = sorted(
            ended, key=lambda row: (row.state == "failed", -row.epochs, -(row.score or 0), row.configuration)
        )
        others = ranked[best:]
        if len(others) > room:
            others = [others[place * len(others) // room] for place in range(room)]
        kept = {row.configuration for row in ranked[:best] + others}
        kept |= {row.configuration for row in rows if row.state == "running"} & set(last)
    first = [row for row in rows if not row.repeat]
    return [tuple(row for row in first if row.configuration == number) for number in sorted(kept)]


def test_of_many_configurations_a_sampler_hears_the_best_and_an_even_pick(row: MakeRow) -> None:
    many = [row(number, 3, number / 1000) for number in range(1, 601)]
    many += [row(number, 12, 0.1) for number in (5, 6)]
    many.append(row(601, 3, state="running", score=None, why=None))
    # Further seeds say nothing of where their configurations stand.
    many.append(row(600, 12, None, repeat=1, trial=99_999))
    heard = Study(many).for_sampler()
    kept = {trials[0].configuration for trials in heard}
    assert len(kept) == SAMPLER_LIMIT + 1
    # Those at full length rank first, whatever they scored; a running one repels the next.
    assert kept >= {5, 6, 601} | set(range(603 - BEST_SHOWN, 601))
    others = sorted(kept - {5, 6, 601} - set(range(603 - BEST_SHOWN, 601)))
    assert max(later - former for former, later in pairwise(others)) <= 6
    assert [[one.epochs for one in trials] for trials in heard if trials[0].configuration == 5] == [[3, 12]]
    assert Study(many[:SAMPLER_LIMIT]).for_sampler() == [(one,) for one in many[:SAMPLER_LIMIT]]
