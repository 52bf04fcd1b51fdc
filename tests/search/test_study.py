import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_brain.records import BASELINE, TrialRow, Why
from tune_brain.search.ladder import is_tried_again
from tune_brain.search.study import Study

ENDS: tuple[Why | None, ...] = (None, "finished", "diverged", "raised", "lost", "memory")


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, object]]:
    """What is heard of some trials, in turn: each starts, and perhaps ends, fails and starts again."""
    heard, trials = [], draw(st.integers(0, 8))
    for trial in range(trials):
        of = {
            "trial": trial,
            "configuration": draw(st.integers(BASELINE, 3)),
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
        study.take(row)
        latest[row.trial] = row
    rows = list(latest.values())
    assert study.rows == rows
    assert study.spent == sum(row.epochs for row in rows)
    assert study.tried == {row.configuration for row in rows} - {BASELINE}
    running = [row for row in rows if row.state == "running"]
    assert sorted(study.running, key=lambda row: row.trial) == running
    assert study.unsettled == {row.trial: row for row in rows if row in running or is_tried_again(row)}
    ended = [row for row in rows if row.score is not None]
    epochs = sum(row.epochs for row in ended)
    assert study.pace == (pytest.approx(sum(row.seconds for row in ended) / epochs) if ended else None)
    for length in (1, 12):
        scores = [row.score for row in ended if row.epochs == length and not row.repeat]
        assert study.best.get(length) == max(scores, default=None)
