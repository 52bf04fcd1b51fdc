"""Numbers and facts of a run as plain text; templates escape it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from tune_brain.config import PRETRAINED
from tune_brain.data.describe import about_split
from tune_brain.data.left_out import first_names
from tune_brain.report.run_reader import Contents
from tune_brain.search.chance import finding
from tune_brain.text import counted, duration

METRICS = {
    "f1": "macro-F1",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
}
REFERENCES = {"nearest_neighbour": "nearest neighbour", "majority": "majority class"}
NOTHING = "-"
FEW = 10
"""With fewer images of a class, a single one decides much of the scores."""


def classifier(name: str, role: str) -> str:
    """Display name of a classifier in the score table."""
    return {"reference": REFERENCES.get(name, name), "baseline": f"{name}, untuned"}.get(role, name)


def number(value: float | None, digits: int = 3) -> str:
    """A score; a hyphen if it is undefined."""
    return NOTHING if value is None or np.isnan(value) else f"{value:.{digits}f}"


def mean_count(count: float) -> str:
    """A number of images, averaged over seeds: one decimal unless it is whole."""
    return f"{count:.0f}" if float(count).is_integer() else f"{count:.1f}"


def interval(low: float, high: float) -> str:
    """An interval; empty if it is undefined."""
    return "" if np.isnan(low) else f"[{number(low)}, {number(high)}]"


def spread(std: float) -> str:
    """A standard deviation; empty if it is undefined."""
    return "" if np.isnan(std) else f"± {number(std)}"


def share(value: float) -> str:
    """A share as a percentage."""
    return f"{value * 100:.0f} %"


def epochs(length: int) -> str:
    """A trial length, such as `12 epochs`."""
    return counted(length, "epoch", "epochs")


def setting(value: float) -> str:
    """A hyperparameter's value, to three significant digits."""
    return f"{value:.3g}"


def p_value(p: float) -> str:
    """A p-value to two significant digits, or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def verdict(arch: str, sentence: str) -> str:
    """A sentence about an architecture without the leading name, to be shown under its heading."""
    text = sentence.removeprefix(f"{arch}: ")
    return text[:1].upper() + text[1:]


def progress(study: Mapping[str, Any]) -> str:
    """Progress of one architecture's search, from its line of `tables.studies`."""
    if not sum(study["trials"]):
        return "No trial has started yet."
    against = f" The untuned baseline scored {number(study['baseline'])}." if study["baseline"] >= 0 else ""
    return (
        f"Configurations sampled: {study['configurations']}. "
        f"Trials: {sum(study['trials'])}, running {study['running']}, "
        + (f"interrupted {study['interrupted']}, " if study["interrupted"] else "")
        + f"failed {study['failed']}.{against}"
    )


def reason(trial: Mapping[Any, Any]) -> str:
    """Outcome of a trial and its reason, from its line of `RunView.trials`."""
    fate = trial["fate"]
    if fate in ("running", "interrupted"):
        return f"{fate}, attempt {trial['attempt']}" if trial["attempt"] > 1 else str(fate)
    if fate == "failed":
        attempt = f", attempt {trial['attempt']}" if trial["attempt"] > 1 else ""
        return f"{trial['why']}{attempt}" + (f": {trial['detail']}" if trial["detail"] else "")
    if trial["repeat"] and fate != "full":
        return (
            f"seed {trial['repeat']} of the baseline at the shortest length, to measure noise between seeds"
        )
    if trial["repeat"]:
        return f"final round, seed {trial['repeat']} of configuration {trial['configuration']}"
    rank, peers = int(trial["rank"]), int(trial["peers"])
    if fate == "full":
        return f"{'the winner, ' if trial['winner'] else ''}rank {rank} of {peers} at full length"
    when = " when it was promoted" if fate == "promoted" else ""
    cutoff = f"cut-off {number(trial['cutoff'], 4)}"
    if np.isnan(trial["cutoff"]):
        cutoff = "too few peers for a cut-off"
    return f"{fate}: rank {rank} of {peers}{when}, {cutoff}"


def pair(line: Mapping[str, Any]) -> str:
    """A line of `tables.pairs` as a sentence."""
    a, b, only_a, only_b = (line[key] for key in ("a", "b", "only_a", "only_b"))
    if not only_a + only_b:
        return f"{a} and {b} are correct on the same images."
    difference = f"only {a} is correct on {counted(only_a, 'image', 'images')}, only {b} on {only_b}"
    over_groups = not np.isnan(line["groups_a"])
    if over_groups:
        leads = counted(int(line["groups_a"]), "group", "groups")
        difference += f"; {a} leads in {leads}, {b} in {line['groups_b']:.0f}"
    if not line["better"]:
        return f"{difference}: no significant difference."
    return (
        f"{difference}: {line['better']} is better{'' if over_groups else ', assuming independent images'}."
    )


def commit(recorded: str) -> str:
    """A commit as recorded in record.json, shortened, and whether the code differed from it."""
    name, _, dirty = recorded.partition("-")
    return name[:12] + (" with local changes" if dirty else "")


