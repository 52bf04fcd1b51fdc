"""What a search shows while it runs: a table of its studies, and a log line for each trial that ends."""

import time

from rich.table import Table

from tune_brain.config import RunConfig
from tune_brain.records import BASELINE, TrialRow
from tune_brain.search.convergence import convergence, wanted
from tune_brain.search.ladder import expected_epochs, is_finished
from tune_brain.search.ledger import Ledger
from tune_brain.search.study import Study
from tune_brain.text import counted, duration

_HEADINGS = ("architecture", "running", "tried", "promoted", "left", "failed", "best so far", "epochs")


def studies_table(config: RunConfig, ledger: Ledger, slots: int, *, since: float | None) -> Table:
    """Each study's running trials, its configurations by fate, its best score so far, and the time left.

    `left` counts configurations whose longest trial completed below full length; they may still be promoted.
    Only what was begun since the current driver started runs (`since`, in Unix seconds; None: there is none).
    What an earlier one had running counts as still to be done.
    `epochs` counts completed epochs, those of running and failed trials included.
    """
    left = _time_left(config, ledger, slots, since)
    table = Table(caption=f"time left about {left}", box=None, pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in ("architecture", "running") else "right")
    for arch in config.arch:
        study = ledger.study(arch)
        rows, running = study.rows, [row for row in study.running if is_running(row, since)]
        promoted = {
            row.configuration for row in rows
            if row.configuration != BASELINE and row.epochs > config.ladder[0]
        }  # fmt: skip
        table.add_row(
            arch,
            ", ".join(f"{name(row)} at {row.epochs}" for row in running) or "-",
            f"{len(study.tried)}/{wanted(rows, config)}",
            str(len(promoted)),
            str(_left(rows, config.full_length)),
            str(sum(row.state == "failed" for row in rows)),
            best_so_far(study, config.full_length),
            f"{ledger.trained[arch]}/{planned_epochs(study, config, ledger.trained[arch])}",
        )
    return table


def _left(rows: list[TrialRow], full_length: int) -> int:
    longest = {row.configuration: row for row in sorted(rows, key=lambda row: row.epochs)}
    return sum(
        row.state == "completed" and row.epochs < full_length
        for row in longest.values()
        if row.configuration != BASELINE
    )


def is_running(row: TrialRow, since: float | None) -> bool:
    """Whether a trial runs now; `since` as in `studies_table`."""
    return row.state == "running" and since is not None and row.started >= since


def trial_line(row: TrialRow, config: RunConfig, ledger: Ledger, slots: int, since: float) -> str:
    """One ended trial as a line of the log; `since` as in `studies_table`."""
    study = ledger.study(row.arch)
    outcome = f"macro-F1 {row.score:.4f}" if row.score is not None else f"failed ({row.why}: {row.detail})"
    length = counted(row.epochs, "epoch", "epochs")
    values = " ".join(f"{name}={value:.3g}" for name, value in row.values.items())
    return (
        f"{row.arch:9} trial {row.trial:<4} {name(row):>9} {length:>9}  {outcome}  "
        f"[{values}]  {duration(row.seconds)}; {len(study.tried)}/{wanted(study.rows, config)} tried, "
        f"best {best_so_far(study, config.full_length)}, {_time_left(config, ledger, slots, since)} left"
    )


def end_line(row: TrialRow, rows: list[TrialRow], shortest: int) -> str | None:
    """A log line that says why the study converged, if this trial's end made it so."""
    state = convergence(rows, shortest)
    before = convergence([other for other in rows if other.trial != row.trial], shortest)
    if not state or not state.reached or (before and before.reached):
        return None
    return f"{row.arch}: {state.reason}"


def best_so_far(study: Study, full_length: int) -> str:
    """The best score of the full-length trials, or of the longest there are, with its length."""
    if not study.best:
        return "-"
    longest = max(study.best)
    score = f"{study.best[longest]:.4f}"
    return score if longest == full_length else f"{score} at {counted(longest, 'epoch', 'epochs')}"


def name(row: TrialRow) -> str:
    """A trial's configuration for people: baseline, #7; in the final round #7 again, #7 again (2)."""
    called = "baseline" if row.configuration == BASELINE else f"#{row.configuration}"
    if not row.repeat:
        return called
    return f"{called} again" + (f" ({row.repeat})" if row.repeat > 1 else "")


def _time_left(config: RunConfig, ledger: Ledger, slots: int, since: float | None) -> str:
    """An estimate from each study's seconds per epoch and the epochs that its ladder still expects."""
    if slots < 1:
        return "?"
    total = 0.0
    for arch in config.arch:
        study = ledger.study(arch)
        if (pace := study.pace) is None:
            return "?"
        # The trials that run, and those that will be retried.
        for row in list(study.unsettled.values()):
            elapsed = time.time() - row.started if is_running(row, since) else 0.0
            total += max(0.0, row.epochs * pace - elapsed)
        total += max(0, planned_epochs(study, config, ledger.trained[arch]) - study.allotted) * pace
    return duration(total / slots)


def planned_epochs(study: Study, config: RunConfig, trained: int) -> int:
    """Epochs that a study will have trained in the end, an estimate until it is finished.

    Args:
        study: the study.
        config: of the search.
        trained: epochs that its trials have completed; all there will be, once it is finished.
    """
    if is_finished(study, config):
        return trained
    estimate = expected_epochs(config.ladder, wanted(study.rows, config), config.final_round)
    return max(estimate, study.allotted)
