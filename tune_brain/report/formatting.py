"""Numbers and facts of a run in words, as plain text: whoever puts them on a page escapes them."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from tune_brain.config import PRETRAINED
from tune_brain.data.catalogue import named_of
from tune_brain.report.run_reader import Contents
from tune_brain.text import duration

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


def classifier(name: str, role: str) -> str:
    """What a classifier of the score table is called."""
    return {"reference": REFERENCES.get(name, name), "baseline": f"{name}, untuned"}.get(role, name)


def number(value: float | None, digits: int = 3) -> str:
    """A score; a hyphen where it is undefined."""
    return NOTHING if value is None or np.isnan(value) else f"{value:.{digits}f}"


def interval(low: float, high: float) -> str:
    """An interval; nothing where it is undefined."""
    return "" if np.isnan(low) else f"[{number(low)}, {number(high)}]"


def spread(std: float) -> str:
    """A standard deviation; nothing where it is undefined."""
    return "" if np.isnan(std) else f"± {number(std)}"


def share(value: float) -> str:
    """A share as a percentage."""
    return f"{value * 100:.0f} %"


def epochs(length: int) -> str:
    """A length of training."""
    return f"{length:,} epoch{'s' * (length != 1)}"


def setting(value: float) -> str:
    """A hyperparameter's value, to three digits."""
    return f"{value:.3g}"


def p_value(p: float) -> str:
    """A probability to two digits, or below 0.001 just that."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def verdict(arch: str, sentence: str) -> str:
    """An architecture's sentence without its name in front, to stand under it."""
    said = sentence.removeprefix(f"{arch}: ")
    return said[:1].upper() + said[1:]


def progress(study: Mapping[str, Any]) -> str:
    """How far the search of one architecture has come, from its line of `tables.studies`."""
    if not sum(study["trials"]):
        return "No trial has started yet."
    against = f" The untuned baseline scored {number(study['baseline'])}." if study["baseline"] >= 0 else ""
    return (
        f"Configurations sampled: {study['configurations']}. "
        f"Trials: {sum(study['trials'])}, running {study['running']}, failed {study['failed']}.{against}"
    )


def reason(trial: Mapping[Any, Any]) -> str:
    """What became of a trial and why, from its line of `RunView.trials`."""
    fate = trial["fate"]
    if fate == "running":
        return f"running, attempt {trial['attempt']}" if trial["attempt"] > 1 else "running"
    if fate == "failed":
        attempt = f", attempt {trial['attempt']}" if trial["attempt"] > 1 else ""
        return f"{trial['why']}{attempt}" + (f": {trial['detail']}" if trial["detail"] else "")
    if trial["repeat"] and fate != "full":
        return f"seed {trial['repeat']} of the baseline at the shortest length: the noise between seeds"
    if trial["repeat"]:
        return f"final round, seed {trial['repeat']} of configuration {trial['configuration']}"
    rank, peers = int(trial["rank"]), int(trial["peers"])
    if fate == "full":
        return f"{'the winner, ' if trial['winner'] else ''}rank {rank} of {peers} at full length"
    moment = " when it was promoted" if fate == "promoted" else ""
    known = not np.isnan(trial["cutoff"])
    cutoff = f"cut-off {number(trial['cutoff'], 4)}" if known else "a third of them was less than one"
    return f"{fate}: rank {rank} of {peers}{moment}, {cutoff}"


def overtuned(line: Mapping[str, Any]) -> str:
    """A line of `tables.overtuning` as a sentence."""
    arch, own = line["arch"], f"its own trials said {number(line['chosen'])}"
    known = not np.isnan(line["mean"])
    between = f"{number(line['mean'])} {interval(line['low'], line['high'])}" if known else ""
    expected = f"With other seeds {between} is expected on validation; {own}." if known else ""
    if np.isnan(line["promised"]):
        return f"{arch}: the untuned baseline won, so the search promised no gain. {expected}".strip()
    confirmed = [
        f"{where} {line[gain] * 100:+.1f}"
        for where, gain in (
            ("other seeds show", "gain_validation"),
            ("the official test", "gain_official"),
            ("the unseen test", "gain_unseen"),
        )
        if not np.isnan(line[gain])
    ]
    promised = f"the search promised {line['promised'] * 100:+.1f} points over the untuned baseline"
    told = f"{promised}; {', '.join(confirmed)}" if confirmed else promised
    return f"{arch}: {told}. {expected}".strip()


def pair(line: Mapping[str, Any]) -> str:
    """A line of `tables.pairs` as a sentence."""
    a, b, only_a, only_b = (line[key] for key in ("a", "b", "only_a", "only_b"))
    if not only_a + only_b:
        return f"{a} and {b} are right on the same images."
    apart = f"{a} alone is right on {only_a}, {b} alone on {only_b}"
    if not line["better"]:
        return f"{apart}: no clear difference."
    return f"{apart}: {line['better']} is better, were the images independent."


