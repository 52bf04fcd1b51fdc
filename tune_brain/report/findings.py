"""What each view has found, in a sentence that stands over it, and what to do next. Plain text."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tune_brain.report.formatting import classifier, epochs, number, share
from tune_brain.report.run_view import RunView
from tune_brain.report.tables import pace
from tune_brain.report.tables.ladder import agreement
from tune_brain.report.tables.parameters import edges
from tune_brain.search.convergence import wanted
from tune_brain.search.ladder import came_to_nothing, expected_epochs
from tune_brain.text import quoted

NOTHING_YET = "No full-length trial has ended well yet"


def overview(shown: RunView) -> str:
    """Who leads, by how much over what needs no search."""
    if shown.trials.empty:
        return "No trial has started yet"
    if not shown.scores.empty:
        return _tested(shown)
    if shown.leader is None:
        return NOTHING_YET
    study = next(line for line in shown.studies.to_dict("records") if line["arch"] == shown.leader)
    best, gap = study["best"], study["best"] - study["baseline"]
    against = ""
    if np.isfinite(gap):
        against = f", {gap * 100:.1f} points above its untuned baseline" if gap > 0 else ", untuned"
    return f"{shown.leader} leads with macro-F1 {number(best)} on validation{against}"


def next_step(shown: RunView) -> str:
    """What to do next with the run."""
    contents, config = shown.contents, shown.config
    folder = contents.folder
    asked = [wanted([row for row in contents.trials if row.arch == arch], config) for arch in config.arch]
    expected = sum(expected_epochs(config.ladder, configs, config.final_round) for configs in asked)
    trained = sum(epochs for epochs, _ in shown.spent.values())
    if contents.running:
        of_all = share(min(trained / expected, 1))
        done = f"{trained:,} of about {expected:,} epochs are trained ({of_all})"
        return f"It runs; {done}. Nothing is to be done."
    if contents.scores:
        if narrow := list(_at_edges(shown)):
            return f"A new search with wider ranges may find better: {narrow[0]}"
        return f"Take the winners along: tune-brain export {quoted(folder)} --to DIR"
    if nothing := came_to_nothing(contents.trials, config):
        return nothing
    if not contents.winners:
        return f"It was interrupted, or has yet to start. Go on with: tune-brain resume {quoted(folder)}"
    # Once winners are trained again, the search goes on no more.
    open_ = not any((folder / name).exists() for name in ("seed_runs.jsonl", "sealed.json"))
    if open_ and (narrow := list(_at_edges(shown))):
        return f"Widen what ends too early (tune-brain extend {quoted(folder)} --spaces DIR): {narrow[0]}"
    return f"Score the winners on the sealed test, once: tune-brain evaluate {quoted(folder)}"


def progress(shown: RunView) -> str:
    """When the leader met the configuration that wins it."""
    leader = shown.leader
    if leader is None:
        return NOTHING_YET
    ends = shown.ends[shown.ends["arch"] == leader]
    winner = ends[ends["winner"]].iloc[0]
    part = share(winner["hours"] / max(shown.ends["hours"].max(), 1e-9))
    return (
        f"{leader} met its winner so far, which scored {number(winner['score'])}, after {part} of the search"
    )


def ladder(shown: RunView) -> str:
    """How many climbed, and whether the short trials told what the long ones said."""
    rungs = shown.config.ladder
    sampled = shown.trials[~shown.trials["baseline"]]
    if sampled.empty:
        return "No configuration has been sampled yet"
    reached = sampled[sampled["epochs"] == rungs[-1]]
    count = len(sampled[["arch", "configuration"]].drop_duplicates())
    top = len(reached[["arch", "configuration"]].drop_duplicates())
    return f"{top} of {count} sampled configurations climbed to {epochs(rungs[-1])}"


def agreements(shown: RunView) -> Iterator[str]:
    """How far the order at each shorter length agrees with that at full length, by architecture."""
    rungs = shown.config.ladder
    for arch in shown.config.arch:
        for short in rungs[:-1]:
            found, n = agreement(shown.of(arch), short, rungs[-1])
            if np.isfinite(found):
                yield (
                    f"{arch}: the order after {epochs(short)} and after {rungs[-1]} agree by {found:+.2f} "
                    f"(rank correlation of the {n} configurations that climbed)"
                )


def parameters(shown: RunView) -> str:
    """Whether a best value lies at an edge of its range."""
    if shown.leader is None:
        return NOTHING_YET
    narrow = list(_at_edges(shown))
    if narrow:
        return narrow[0].removesuffix(".")
    untuned = [
        str(arch) for arch in shown.trials.loc[shown.trials["winner"] & shown.trials["baseline"], "arch"]
    ]
    inside = "No best value lies at an edge of its range"
    return f"{inside}; no configuration beat the untuned {_and(untuned)}" if untuned else inside


def warnings(shown: RunView, arch: str) -> list[str]:
    """A sentence for each value of an architecture's best that lies at an edge of its range."""
    return [
        f"{arch}: the best {name} lies at the {end} edge of its range; a wider one may hold better."
        for name, end in edges(shown.of(arch), shown.contents.spaces[arch])
    ]