def facts(contents: Contents) -> Iterator[tuple[str, str]]:
    """What was run, on which data, when and where, as pairs (label, text)."""
    config, record, trials = contents.config, contents.record, contents.trials
    data = record.get("data", {})
    total = sum(n for part in data.get("counts", {}).values() for n in part.values())
    source = config.data.name if config.data else "built-in demo images"
    yield "Data", f"{source}: {total:,} images at {config.image_size} px" if total else source
    lengths = ", ".join(f"{length:,}" for length in config.ladder[:-1])
    lengths += f"{' and ' * bool(lengths)}{epochs(config.full_length)}"
    sampled = counted(config.configs, "configuration", "configurations")
    until = ", or until converged" if config.until_converged else ""
    yield "Search", f"{sampled}{until}, plus the baseline; trials of {lengths}"
    yield "Seed", str(config.seed)
    if trials:
        ended = max(row.started + row.seconds for row in trials)
        began = min(row.started for row in trials)
        took = f", {duration(ended - began)} until the last trial ended, pauses included"
    else:
        took = ""
    if "started" in record:
        yield "Started", _minute(record["started"]) + took
    yield "Device", _device(contents)
    if "precision" in record:
        precisions = record["precision"]
        same = len(set(precisions.values())) == 1
        by_arch = ", ".join(f"{arch} {precision}" for arch, precision in precisions.items())
        yield "Precision", next(iter(precisions.values())) if same else by_arch
    if "packages" in record:
        versions = {"tune_brain": record["tune_brain"], "Python": record["python"], **record["packages"]}
        shown = ("tune_brain", "Python", "torch", "ray", "optuna")
        yield "Software", ", ".join(f"{name} {versions[name]}" for name in shown if name in versions)
    if record.get("commit"):
        yield "Commit", commit(record["commit"])
    sealed = contents.sealed
    text = f"opened {_minute(sealed['opened'])} by {sealed['by']}" if sealed else "not opened yet"
    if before := sealed.get("earlier_openings"):
        runs = "one other run" if before == 1 else f"{before} other runs"
        text += f"; {runs} on that machine had opened the same test before"
    if again := sealed.get("again"):
        times = "once more" if len(again) == 1 else f"{len(again)} more times"
        text += f"; opened {times} for the same configurations, most recently {_minute(again[-1]['opened'])}"
    yield "Sealed test", text


def _minute(stamp: str) -> str:
    return datetime.fromisoformat(stamp).strftime("%Y-%m-%d %H:%M")


def _device(contents: Contents) -> str:
    machine = contents.record.get("machine", {})
    nodes = {row.node for row in contents.trials if row.node}
    devices = sorted({row.device for row in contents.trials if row.device})
    parts = [
        " and ".join(devices),
        f"{machine['processor']} with {counted(machine['cores'], 'core', 'cores')}"
        if machine.get("processor")
        else "",
        f"{len(nodes)} machines" if len(nodes) > 1 else "",
        f"{counted(contents.record['slots'], 'trial', 'trials')} at a time"
        if "slots" in contents.record
        else "",
    ]
    return ", ".join(part for part in parts if part) or "unknown"


def leak(contents: Contents) -> str:
    """A warning if `combine --allow-leak` let twins of test images into training; otherwise empty."""
    scored = (score.get("allowed_leak", 0) for parts in contents.scores.values() for score in parts.values())
    n = max(scored, default=0) or contents.record.get("data", {}).get("allowed_leak", 0)
    return (
        "The test leaks, as --allow-leak permitted: "
        f"{counted(n, 'image outside the test has', 'images outside the test have')} a twin in it. "
        "The official scores are optimistic; the unseen scores exclude those test images, except mere crops."
        if n
        else ""
    )


def notes(contents: Contents, images: pd.DataFrame) -> Iterator[str]:
    """Caveats for reading the scores: what is missing, excluded or unknown."""
    config, record = contents.config, contents.record
    data = record.get("data", {})
    if not record:
        yield "record.json is missing: data, weights, versions and commit of this run are unknown."
    if leaked := leak(contents):
        yield leaked
    if contents.untaught:
        yield finding(contents.untaught, contents.validation)
    if PRETRAINED in config.arch and "weights" in record:
        yield f"resnet34 started from {record['weights']}."
    official, unseen = int(images["official"].sum()), int(images["unseen"].sum())
    if seen := official - unseen:
        verb = "has" if seen == 1 else "have"
        twin = (
            "a twin or another slice of their patient" if data.get("patients", {}).get("across") else "a twin"
        )
        yield (
            f"{seen:,} of the {official:,} test images {verb} {twin} in the other parts. "
            "The unseen scores exclude those."
        )
    absent = [name for name, line in images.iterrows() if line["official"] and not line["unseen"]]
    if absent and unseen:
        yield (
            f"The unseen test has no image of {', '.join(map(str, absent))}: "
            "its macro averages are over the other classes."
        )
    if scarce := ", ".join(_scarce(images)):
        yield f"With fewer than {FEW} images of a class, each of them moves its scores by much: {scarce}."
    if data.get("dropped"):
        dropped = counted(data["dropped"], "training image was", "training images were")
        yield (
            f"{dropped} dropped: twins of validation images, twins of images "
            "of a test that was split off, or mirrored copies"
            + (", or of their patients." if data.get("patients", {}).get("images") else ".")
        )
    yield from about_split(data)
    for reason, files in data.get("left_out", {}).items():
        yield f"{files['n']:,} left out ({reason}): {first_names(files)}"
    if record and not record.get("commit"):
        yield "The commit of the code is unknown."
    if contents.scores and config.seeds == 1:
        yield "One seed per winner: the spread between seeds is unknown."


def _scarce(images: pd.DataFrame) -> Iterator[str]:
    """The classes with fewer than `FEW` images in a part, with their numbers; with none it is not scored."""
    parts = {"validation": "validation", "official": "official test", "unseen": "unseen test"}
    for name, line in images.iterrows():
        if few := [f"{where} {line[part]}" for part, where in parts.items() if 0 < line[part] < FEW]:
            yield f"{name} ({', '.join(few)})"
