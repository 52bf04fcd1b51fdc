"""Replay: the real searcher, ladder and sampler on a surrogate of the trials, under a simulated clock."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tune_brain.config import RunConfig
from tune_brain.records import EpochRow, TrialRow
from tune_brain.search.ledger import Ledger
from tune_brain.search.searcher import RowSearcher
from tune_brain.search.surrogate import Surrogate
from tune_brain.slots import Slots

START = 10.0
"""Seconds from the start of a search to its first epoch (measured, results/benchmarks/startup.json)."""
HANDOVER = 0.1
"""Seconds from the end of a trial to the first step of the next one in the same worker."""


@dataclass(frozen=True)
class Ended:
    """A trial that has ended."""

    seconds: float
    """Since the start of the search."""
    row: TrialRow


def replay(
    surrogate: Surrogate, config: RunConfig, slots: int, *, warm_start: bool = True
) -> Iterator[Ended]:
    """Search one architecture on a surrogate instead of machines; yields trials as they end.

    Args:
        surrogate: of the architecture's study.
        config: of the search, with that one architecture and a ladder of lengths that the surrogate knows.
            Its seed also decides the noise of the scores.
        slots: trials at a time.
        warm_start: whether to begin with the configurations that the space names first.
    """
    ledger, now, started = Ledger(None), START, 0
    (arch,), space = config.arch, surrogate.outcomes.space
    searcher = RowSearcher(
        config,
        {arch: space if warm_start else space.model_copy(update={"first": ()})},
        ledger,
        classes=4,
        precision={arch: "fp32"},
        slots=lambda: Slots(count=slots, gpus=0),
        on_end=lambda _: None,
        clock=lambda: now,
    )
    running: list[tuple[float, int]] = []
    while True:
        while isinstance(task := searcher.suggest(str(started)), dict):
            epochs = ledger.trials[task["number"]].epochs
            heapq.heappush(running, (now + HANDOVER + epochs * surrogate.outcomes.seconds, started))
            started += 1
        if not running:
            return
        now, ended = heapq.heappop(running)
        # Trials are dispatched in the order of their numbers, and none is lost and started again.
        row = ledger.trials[ended]
        score = surrogate.score(row.values, row.epochs, row.repeat, config.seed)
        searcher.on_trial_complete(str(ended), _result(row, score))
        yield Ended(now, ledger.trials[ended])


def _result(row: TrialRow, score: float) -> dict[str, Any]:
    last = dict.fromkeys(EpochRow.model_fields, 0.0) | {"epoch": row.epochs, "val_macro_f1": score}
    return {
        "rows": [last],
        "done": True,
        "why": "finished" if score else "diverged",
        "detail": "",
        "device": "",
        "node_ip": "",
        "pid": 0,
    }
