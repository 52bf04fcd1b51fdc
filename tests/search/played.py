"""What Ray Tune tells a searcher, made up."""

import heapq
from collections.abc import Callable
from typing import Any

from tune_brain.records import EpochRow, Why
from tune_brain.search.searcher import RowSearcher
from tune_brain.search.worker_health import LOST_IN_A_ROW

WORKER = {"node_ip": "127.0.0.1", "pid": 1, "device": "cpu"}


def result(*epochs: int, score: float = 0.5, done: bool = False) -> dict[str, Any]:
    numbers = dict.fromkeys(set(EpochRow.model_fields) - {"trial", "arch"}, 0.5)
    rows = [{**numbers, "epoch": epoch, "val_macro_f1": score} for epoch in epochs]
    return {"rows": rows, "done": done, "why": "finished", "detail": "", **WORKER}


def failure(why: str, detail: str) -> dict[str, Any]:
    return {"rows": [], "done": True, "why": why, "detail": detail, **WORKER}


def lose(searcher: RowSearcher, name: str, why: Why = "lost", detail: str = "its worker died") -> bool:
    """As Ray and then `Workers` tell of a worker that is gone; whether it had started."""
    searcher.on_trial_complete(name, error=True)
    return searcher.lost(name, why, detail)


def lose_all(searcher: RowSearcher, why: Why = "lost") -> None:
    """As many workers in a row as say that none can live."""
    for number in range(LOST_IN_A_ROW):
        searcher.suggest(f"{number}")
        searcher.is_up(f"{number}", f"worker of {number}")
        lose(searcher, f"{number}", why)


def work(searcher: RowSearcher, limit: int = 1000) -> list[dict[str, Any]]:
    """Train everything that the searcher hands out, one at a time."""
    handed = []
    while len(handed) < limit and isinstance(config := searcher.suggest(f"ray-{len(handed)}"), dict):
        name, trial = f"ray-{len(handed)}", config["trial"]
        handed.append(config)
        score = 1 - abs(trial["hyperparameters"]["max_lr"] - 1e-3)
        for epoch in range(1, trial["epochs"]):
            searcher.on_trial_result(name, result(epoch))
        searcher.on_trial_complete(name, result=result(trial["epochs"], score=score, done=True))
    return handed


def simulated(searcher: RowSearcher, seconds: Callable[[dict[str, Any]], float]) -> list[tuple[float, float]]:
    """When each trial that the searcher hands out begins and ends, if it takes so many seconds."""
    now, spans = 0.0, list[tuple[float, float]]()
    running: list[tuple[float, str, dict[str, Any]]] = []
    while True:
        while isinstance(config := searcher.suggest(f"ray-{len(spans)}"), dict):
            ends = now + seconds(config["trial"])
            heapq.heappush(running, (ends, f"ray-{len(spans)}", config["trial"]))
            spans.append((now, ends))
        if not running:
            return spans
        now, name, trial = heapq.heappop(running)
        score = 1 - abs(trial["hyperparameters"]["max_lr"] - 1e-3)
        searcher.on_trial_complete(name, result=result(trial["epochs"], score=score, done=True))
