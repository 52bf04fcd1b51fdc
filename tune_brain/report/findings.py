"""The main finding of each view, as its heading, and the suggested next step. Plain text."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tune_brain.report.formatting import classifier, epochs, number, share
from tune_brain.report.run_view import RunView
from tune_brain.report.tables import pace
from tune_brain.report.tables.compare import ENSEMBLE
from tune_brain.report.tables.ladder import agreement
from tune_brain.report.tables.parameters import edges
from tune_brain.search.display import planned_epochs
from tune_brain.search.state import is_frozen, next_command, widening
from tune_brain.search.study import Study
from tune_brain.text import counted, duration, listed

NOTHING_YET = "No full-length trial has completed yet"


def overview(shown: RunView) -> str:
    """Which architecture leads, and by how much over its untuned baseline or the nearest neighbour.

    Until the test is opened, it says instead that nothing was learnt, if that is so.
    """
    if shown.trials.empty:
        return "No trial has started yet"
    if not shown.scores.empty:
        return _tested(shown)
    if shown.leader is None:
        return NOTHING_YET
    study = next(line for line in shown.studies.to_dict("records") if line["arch"] == shown.leader)
    best, gap = study["best"], study["best"] - study["baseline"]
    untuned = shown.of(shown.leader).query("winner and baseline")
    if shown.leader in shown.contents.untaught:
        return (
            f"{shown.leader} has learnt nothing: its macro-F1 on validation, {number(best)}, is no better "
            "than that of predicting one class for every image"
        )
    against = ""
    if len(untuned):
        against = ", untuned"
    elif np.isfinite(gap):
        points = round(abs(gap) * 100, 1)
        side = "above" if gap > 0 else "below"
        against = (
            f", {points} points {side} its untuned baseline"
            if points
            else ", level with its untuned baseline"
        )
    return f"{shown.leader} leads with macro-F1 {number(best)} on validation{against}"


def next_step(shown: RunView) -> str:
    """The suggested next step for the run."""
    contents, config, state = shown.contents, shown.config, shown.state
    if state == "evaluating":
        return f"Wait: the search has ended; {shown.evaluating}."
    if state == "searching":
        trained = {arch: shown.spent.get(arch, (0, 0.0))[0] for arch in config.arch}
        studies = {arch: Study(row for row in contents.trials if row.arch == arch) for arch in config.arch}
        planned = sum(planned_epochs(studies[arch], config, trained[arch]) for arch in config.arch)
        done = sum(trained.values())
        portion = f" ({share(done / planned)})" if planned else ""
        return f"Wait: the run is in progress, {done:,} of about {planned:,} epochs are trained{portion}."
    narrow = next(_at_edges(shown), None)
    if narrow and state == "evaluated":
        return f"A new search with wider ranges may find a better configuration: {narrow}"
    if narrow and state == "searched" and not contents.untaught and not is_frozen(config):
        return f"Search a wider range ({widening(config, contents.trials)}): {narrow}"
    return next_command(config, contents.trials, state, contents.validation)


def progress(shown: RunView) -> str:
    """When the search of the leading architecture found its current winner.

    As a share of the search only once that has ended: until then nobody knows how long it will take.
    """
    leader = shown.leader
    if leader is None:
        return NOTHING_YET
    ends = shown.ends[shown.ends["arch"] == leader]
    winner = ends[ends["winner"]].iloc[0]
    when = duration(winner["hours"] * 3600)
    # Winners are written when a search has ended, and are missing while an interrupted one can be resumed.
    if shown.contents.winners and not shown.searching:
        when = f"{share(winner['hours'] / max(shown.ends['hours'].max(), 1e-9))} of the search"
    return f"{leader} found its current winner after {when}, with a score of {number(winner['score'])}"


def ladder(shown: RunView) -> str:
    """How many of the sampled configurations completed a trial at full length."""
    rungs = shown.config.ladder
    sampled = shown.trials[~shown.trials["baseline"]]
    if sampled.empty:
        return "No configuration has been sampled yet"
    completed = sampled[(sampled["epochs"] == rungs[-1]) & (sampled["state"] == "completed")]
    count = len(sampled[["arch", "configuration"]].drop_duplicates())
    top = len(completed[["arch", "configuration"]].drop_duplicates())
    of = counted(count, "sampled configuration", "sampled configurations")
    return f"{top:,} of {of} completed {epochs(rungs[-1])}"


def agreements(shown: RunView) -> Iterator[str]:
    """Rank correlation of scores at each shorter length with those at full length, by architecture."""
    rungs = shown.config.ladder
    for arch in shown.config.arch:
        for short in rungs[:-1]:
            correlation, n = agreement(shown.of(arch), short, rungs[-1])
            if np.isfinite(correlation):
                yield (
                    f"{arch}: scores after {epochs(short)} and after {rungs[-1]} have a rank correlation of "
                    f"{correlation:+.2f} (over the {n} configurations that were promoted that far)"
                )


def parameters(shown: RunView) -> str:
    """Whether the best value of a hyperparameter lies at an edge of its range."""
    if shown.leader is None:
        return NOTHING_YET
    narrow = list(_at_edges(shown))
    if narrow:
        return narrow[0].removesuffix(".")
    untuned = [
        str(arch) for arch in shown.trials.loc[shown.trials["winner"] & shown.trials["baseline"], "arch"]
    ]
    inside = "No best value lies at an edge of its range"
    return f"{inside}; no configuration beat the untuned {listed(untuned, 'and')}" if untuned else inside


def warnings(shown: RunView, arch: str) -> list[str]:
    """One sentence per value of an architecture's winner that lies at an edge of its range."""
    return [
        f"{arch}: the best {name} lies at the {end} edge of its range; a wider range may hold a better one."
        for name, end in edges(shown.of(arch), shown.contents.spaces[arch])
    ]