def _at_edges(shown: RunView) -> Iterator[str]:
    for arch in shown.config.arch:
        yield from warnings(shown, arch)


def steps(shown: RunView) -> str:
    """How much of the leader's best trial was clipped."""
    if shown.leader is None:
        return "No trial to look into yet" if shown.curves.empty else "Every trial from within"
    own = shown.curves[shown.curves["winner"] & (shown.curves["arch"] == shown.leader)]
    if own.empty:
        return "Every trial from within"
    clipped = own["clipped_share"].mean()
    return f"The best trial of {shown.leader} had {share(clipped)} of its steps clipped"


def machines(shown: RunView) -> str:
    """How many slots there were, how busy, and what was lost."""
    busy = pace.busy(shown.timeline)
    if busy.empty:
        return "No trial has started yet"
    nodes, bad = busy["node"].nunique(), int(busy["failed"].sum())
    slots = f"{len(busy)} slot{'s' * (len(busy) > 1)} on {nodes} machine{'s' * (nodes > 1)}"
    failed = f"{bad} attempt{'s' * (bad != 1)} failed" if bad else "no attempt failed"
    return f"{slots}: busy {share(busy['busy'].mean())} of the time, {failed}"


def _tested(shown: RunView) -> str:
    """The best winner on what counts most, beside the nearest neighbour."""
    table = shown.scores[(shown.scores["metric"] == "f1") & shown.scores["mean"].notna()]
    own = table[table["role"] == "winner"]
    if own.empty:
        return "No winner could be scored"
    part = "unseen" if (own["part"] == "unseen").any() else "official"
    best = own[own["part"] == part].sort_values("mean").iloc[-1]
    name = "The ensemble" if best["classifier"] == "ensemble" else best["classifier"]
    said = f"{name} scores best on the {part} test, macro-F1 {number(best['mean'])}"
    floor = table[(table["classifier"] == "nearest_neighbour") & (table["part"] == part)]
    if floor.empty:
        return said
    return f"{said}; a {classifier('nearest_neighbour', 'reference')} reaches {number(floor['mean'].iloc[0])}"


def winners(shown: RunView) -> str:
    """What tuning has changed on the test, from where it has lost most to where it has gained most."""
    if shown.worth.empty:
        return "No test scores yet"
    part = "unseen" if shown.worth["gain_unseen"].notna().any() else "official"
    gained = shown.worth[shown.worth[f"gain_{part}"].notna()].sort_values(f"gain_{part}")
    if gained.empty:
        return "No winner is held against an untuned baseline: these won, or they diverged"
    ends = [gained.iloc[place] for place in (0, -1)[: len(gained)]]
    told = " to ".join(f"{end[f'gain_{part}'] * 100:+.1f} ({end['arch']})" for end in ends)
    return f"Tuning changed the {part} score by {told} points of macro-F1"


def compare(results: pd.DataFrame, *, same_cut: bool, same_test: bool) -> str:
    """Which run has the best winner, on what all of them have; runs on different images are no contest.

    Args:
        results: see `tables.compare.results`.
        same_cut: whether all parts of their images are the same.
        same_test: whether the test and what is unseen of it are.
    """
    tested = results["unseen"].notna().groupby(results["run"]).any()
    column, where = ("unseen", "the unseen test") if tested.all() else ("best", "validation")
    if not (same_test if tested.all() else same_cut):
        return "Runs on different images, side by side"
    scored = results[results[column].notna()]
    if scored.empty:
        return "No run has a full-length trial yet"
    best = scored.sort_values(column).iloc[-1]
    return f"{best['run']} has the highest score on {where}: {best['arch']}, {number(best[column])}"


def configurations(shown: RunView) -> str:
    """How many there are to choose from."""
    trials = shown.trials
    if trials.empty:
        return "No trial has started yet"
    count = len(trials[["arch", "configuration"]].drop_duplicates())
    return f"{len(trials):,} trials of {count:,} configurations"


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
