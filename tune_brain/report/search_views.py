"""Template values of the views that show the search: overview, progress, ladder and so on."""

from collections.abc import Hashable, Sequence
from functools import partial
from itertools import combinations
from typing import Any

from tune_brain.report import findings, formatting
from tune_brain.report.figures import ladder as ladder_figures
from tune_brain.report.figures import pace as pace_figures
from tune_brain.report.figures import parameters as parameter_figures
from tune_brain.report.figures import steps as step_figures
from tune_brain.report.page_data import epoch_columns, trial_columns
from tune_brain.report.run_view import RunView
from tune_brain.report.tables import pace, studies
from tune_brain.report.tables.ladder import cutoffs
from tune_brain.report.tables.parameters import ENOUGH
from tune_brain.runs import portable_toml
from tune_brain.search.convergence import convergence

Values = dict[str, Any]


def _cards(shown: RunView) -> list[dict[Hashable, Any]]:
    """A summary of each architecture: its test score if there is one, its winner, its expected score."""
    cards, config = [], shown.config
    expected = shown.expectations.dropna(subset="mean")
    for study in shown.studies.to_dict("records"):
        arch = study["arch"]
        trials = shown.of(arch)
        f1 = shown.scores[(shown.scores["role"] == "winner") & (shown.scores["metric"] == "f1")]
        # The unseen part comes last, and is missing if it has no image.
        tested = f1[(f1["classifier"] == arch) & f1["mean"].notna()]
        winner = next(iter(trials[trials["winner"]].to_dict("records")), None)
        rows = [row for row in shown.contents.trials if row.arch == arch] if config.until_converged else []
        cards.append({
            **study,
            "winner": winner,
            "score": tested.to_dict("records")[-1] if len(tested) else None,
            "expected": next(iter(expected[expected["arch"] == arch].to_dict("records")), None),
            "convergence": convergence(rows, config.ladder[0]),
        })  # fmt: skip
    return cards


def overview(shown: RunView, _: Sequence[RunView]) -> Values:
    """Values of the overview: a card per architecture, what was run, and the next step."""
    floor = shown.scores[
        (shown.scores["classifier"] == "nearest_neighbour") & (shown.scores["metric"] == "f1")
    ]
    return {
        "next_step": findings.next_step(shown),
        "cards": shown.cached("cards", partial(_cards, shown)),
        "spent": shown.spent,
        "floor": {line["part"]: line for line in floor.to_dict("records") if line["mean"] == line["mean"]},
        "verdicts": shown.contents.verdicts,
        "facts": list(formatting.facts(shown.contents)),
        "notes": list(formatting.notes(shown.contents, shown.images)),
        "images": shown.images,
        "ladder": shown.config.ladder,
        "searching": shown.searching,
    }


def progress(shown: RunView, _: Sequence[RunView]) -> Values:
    """Values of the progress view: the best score so far over time and over epochs."""
    tables = {"": shown.ends} | {str(arch): ends for arch, ends in shown.ends.groupby("arch", sort=False)}
    if len(tables) == 2:  # all architectures are one
        tables.pop("")
    return {
        "figures": {
            arch: [
                (x, shown.figure(f"progress {x}", arch, partial(pace_figures.best_over, ends, x)))
                if arch
                else (x, pace_figures.best_over(ends, x))
                for x in ("hours", "spent")
            ]
            for arch, ends in tables.items()
            if len(ends)
        }
    }


def ladder(shown: RunView, _: Sequence[RunView]) -> Values:
    """Values of the ladder view: scores by rung and learning curves of each architecture."""
    rungs = shown.config.ladder
    views = {}
    for arch in shown.config.arch:
        trials, curves = shown.of(arch), shown.curves[shown.curves["arch"] == arch]
        views[arch] = {
            "climb": shown.figure("climb", arch, partial(ladder_figures.climb, trials, rungs))
            if trials["score"].notna().any()
            else None,
            "curves": shown.figure(
                "curves", arch, partial(ladder_figures.learning_curves, curves, rungs), epochs=True
            )
            if len(curves)
            else None,
            "rungs": shown.cached(f"rungs {arch}", partial(cutoffs, trials, rungs)).to_dict("records"),
        }
    return {
        "studies": views,
        "beginnings": bool((shown.trials["cycle"] > shown.trials["epochs"]).any()),
        "agreements": shown.cached("agreements", lambda: list(findings.agreements(shown))),
    }


def parameters(shown: RunView, _: Sequence[RunView]) -> Values:
    """Values of the parameters view: score against hyperparameters, for each architecture with scores."""
    scored = shown.trials[shown.trials["score"].notna()]
    return {
        "studies": {
            arch: shown.figure("parameters", arch, partial(_study, shown, arch))
            if (scored["arch"] == arch).any()
            else None
            for arch in shown.config.arch
        }
    }


def _study(shown: RunView, arch: str) -> Values:
    space, trials = shown.contents.spaces[arch], shown.of(arch)
    pairs = combinations(space.tuned, 2)
    return {
        "slices": {
            name: parameter_figures.slices(trials, name, limits) for name, limits in space.tuned.items()
        },
        "parallel": parameter_figures.parallel(trials, space),
        "pairs": {pair: parameter_figures.pair(trials, space, *pair) for pair in pairs},
        "full": int((trials["full"] & trials["score"].notna()).sum()),
        "enough": ENOUGH,
        "warnings": findings.warnings(shown, arch),
        **_importances(shown, arch),
    }


def _importances(shown: RunView, arch: str) -> Values:
    from tune_brain.search.importance import FEWEST, importances  # here, because it imports optuna

    rows = [row for row in shown.contents.trials if row.arch == arch]
    space = shown.contents.spaces[arch]
    by_rung = {rung: importances(rows, space, rung) for rung in shown.config.ladder}
    counts = {rung: n for rung, (shares, n) in by_rung.items() if shares}
    return {
        "importances": parameter_figures.importances(by_rung, list(space.tuned)) if counts else None,
        "importances_n": counts,
        "importances_fewest": FEWEST,
    }


def steps(shown: RunView, _: Sequence[RunView]) -> Values:
    """Values of the one-cycle view: all epochs, and the trial to show first."""
    best = shown.trials["winner"] & (shown.trials["arch"] == shown.leader)
    first = shown.trials[best if best.any() else shown.trials["trial"].isin(shown.curves["trial"])]
    return {
        "figure": step_figures.one_cycle() if len(shown.curves) else None,
        "first": int(first["trial"].iloc[0]) if len(first) else None,
        "epochs": epoch_columns(shown.curves),
    }


def machines(shown: RunView, _: Sequence[RunView]) -> Values:
    """Values of the machines view: the timeline of the slots, and failed attempts."""
    timeline = shown.timeline
    return {
        "figure": pace_figures.machines(timeline) if len(timeline) else None,
        "slots": pace.busy(timeline).to_dict("records"),
        "troubles": timeline[timeline["state"].isin(["failed", "interrupted"])].to_dict("records"),
        "archs": [arch for arch in shown.config.arch if (timeline["arch"] == arch).any()],
        "searching": shown.searching,
    }


def configurations(shown: RunView, _: Sequence[RunView]) -> Values:
    """Values of the configurations view: the winners' files, and all trials."""
    return {
        "winners": {arch: portable_toml(winner) for arch, winner in shown.contents.winners.items()},
        "trials": trial_columns(shown.trials, shown.contents.spaces, int(shown.images["train"].sum())),
        "tuned": studies.parameters(shown.trials),
    }