def facts(contents: Contents) -> Iterator[tuple[str, str]]:
    """What was run, on what, when and where, as (label, text)."""
    config, record, trials = contents.config, contents.record, contents.trials
    data = record.get("data", {})
    total = sum(n for part in data.get("counts", {}).values() for n in part.values())
    source = config.data.name if config.data else "built-in demo images"
    yield "Data", f"{source}: {total:,} images at {config.image_size} px" if total else source
    lengths = ", ".join(map(str, config.ladder))
    until = ", or until converged" if config.until_converged else ""
    yield "Search", f"{config.configs} configurations{until}, and a baseline each, trials of {lengths} epochs"
    yield "Seed", str(config.seed)
    if trials:
        ended = max(row.started + row.seconds for row in trials)
        took = f", {duration(ended - min(row.started for row in trials))} to its last end, pauses included"
    else:
        took = ""
    if "started" in record:
        yield "Started", _moment(record["started"]) + took
    yield "Device", _device(contents)
    if "precision" in record:
        kinds = record["precision"]
        same = len(set(kinds.values())) == 1
        yield (
            "Precision",
            next(iter(kinds.values())) if same else ", ".join(f"{k} {v}" for k, v in kinds.items()),
        )
    if "packages" in record:
        named = {"tune_brain": record["tune_brain"], "Python": record["python"], **record["packages"]}
        shown = ("tune_brain", "Python", "torch", "ray", "optuna")
        yield "Software", ", ".join(f"{name} {named[name]}" for name in shown if name in named)
    if record.get("commit"):
        commit, _, dirty = record["commit"].partition("-")
        yield "Commit", commit[:12] + (" with local changes" if dirty else "")
    sealed = contents.sealed
    said = f"opened {_moment(sealed['opened'])} by {sealed['by']}" if sealed else "not opened yet"
    if before := sealed.get("earlier_openings"):
        told = "one other run" if before == 1 else f"{before} other runs"
        said += f"; {told} on that machine had opened the same test before"
    if again := sealed.get("again"):
        times = "once more" if len(again) == 1 else f"{len(again)} times more"
        said += f"; and {times} by the same configurations, the last on {_moment(again[-1]['opened'])}"
    yield "Sealed test", said


def _moment(stamp: str) -> str:
    return datetime.fromisoformat(stamp).strftime("%Y-%m-%d %H:%M")


def _device(contents: Contents) -> str:
    machine = contents.record.get("machine", {})
    nodes = {row.node for row in contents.trials if row.node}
    devices = sorted({row.device for row in contents.trials if row.device})
    parts = [
        " and ".join(devices),
        f"{machine['processor']} with {machine['cores']} cores" if machine.get("processor") else "",
        f"{len(nodes)} machines" if len(nodes) > 1 else "",
        f"{contents.record['slots']} trials at a time" if "slots" in contents.record else "",
    ]
    return ", ".join(part for part in parts if part) or "not known"


def leak(contents: Contents) -> str:
    """That images of the test were let into training, as `combine --allow-leak` does; else nothing."""
    scored = (score.get("allowed_leak", 0) for parts in contents.scores.values() for score in parts.values())
    n = max(scored, default=0) or contents.record.get("data", {}).get("allowed_leak", 0)
    return (
        f"The test leaks, as --allow-leak asked for: {n:,} images outside the test have a twin in it. "
        "The official scores flatter; the unseen ones leave those test images out, but for mere crops."
        if n
        else ""
    )


def notes(contents: Contents, images: pd.DataFrame) -> Iterator[str]:
    """What a reader must know to read the scores rightly: what was missing, left out or not known."""
    config, record = contents.config, contents.record
    data = record.get("data", {})
    if not record:
        yield "record.json is missing: data, weights, versions and commit of this run are not known."
    if flattered := leak(contents):
        yield flattered
    if PRETRAINED in config.arch and "weights" in record:
        yield f"resnet34 started from {record['weights']}."
    official, unseen = int(images["official"].sum()), int(images["unseen"].sum())
    if seen := official - unseen:
        yield (
            f"{seen:,} of the {official:,} test images have a twin among the images of the other parts. "
            "The unseen scores leave them out."
        )
    gone = [name for name, line in images.iterrows() if line["official"] and not line["unseen"]]
    if gone and unseen:
        yield (
            f"The unseen test has no image of {', '.join(map(str, gone))}: "
            "its macro averages run over the other classes."
        )
    if data.get("dropped"):
        yield (
            f"{data['dropped']:,} training images were left out: "
            "they are twins of images of validation, or of a test that was cut off, or mirrored copies."
        )
    for reason, found in data.get("left_out", {}).items():
        yield f"{found['n']:,} left out ({reason}): {named_of(found)}"
    if record and not record.get("commit"):
        yield "The code's commit is not known."
    if contents.scores and config.seeds == 1:
        yield "One seed for each winner: the spread between seeds is not known."
