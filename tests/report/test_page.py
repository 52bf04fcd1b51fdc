"""The page as a file: self-contained, offline, escaped, and complete at every stage of a run."""

import base64
import gzip
import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from pages import Page
from predicted import predictions

from tune_brain import lock
from tune_brain.errors import RunFolderError
from tune_brain.evaluate.predictions import write_predictions
from tune_brain.records import TrialRow, append, read
from tune_brain.report import findings, style
from tune_brain.report.page import write_page

LARGEST = 6 * 2**20
"""Maximum size of a page in bytes."""


def read_page(run: Path) -> Page:
    path = write_page(run)
    assert path == run / "dashboard.html"
    assert path.stat().st_size <= LARGEST
    page = Page(path.read_text(encoding="utf-8"))
    for word in ("nan", "None", "NaT", "undefined", "inf"):
        assert word not in page.text.split()
    return page


def figures_of(page: Page) -> list[dict]:
    return [held for held in page.figures if "layout" in held]


def trials_of(page: Page) -> dict:
    return next(held for held in page.figures if "macro_f1" in held)


@pytest.fixture(scope="module")
def scored_page(scored_run) -> Page:
    return read_page(scored_run)


def test_the_page_holds_every_score(scored_page, scored_run):
    scores = json.loads((scored_run / "scores.json").read_text())
    for parts in scores.values():
        for score in parts.values():
            for metric in ("accuracy", "balanced_accuracy", "f1", "roc_auc", "log_loss", "calibration_error"):
                low, high = score[metric]["low"], score[metric]["high"]
                text = f"{score[metric]['mean']:.3f} ± {score[metric]['std']:.3f} [{low:.3f}, {high:.3f}]"
                assert text in scored_page.text


def test_an_allowed_leak_is_stated_next_to_the_scores(new_run, scored_page):
    assert "--allow-leak" not in scored_page.text
    run = new_run()
    scores = json.loads((run / "scores.json").read_text())
    for parts in scores.values():
        for score in parts.values():
            score["allowed_leak"] = 1234
    (run / "scores.json").write_text(json.dumps(scores))
    warning = "The test leaks, as --allow-leak permitted: 1,234 images outside the test have a twin in it."
    assert read_page(run).text.count(warning) == 2


def test_an_allowed_leak_is_stated_before_there_are_scores(new_run):
    run = new_run(evaluated=False)
    record = json.loads((run / "record.json").read_text())
    record["data"]["allowed_leak"] = 5
    (run / "record.json").write_text(json.dumps(record))
    assert read_page(run).text.count("5 images outside the test have a twin in it.") == 2


def test_the_page_has_verdicts_pairwise_tests_and_trials(scored_page, scored_run):
    comparisons = json.loads((scored_run / "comparisons.json").read_text())
    for arch, sentence in comparisons["verdicts"].items():
        assert sentence.removeprefix(f"{arch}: ")[1:] in scored_page.text
    assert "only linear is correct on" in scored_page.text
    rows = [json.loads(row) for row in (scored_run / "trials.jsonl").read_text().splitlines()]
    trials = trials_of(scored_page)
    assert sorted(trials["trial"]) == sorted({row["trial"] for row in rows})
    assert {len(column) for column in trials.values()} == {len(trials["trial"])}
    assert "diverged: the loss was <b>not finite</b> in epoch 1" in trials["why"]
    ended = {row["trial"]: row["score"] for row in rows}
    shown = dict(zip(trials["trial"], trials["macro_f1"], strict=True))
    assert shown == {trial: score and pytest.approx(score, abs=1e-5) for trial, score in ended.items()}


def test_every_kind_of_figure_is_in_the_page(scored_page):
    kinds = [attrs["aria-label"] for _, attrs in scored_page.tags if attrs.get("class") == "plot"]
    assert len(kinds) == len(set(kinds)) == len(figures_of(scored_page))
    for kind in (
        "best so far over time, all architectures",
        "best so far over epochs, cnn",
        "climb of cnn",
        "learning curves of linear",
        "weight_decay against score, linear",
        "parallel coordinates, cnn",
        "max_lr and grad_clip, cnn",
        "one-cycle of the chosen trial",
        "timeline of slots",
        "macro-F1 of every classifier",
        "confusion matrix of cnn, unseen test",
    ):
        assert kind in kinds