def _at_edges(shown: RunView) -> Iterator[str]:
    for arch in shown.config.arch:
        yield from warnings(shown, arch)


def steps(shown: RunView) -> str:
    """How many steps of the leading architecture's best trial were clipped."""
    if shown.leader is None:
        return "No epoch has ended yet" if shown.curves.empty else "Each trial, epoch by epoch"
    best = shown.curves[shown.curves["winner"] & (shown.curves["arch"] == shown.leader)]
    if best.empty:
        return "Each trial, epoch by epoch"
    clipped = best["clipped_share"].mean()
    return f"The best trial of {shown.leader} had {share(clipped)} of its steps clipped"


def machines(shown: RunView) -> str:
    """How many slots there were, how busy they were, and how many attempts failed."""
    busy = pace.busy(shown.timeline)
    if busy.empty:
        return "No trial has started yet"
    failures = int(busy["failed"].sum())
    failed = f"{counted(failures, 'attempt', 'attempts')} failed" if failures else "no attempt failed"
    # Attempts that no worker has begun yet have no machine.
    busy = busy[busy["node"] != ""]
    if busy.empty:
        return f"No worker has begun a trial yet, {failed}"
    slots = (
        f"{counted(len(busy), 'slot', 'slots')} on {counted(busy['node'].nunique(), 'machine', 'machines')}"
    )
    return f"{slots}: busy {share(busy['busy'].mean())} of the time, {failed}"


def _tested(shown: RunView) -> str:
    """The best winner on the unseen test, or else the official one, next to the nearest neighbour."""
    table = shown.scores[(shown.scores["metric"] == "f1") & shown.scores["mean"].notna()]
    winners = table[table["role"] == "winner"]
    if winners.empty:
        return "No winner could be scored"
    part = "unseen" if (winners["part"] == "unseen").any() else "official"
    best = winners[winners["part"] == part].sort_values("mean").iloc[-1]
    leads = f"{best['classifier']} is the best winner on"
    if best["classifier"] == ENSEMBLE:
        leads = "The ensemble scores above every winner on"
    text = f"{leads} the {part} test, macro-F1 {number(best['mean'])}"
    floor = table[(table["classifier"] == "nearest_neighbour") & (table["part"] == part)]
    if floor.empty:
        return text
    return f"{text}; a {classifier('nearest_neighbour', 'reference')} reaches {number(floor['mean'].iloc[0])}"


def winners(shown: RunView) -> str:
    """The gain of each winner over its untuned baseline on the test, from the smallest to the largest."""
    if shown.worth.empty:
        return "No test scores yet"
    part = "unseen" if shown.worth["gain_unseen"].notna().any() else "official"
    gains = shown.worth[shown.worth[f"gain_{part}"].notna()].sort_values(f"gain_{part}")
    if gains.empty:
        return "No winner can be compared with an untuned baseline: the baselines won or diverged"
    by_arch = ", ".join(
        f"{line['arch']} {line[f'gain_{part}'] * 100:+.1f}" for line in gains.to_dict("records")
    )
    return f"Tuned minus untuned on the {part} test, in points of macro-F1: {by_arch}"


def compare(results: pd.DataFrame, *, same_cut: bool | None, same_test: bool | None) -> str:
    """Which run has the best winner or ensemble, if the runs are known to share their images.

    They are ranked on the unseen test if all of them have opened it, otherwise on validation.

    Args:
        results: see `tables.compare.results`.
        same_cut: whether all parts consist of the same images in every run; None if that is not recorded.
        same_test: whether the test and its unseen part do.
    """
    tested = results["unseen"].notna().groupby(results["run"]).any()
    column, where = ("unseen", "the unseen test") if tested.all() else ("best", "validation")
    same = same_test if tested.all() else same_cut
    if not same:
        differ = False in (same, same_cut)
        return f"Runs on {'different images' if differ else 'images that may differ'}, side by side"
    scored = results[results[column].notna()]
    if scored.empty:
        return "No run has a full-length trial yet"
    best = scored.sort_values(column).iloc[-1]
    name = "the ensemble" if best["arch"] == ENSEMBLE else best["arch"]
    return f"{best['run']} has the highest score on {where}: {name}, {number(best[column])}"


def configurations(shown: RunView) -> str:
    """How many trials and configurations there are."""
    trials = shown.trials
    if trials.empty:
        return "No trial has started yet"
    count = len(trials[["arch", "configuration"]].drop_duplicates())
    configurations = counted(count, "configuration", "configurations")
    return f"{counted(len(trials), 'trial', 'trials')} of {configurations}"
