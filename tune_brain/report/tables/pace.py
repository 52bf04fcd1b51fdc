"""Tables of the search over time: the best score so far, time spent, and what each slot did."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tune_brain.records import EpochRow, TrialRow
from tune_brain.report.tables.studies import ENDED


def ends(trials: pd.DataFrame, epochs: Sequence[EpochRow]) -> pd.DataFrame:
    """One line per completed trial, by architecture and time of its end.

    Columns: those of the trials and hours (from the run's first start to the trial's end), spent (epochs that
    the architecture's ended trials had trained by then, this one included; failed trials count the epochs
    that they reported) and best (best full-length score so far on the ladder; NaN before the first).

    Args:
        trials: see `studies.trials`.
        epochs: all epoch rows of the run.
    """
    reported = Counter(row.trial for row in epochs)
    ended = trials[trials["state"].isin(ENDED)]
    end = ended["started"] + ended["seconds"]
    ended = ended.assign(hours=(end - trials["started"].min()) / 3600).sort_values("hours", kind="stable")
    trained = ended["epochs"].where(ended["state"] == "completed", ended["trial"].map(reported))
    ended["spent"] = trained.groupby(ended["arch"], sort=False).cumsum()
    full = ended["score"].where(ended["full"] & (ended["repeat"] == 0))
    ended["best"] = full.groupby(ended["arch"], sort=False).cummax()
    ended["best"] = ended.groupby("arch", sort=False)["best"].ffill()
    order = {arch: place for place, arch in enumerate(dict.fromkeys(trials["arch"]))}
    ended = ended.sort_values("arch", key=lambda archs: archs.map(order), kind="stable")
    return ended[ended["score"].notna()]


def spent(trials: Sequence[TrialRow], epochs: Sequence[EpochRow]) -> dict[str, tuple[int, float]]:
    """By architecture: epochs trained and seconds of worker time, running and failed trials included.

    A trial's own row has the seconds of its last attempt only, and its epoch rows those of completed epochs,
    of which each has one however often the trial was resumed: the larger sum counts.

    Args:
        trials: the last row of each trial.
        epochs: every epoch row.
    """
    counts, seconds = Counter(row.trial for row in epochs), defaultdict[int, float](float)
    for epoch in epochs:
        seconds[epoch.trial] += epoch.seconds
    totals: dict[str, tuple[int, float]] = {}
    for row in trials:
        count, before = totals.get(row.arch, (0, 0.0))
        totals[row.arch] = (count + counts[row.trial], before + max(seconds[row.trial], row.seconds))
    return totals


def timeline(rows: Sequence[TrialRow], now: float, resumed: Sequence[float] = ()) -> pd.DataFrame:
    """One line per attempt at a trial, by start, with the slot that it occupied.

    Rows name the machine and the worker, not the slot; each attempt is assigned the first slot of its machine
    that was free. When an attempt was interrupted is not recorded: it ends at the latest time that was
    recorded before the search was resumed, or, where nothing says when that was, before an interrupted trial
    was started again. So a pause does not count as work.

    Args:
        rows: all trial rows, in the order in which they were written.
        now: Unix time at which running attempts are cut off.
        resumed: Unix times at which the search was resumed, ascending.

    Returns:
        Columns trial, arch, node, slot (from 1, within its node), attempt, started, ended (Unix time), state
        (completed, failed, running, or `interrupted`: it never ended, and the search was resumed) and why.
    """
    attempts: list[dict[str, Any]] = []
    last: dict[int, dict[str, Any]] = {}
    latest, resumes = 0.0, 0
    for row in rows:
        attempt = last.get(row.trial)
        is_next = attempt is None or not _continues(attempt, row)
        before, resumes = resumes, max(resumes, bisect_right(resumed, row.started))
        if resumes > before or (is_next and attempt and attempt["state"] == "running"):
            # Their command has ended, and with it all attempts that were running.
            for other in last.values():
                if other["state"] == "running":
                    other.update(state="interrupted", ended=max(latest, other["started"]))
        if attempt is None or is_next:
            attempt = last[row.trial] = {}
            attempts.append(attempt)
        attempt.update(
            trial=row.trial,
            arch=row.arch,
            node=row.node or attempt.get("node", ""),
            attempt=row.attempt,
            started=row.started,
            ended=max(now, row.started) if row.state == "running" else row.started + row.seconds,
            state=row.state,
            why=row.why or "",
        )
        # Not by starts: those of a resumed search may come before the one that shows the interruption.
        if row.state != "running":
            latest = max(latest, row.started + row.seconds)
    return _slots(pd.DataFrame(attempts, columns=_ATTEMPT))


def _continues(attempt: Mapping[str, Any], row: TrialRow) -> bool:
    """Whether a row belongs to the trial's latest attempt: `started` changes once, when its worker begins."""
    waited = not attempt["node"]
    return attempt["started"] == row.started or (waited and (bool(row.node) or row.state != "running"))


_ATTEMPT = ["trial", "arch", "node", "slot", "attempt", "started", "ended", "state", "why"]


def _slots(attempts: pd.DataFrame) -> pd.DataFrame:
    attempts = attempts.sort_values("started", kind="stable", ignore_index=True)
    free: dict[str, list[float]] = {}
    slots = []
    for line in attempts.to_dict("records"):
        until = free.setdefault(str(line["node"]), [])
        slot = next((place for place, end in enumerate(until) if end <= line["started"]), len(until))
        until[slot : slot + 1] = [line["ended"]]
        slots.append(slot + 1)
    return attempts.assign(slot=slots)


def busy(timeline: pd.DataFrame) -> pd.DataFrame:
    """One line per slot: node, slot, trials (attempts), failed, busy (share of the span spent on trials).

    The span is from the run's first start to its last end, pauses before a `resume` included.
    """
    if timeline.empty:
        return pd.DataFrame(columns=["node", "slot", "trials", "failed", "busy"])
    span = max(timeline["ended"].max() - timeline["started"].min(), 1e-9)
    table = timeline.assign(
        seconds=timeline["ended"] - timeline["started"], bad=timeline["state"] == "failed"
    )
    grouped = table.groupby(["node", "slot"], as_index=False).agg(
        trials=("trial", "size"), failed=("bad", "sum"), busy=("seconds", "sum")
    )
    return grouped.assign(busy=np.minimum(grouped["busy"] / span, 1.0))