def test_the_page_makes_no_network_requests(scored_page):
    policies = [
        attrs["content"] for tag, attrs in scored_page.tags if tag == "meta" and "http-equiv" in attrs
    ]
    assert len(policies) == 1
    assert "default-src 'none'" in policies[0]
    assert "connect-src" not in policies[0]
    assert "http" not in policies[0]
    for tag, attrs in scored_page.tags:
        assert tag not in ("link", "img", "iframe", "object", "base")
        assert not {"src", "srcset", "action", "onerror", "onload"} & attrs.keys()
        assert attrs.get("href", "#").startswith("#")
    assert not any("url(" in style or "@import" in style for style in scored_page.styles)


def test_plotly_is_in_the_page_once(scored_page):
    packed = [found for script in scored_page.scripts for found in re.findall(r'PLOTLY = "([^"]+)"', script)]
    assert len(packed) == 1
    assert b"plotly.js v" in gzip.decompress(base64.b64decode(packed[0]))[:200]


def test_names_from_a_user_are_escaped_everywhere(new_run):
    names = ("<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "a & b", '" onload="x')
    page = read_page(new_run("<i>run", classes=names, archs=("cnn",), configs=2, images=24))
    assert "img" not in {tag for tag, _ in page.tags}
    # The scripts of a page: figures, three tables, plotly, page.js and dashboard.js.
    assert len(page.scripts) == len(page.figures) + 3
    assert not any({"onload", "onerror"} & attrs.keys() for _, attrs in page.tags)
    for name in names:
        assert name in page.text
    assert "<i>run" in page.text
    assert not any("<script>" in json.dumps(figure) for figure in figures_of(page))


def test_the_text_of_an_exception_cannot_end_a_script(new_run):
    run = new_run(archs=("cnn",), searched=(), evaluated=False)
    text = "</script><img src=x onerror=alert(1)>"
    row = {"trial": 0, "arch": "cnn", "configuration": 0, "epochs": 12, "values": {"max_lr": 0.1}, "seed": 0}
    append(run / "trials.jsonl", TrialRow(**row, state="failed", why="raised", detail=text, started=0))
    page = read_page(run)
    assert "img" not in {tag for tag, _ in page.tags}
    assert trials_of(page)["why"] == [f"raised: {text}"]


def test_the_headline_is_the_score_on_the_unseen_test(scored_page):
    assert scored_page.text.count("macro-F1 on 18 unseen test images") == 2
    assert "official test images" not in scored_page.text


def test_without_unseen_images_the_headline_is_the_official_test(scored_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(scored_run, run)
    nothing = dict.fromkeys(("mean", "std", "low", "high"))
    for file, place in (("scores.json", ()), ("comparisons.json", ("baselines",))):
        value = json.loads((run / file).read_text())
        winners = value[place[0]] if place else value
        for parts in winners.values():
            parts["unseen"] = {
                **parts["unseen"],
                "n": 0,
                "f1": nothing,
                "accuracy": nothing,
                "log_loss": nothing,
            }
        (run / file).write_text(json.dumps(value))
    page = read_page(run)
    assert page.text.count("macro-F1 on 48 official test images") == 2
    assert "unseen test, 0 images No image." in page.text


def test_a_search_without_scores_says_so(new_run):
    page = read_page(new_run(archs=("linear", "cnn"), searched=("cnn",), configs=3, evaluated=False))
    assert "There are no test scores yet" in page.text
    assert "Scores on the test" not in page.text
    assert "no full-length trial has completed" in page.text
    assert "No epoch has ended yet." in page.text
    assert "Continue with: tune-brain resume" in page.text


def test_a_run_without_trials_has_a_page(new_run):
    run = new_run(archs=("cnn",), searched=(), evaluated=False)
    (run / "record.json").unlink()
    page = read_page(run)
    assert "No trial has started yet" in page.text
    assert "record.json is missing" in page.text
    assert figures_of(page) == []


def test_a_first_trial_is_shown_while_it_runs(new_run):
    run = new_run(archs=("cnn",), searched=(), evaluated=False)
    row = TrialRow(
        trial=0,
        arch="cnn",
        configuration=0,
        epochs=12,
        values={"max_lr": 0.1},
        seed=0,
        state="running",
        started=0,
    )
    with lock.hold(run):
        append(run / "trials.jsonl", row.model_copy(update={"started": time.time()}))
        page = read_page(run)
    assert "Configurations sampled: 0. Trials: 1, running 1, failed 0." in page.text
    trials = trials_of(page)
    assert (trials["fate"], trials["macro_f1"], trials["max_lr"]) == (["running"], [None], [0.1])
    assert "No trial has ended yet." in page.text
    assert len(figures_of(page)) == 1


def test_a_torn_last_line_is_ignored(scored_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(scored_run, run)
    whole = read_page(run).html
    for name in ("trials.jsonl", "epochs.jsonl"):
        with (run / name).open("a") as file:
            file.write('{"trial":3,"arch":"cnn","epo')
    assert read_page(run).html == whole


def test_the_same_run_gives_the_same_page(scored_run, scored_page):
    assert write_page(scored_run).read_text(encoding="utf-8") == scored_page.html


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match=r"run\.toml"):
        write_page(tmp_path)


def test_predictions_for_the_test_are_shown_without_a_record(new_run):
    run = new_run()
    probabilities = {f"winner-{arch}-0": np.full((2, 4), 0.25) for arch in ("linear", "cnn")}
    write_predictions(run / "predictions.npz", predictions(np.array([3, 1]), probabilities=probabilities))
    assert "before calibration" in read_page(run).text
    (run / "record.json").unlink()
    text = read_page(run).text
    assert "record.json is missing" in text
    assert "before calibration" in text


def test_roc_and_reliability_have_a_key_of_architectures(new_run):
    run = new_run()
    probabilities = {f"winner-{arch}-0": np.full((2, 4), 0.25) for arch in ("linear", "cnn")}
    write_predictions(run / "predictions.npz", predictions(np.array([3, 1]), probabilities=probabilities))
    below = read_page(run).html.partition("<h3>ROC and reliability</h3>")[2]
    key = below.partition('<p class="key">')[2].partition("</p>")[0]
    assert re.findall(r"</svg>(\w+)</span>", key) == ["linear", "cnn"]
    assert re.findall(r'stroke-dasharray="([^"]+)"', key) == [style.DASHES["linear"], style.DASHES["cnn"]]


def test_counts_of_a_confusion_matrix_stand_in_a_table(new_run):
    run = new_run(archs=("cnn",), configs=3)
    scores = json.loads((run / "scores.json").read_text())
    matrix = [[41, 2.5, 0, 0], [0, 37, 6, 0], [0, 0, 29, 1.5], [3, 0, 0, 31]]
    scores["cnn"]["official"]["confusion"] = matrix
    (run / "scores.json").write_text(json.dumps(scores))
    page = read_page(run)
    (table, *_) = re.findall(r"<table>(?:(?!</table>).)*true \\ predicted.*?</table>", page.html, re.DOTALL)
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)]
    assert rows[1:] == [
        ["41", "2.5", "0", "0"],
        ["0", "37", "6", "0"],
        ["0", "0", "29", "1.5"],
        ["3", "0", "0", "31"],
    ]


def test_a_search_whose_trials_all_failed_is_not_advised_to_resume(new_run):
    run = new_run(evaluated=False)
    rows = [row for row in read(run / "trials.jsonl", TrialRow) if row.state != "running"]
    failed = [row.model_copy(update={"state": "failed", "why": "diverged", "score": None}) for row in rows]
    (run / "trials.jsonl").unlink()
    append(run / "trials.jsonl", *failed)
    text = read_page(run).text
    assert "lower learning rates" in text
    assert "tune-brain resume" not in text


def test_a_search_whose_winners_are_being_retrained_is_not_advised_to_extend(new_run, monkeypatch):
    run, extend = new_run(), "tune-brain extend"
    monkeypatch.setattr(findings, "_at_edges", lambda _: iter(["max_lr ends too early"]))
    for name in ("scores.json", "comparisons.json", "seed_runs.jsonl", "sealed.json"):
        (run / name).unlink(missing_ok=True)
    assert extend in read_page(run).text
    (run / "seed_runs.jsonl").touch()
    assert extend not in read_page(run).text
