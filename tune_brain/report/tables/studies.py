"""Tables of a search's rows: its trials, their epochs, its studies."""

from collections.abc import Sequence
from statistics import fmean

import pandas as pd

from tune_brain.config import RunConfig
from tune_brain.evaluate.winners import choose, full_scores
from tune_brain.records import BASELINE, EpochRow, TrialRow

ENDED = ("completed", "failed")
"""States of trials that have ended; the others are `running`, or `interrupted` if no command trains them."""


def trials(rows: Sequence[TrialRow], config: RunConfig) -> pd.DataFrame:
    """One line per trial, by architecture in the run's order, then by number.

    Columns: those of `TrialRow`; the flags `full` (trained at full length), `baseline` (of the untuned
    configuration) and `winner` (the full-length trial of the configuration that currently wins its
    architecture); and for full-length trials `mean`, the mean of the configuration's scores at that length,
    by which winners are chosen.
    """
    studies = {arch: [row for row in rows if row.arch == arch] for arch in config.arch}
    choices = [choose(study, config.full_length) for study in studies.values()]
    winners = {choice.row.trial for choice in choices if choice}
    means = {
        (arch, configuration): fmean(scores)
        for arch, study in studies.items()
        for configuration, scores in full_scores(study, config.full_length).items()
    }
    lines = [
        {
            **row.model_dump(),
            "cycle": row.cycle or row.epochs,
            "why": row.why or "",
            "full": row.epochs == config.full_length,
            "baseline": row.configuration == BASELINE,
            "winner": row.trial in winners,
            "mean": means.get((row.arch, row.configuration)) if row.epochs == config.full_length else None,
        }
        for study in studies.values()
        for row in study
    ]
    flags = ["full", "baseline", "winner"]
    # Given explicitly, because an empty table would have no types.
    numbers = dict.fromkeys(("score", "started", "seconds", "mean"), float)
    whole = dict.fromkeys(("trial", "configuration", "epochs", "cycle", "repeat", "attempt"), int)
    return pd.DataFrame(lines, columns=[*TrialRow.model_fields, *flags, "mean"]).astype(
        {**numbers, **whole, **dict.fromkeys(flags, bool)}
    )


def parameters(trials: pd.DataFrame) -> list[str]:
    """Names of the hyperparameters tuned in these trials, in the order of their space."""
    return list(dict.fromkeys(name for values in trials["values"] for name in values))


def curves(rows: Sequence[EpochRow], trials: pd.DataFrame) -> pd.DataFrame:
    """One line per epoch of each trial, with the trial's rung (`epochs`) and flags."""
    table = pd.DataFrame([row.model_dump() for row in rows], columns=list(EpochRow.model_fields))
    flags = trials[["trial", "epochs", "baseline", "winner"]]
    return table.merge(flags, on="trial").sort_values(["trial", "epoch"], ignore_index=True)


def studies(trials: pd.DataFrame, config: RunConfig) -> pd.DataFrame:
    """One line per architecture: counts of its search, mean full-length scores of its winner and baseline.

    Columns arch, configurations (sampled), trials (number by rung), running, interrupted, failed, best and
    baseline.
    """
    lines = []
    for arch in config.arch:
        study = trials[trials["arch"] == arch]
        full = study[study["full"]]
        lines.append(
            {
                "arch": arch,
                "configurations": study.loc[~study["baseline"], "configuration"].nunique(),
                "trials": [int((study["epochs"] == rung).sum()) for rung in config.ladder],
                **{
                    state: int((study["state"] == state).sum())
                    for state in ("running", "interrupted", "failed")
                },
                "best": full.loc[full["winner"], "mean"].max(),
                "baseline": full.loc[full["baseline"], "mean"].max(),
            }
        )
    return pd.DataFrame(lines)
