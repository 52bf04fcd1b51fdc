"""The search over time as tables: the best so far, and what each slot did."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tune_brain.records import EpochRow, TrialRow


def ends(trials: pd.DataFrame, epochs: Sequence[EpochRow]) -> pd.DataFrame:
    """One line for each trial that ended well, by architecture and time of its end.

    The columns of the trials and: hours (from the run's first start to the trial's end), spent (epochs that
    its architecture's ended trials had trained by then, its own included, of failed ones those heard of) and
    best (full-length score so far, that of the ladder; NaN before the first).
    """
    heard = Counter(row.trial for row in epochs)
    ended = trials[trials["state"] != "running"]
    end = ended["started"] + ended["seconds"]
    ended = ended.assign(hours=(end - trials["started"].min()) / 3600).sort_values("hours", kind="stable")
    trained = ended["epochs"].where(ended["state"] == "completed", ended["trial"].map(heard))
    ended["spent"] = trained.groupby(ended["arch"], sort=False).cumsum()
    full = ended["score"].where(ended["full"] & (ended["repeat"] == 0))
    ended["best"] = full.groupby(ended["arch"], sort=False).cummax()
    ended["best"] = ended.groupby("arch", sort=False)["best"].ffill()
    order = {arch: place for place, arch in enumerate(dict.fromkeys(trials["arch"]))}
    ended = ended.sort_values("arch", key=lambda archs: archs.map(order), kind="stable")
    return ended[ended["score"].notna()]


def spent(trials: Sequence[TrialRow], epochs: Sequence[EpochRow]) -> dict[str, tuple[int, float]]:
    """By architecture: epochs trained, and seconds of worker time, running and failed trials included."""
    states = {row.trial: row.state for row in trials}
    # A trial that has ended has its seconds in its own row; one that did not end well, the epochs heard of.
    trained = [
        (row.arch, row.epochs if row.state == "completed" else 0, row.seconds)
        for row in trials
        if row.state != "running"
    ]
    trained += [
        (row.arch, 1, row.seconds if states[row.trial] == "running" else 0.0)
        for row in epochs
        if states.get(row.trial, "completed") != "completed"
    ]
    found: dict[str, tuple[int, float]] = {}
    for arch, count, seconds in trained:
        before = found.get(arch, (0, 0.0))
        found[arch] = (before[0] + count, before[1] + seconds)
    return found


def timeline(rows: Sequence[TrialRow], now: float) -> pd.DataFrame:
    """One line for each attempt at a trial, by start, in the slot that it took.

    Rows name machine and worker, not the slot: an attempt takes the first slot of its machine that was free.

    Args:
        rows: every row of the trials, in the order in which they were written.
        now: Unix time at which what runs is cut off.

    Returns:
        Columns trial, arch, node, slot (from 1, of its node), attempt, started, ended (Unix time), state
        (completed, failed, running, or `interrupted`: it was started again and never ended) and why.
    """
    attempts: list[dict[str, object]] = []
    last: dict[int, dict[str, object]] = {}
    for row in rows:
        found = last.get(row.trial)
        if found is None or found["started"] != row.started:
            if found is not None and found["state"] == "running":
                found.update(state="interrupted", ended=min(now, row.started))
            found = last[row.trial] = {}
            attempts.append(found)
        found.update(
            trial=row.trial,
            arch=row.arch,
            node=row.node or found.get("node", ""),
            attempt=row.attempt,
            started=row.started,
            ended=max(now, row.started) if row.state == "running" else row.started + row.seconds,
            state=row.state,
            why=row.why or "",
        )
    return _slots(pd.DataFrame(attempts, columns=_ATTEMPT))


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
    """One line for each slot: node, slot, trials, failed, busy (share of the run's span that it trained).

    The span is from the first start to the last end, with the pauses between interruptions and resumptions.
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
