"""The page in a real browser: every view is drawn, every control works, no network is used."""

import csv
import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from predicted import predictions

from tune_brain.data.batches import steps_per_epoch
from tune_brain.evaluate.predictions import write_predictions
from tune_brain.records import TrialRow, append, trials_of
from tune_brain.report.page import write_page
from tune_brain.runs import portable_toml, read_winner

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
pytestmark = pytest.mark.slow


def copied(name: str, to: Path) -> Path:
    """A writable copy of a reference run."""
    return Path(shutil.copytree(REFERENCE / name, to / name))


def opened(page, run: Path) -> Path:
    page.goto(write_page(run).as_uri())
    return run


def draw_all(page) -> int:
    """Scroll to every figure and wait until it is drawn; returns how many there are."""
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = true))")
    plots = page.query_selector_all(".plot")
    for plot in plots:
        plot.scroll_into_view_if_needed()
        page.wait_for_function("(plot) => plot.querySelector('.main-svg')", arg=plot)
    return len(plots)


@pytest.fixture(scope="module")
def sartaj(tmp_path_factory) -> Path:
    return copied("sartaj", tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="module")
def trials(sartaj) -> list[TrialRow]:
    """Its trials, best first."""
    rows = trials_of(sartaj)
    return sorted(rows, key=lambda row: -(row.score or 0))


@pytest.mark.parametrize("name", ["sartaj", "nickparvar"])
def test_every_view_of_a_real_run_is_drawn(page, tmp_path, name):
    run = opened(page, copied(name, tmp_path))
    archs = len(list((run / "winners").iterdir()))
    scored = len(json.loads((run / "scores.json").read_text()))
    assert scored == archs + 1, "the ensemble too"
    assert draw_all(page) == 2 * (archs + 1) + 2 * archs + 8 * archs + 1 + 1 + 2 + 2 * scored
    titles = page.locator("section h2").all_inner_texts()
    assert len(titles) == len(set(titles)) == 8
    assert re.search("(is the best winner|scores above every winner) on the unseen test", titles[0])


@pytest.mark.parametrize("kind", ["begun", "one trial", "crashed"])
def test_no_view_is_blank_before_the_search_ends(page, new_run, kind):
    run = new_run(archs=("cnn",), searched=("cnn",) if kind == "crashed" else (), evaluated=False, configs=3)
    if kind == "one trial":
        started = {"trial": 0, "arch": "cnn", "configuration": 0, "epochs": 12, "seed": 0, "started": 5.0}
        row = TrialRow(
            **started, values={"max_lr": 1e-3, "weight_decay": 0.01, "grad_clip": 1}, state="running"
        )
        append(run / "trials.jsonl", row)
        append(
            run / "trials.jsonl", row.model_copy(update={"state": "completed", "score": 0.5, "seconds": 9.0})
        )
    if kind == "crashed":
        # Killed in the middle of a row, while a trial ran.
        lines = (run / "trials.jsonl").read_bytes().splitlines(keepends=True)
        (run / "trials.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    opened(page, run)
    assert bool(draw_all(page)) == (kind != "begun")
    for section in page.locator("section").all():
        assert section.locator(".plot, .empty, .card, #trials").count() > 0
    overview = page.locator("#overview").inner_text()
    assert ("interrupted 1" in overview) == (kind == "crashed")


def test_one_architecture_can_be_shown_alone(page, sartaj, trials):
    opened(page, sartaj)
    page.get_by_label("cnn", exact=True).check()
    shown = page.locator("main [data-arch]:visible")
    assert set(shown.evaluate_all("(all) => all.map((one) => one.dataset.arch)")) == {"cnn"}
    own, every = sum(row.arch == "cnn" for row in trials), len(trials)
    assert page.locator("#filter-count").inner_text() == f"{own} of {every} trials"
    page.get_by_label("all", exact=True).check()
    assert page.locator("#filter-count").inner_text() == f"{every} of {every} trials"


def steps_of(run: Path, row: TrialRow) -> int:
    """Steps per epoch of a trial."""
    images = sum(json.loads((run / "record.json").read_text())["data"]["counts"]["train"].values())
    space = tomllib.loads((run / "spaces" / f"{row.arch}.toml").read_text())
    return steps_per_epoch(images, space["fixed"]["batch_size"])


def test_the_computed_learning_rate_passes_through_the_measured_rates(page, sartaj, trials):
    opened(page, sartaj)
    plot = page.locator("#steps .plot")
    plot.scroll_into_view_if_needed()
    page.locator("#steps .main-svg").first.wait_for()
    best = f"{trials[0].arch}, configuration {trials[0].configuration}"
    assert best in page.locator("#chosen option:checked").inner_text()
    row = next(row for row in trials[1:] if row.epochs == 12)
    other, steps = row.trial, steps_of(sartaj, row)
    page.locator("#chosen").select_option(str(other))
    rows = [json.loads(line) for line in (sartaj / "epochs.jsonl").read_text().splitlines()]
    rates = [row["lr"] for row in rows if row["trial"] == other]
    found = "(plot) => plot.data.find((trace) => trace.name === 'measured').y.length === 12 && plot.data"
    drawn = page.wait_for_function(found, arg=plot.element_handle()).json_value()
    lines = {trace["name"]: trace for trace in drawn}
    assert lines["measured"]["y"] == pytest.approx(rates, rel=1e-4)
    # An epoch's rate is that of its last step, which begins one step before the epoch's end.
    assert lines["measured"]["x"] == pytest.approx([epoch - 1 / steps for epoch in range(1, 13)])
    schedule = lines["schedule"]
    assert np.interp(lines["measured"]["x"], schedule["x"], schedule["y"]) == pytest.approx(
        rates, rel=5e-3, abs=1e-6
    )
    page.get_by_role("button", name="the next trial").click()
    assert page.locator("#chosen").input_value() != str(other)


def test_the_schedule_of_a_short_trial_is_the_beginning_of_the_full_cycle(page, trials, tmp_path):
    run = copied("sartaj", tmp_path)
    short = next(row for row in trials if row.epochs == 1)
    append(run / "trials.jsonl", short.model_copy(update={"cycle": 12}))
    opened(page, run)
    plot = page.locator("#steps .plot")
    plot.scroll_into_view_if_needed()
    page.locator("#chosen").select_option(str(short.trial))
    line = "plot.data?.find((one) => one.name === 'schedule')"
    found = f"(plot) => ((line) => line?.x.at(-1) < 1 && line.y)({line})"
    rates = page.wait_for_function(found, arg=plot.element_handle()).json_value()
    weight = torch.nn.Parameter(torch.zeros(1))
    update = torch.optim.SGD([weight], lr=1.0)
    steps = steps_of(run, short)
    cycle = torch.optim.lr_scheduler.OneCycleLR(update, short.values["max_lr"], total_steps=12 * steps)
    for _ in range(steps - 1):
        update.step()
        cycle.step()
    # The page has max_lr to six digits.
    expected = short.values["max_lr"] / 25, cycle.get_last_lr()[0]
    assert (rates[0], rates[-1]) == pytest.approx(expected, rel=1e-5)


def test_trials_are_filtered_sorted_and_downloaded(page, sartaj, trials):
    opened(page, sartaj)
    page.locator("#filter").fill("resnet18 epochs=12")
    count = sum(row.arch == "resnet18" and row.epochs == 12 for row in trials)
    assert page.locator("#trials tbody tr").count() == count > 1
    page.locator("#trials").get_by_role("button", name="seconds").click()
    seconds = page.locator("#trials tbody tr td:nth-child(11)").all_inner_texts()
    assert seconds == sorted(seconds, key=float)
    page.keyboard.press("Enter")
    assert page.locator("#trials tbody tr td:nth-child(11)").all_inner_texts() == seconds[::-1]
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    assert [row["architecture"] for row in rows] == ["resnet18"] * count
    # In the order of the table.
    assert [float(row["seconds"]) for row in rows] == pytest.approx(
        [float(cell) for cell in seconds[::-1]], 1e-3
    )
    page.locator("#filter").fill(f"macro_f1>{trials[1].score:.5f}")
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    (best,) = json.loads(Path(download.value.path()).read_text())
    assert (best["trial"], best["winner"]) == (trials[0].trial, True)


def test_the_filter_finds_what_the_table_shows(page, sartaj, trials):
    opened(page, sartaj)
    cells = page.locator("#trials tbody tr").first.locator("td").all_inner_texts()
    rate = cells[4]
    full = f"{trials[0].values['max_lr']:.6g}"
    assert (cells[0], float(rate)) == (str(trials[0].trial), pytest.approx(float(full), 1e-3))
    assert rate != full
    scores, untuned = [row.score or 0 for row in trials], [row for row in trials if row.configuration == 0]
    for words, count in (
        (f"{rate} {trials[0].arch}", sum(row.values == trials[0].values for row in trials)),
        (f"max_lr={rate} trial={cells[0]}", 1),
        (f"max_lr={full} trial={cells[0]}", 1),
        ("untuned", len(untuned)),
        ("configuration=untuned", len(untuned)),
        ("configuration=0", len(untuned)),
        ("architecture=cnn epochs<=3", sum(row.arch == "cnn" and row.epochs <= 3 for row in trials)),
        (f"macro_f1>={0.9 * scores[0]}", sum(score >= 0.9 * scores[0] for score in scores)),
        (f"trial>={cells[0]} trial<={cells[0]}", 1),
        (f"macro_f1 >= {0.9 * scores[0]}", sum(score >= 0.9 * scores[0] for score in scores)),
        ("trial>=", len(trials)),
    ):
        page.locator("#filter").fill(words)
        assert page.locator("#filter-count").inner_text() == f"{count} of {len(trials)} trials", words
        assert count


def test_a_winner_is_copied_and_downloaded_as_a_file_to_pass_on(page, sartaj):
    opened(page, sartaj)
    toml = portable_toml(read_winner(sartaj / "winners" / "cnn.toml"))
    panel = page.locator("#configurations .panel[data-arch=cnn]")
    panel.get_by_role("button", name="Copy").click()
    panel.get_by_text("copied").wait_for()
    assert page.evaluate("() => navigator.clipboard.readText()") == toml
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "cnn.toml"
    assert Path(download.value.path()).read_text() == toml


def test_names_that_contain_scripts_are_shown_as_text(page, new_run):
    classes = ("<script>alert(1)</script>", "<img src=x onerror=alert(2)>", "a & b")
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    opened(page, new_run("<script>alert(3)<script>", classes=classes, archs=("cnn",), configs=3, images=24))
    draw_all(page)
    assert page.locator("h1").inner_text() == "<script>alert(3)<script>"
    assert page.locator("img").count() == 0
    confusion = page.get_by_role("img", name=re.compile("confusion matrix of cnn, official"))
    assert "<script>…</script>" in confusion.evaluate("(plot) => plot.textContent")
    assert page.evaluate("() => document.querySelector('#overview table').innerText").count("<img src=x") == 1


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (2560, "light")])
def test_the_page_fits_the_window_and_the_colour_scheme(page, sartaj, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    opened(page, sartaj)
    page.locator("#progress .plot").first.scroll_into_view_if_needed()
    page.locator("#progress .main-svg").first.wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    ink = page.locator("#progress .main-svg text").first.evaluate("(text) => getComputedStyle(text).fill")
    assert ink == {"dark": "rgb(159, 176, 195)", "light": "rgb(91, 107, 127)"}[scheme]
    # Everything that can be pressed can be reached by keyboard.
    focusable = page.locator("main :is(button, select, input, summary, [tabindex='0']):visible")
    assert focusable.count() > 10
    page.locator("#filter").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "CSV"


@pytest.mark.parametrize(("motion", "behaviour"), [("reduce", "auto"), ("no-preference", "smooth")])
def test_scrolling_is_smooth_only_for_readers_who_accept_motion(page, scored_run, motion, behaviour):
    page.emulate_media(reduced_motion=motion)
    page.goto(write_page(scored_run).as_uri())
    assert page.evaluate("() => getComputedStyle(document.documentElement).scrollBehavior") == behaviour


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_key_of_curves_has_their_colours_and_dashes(page, new_run, scheme):
    run = new_run()
    labels = np.arange(40) % 4
    right, wrong = np.eye(4)[labels], np.eye(4)[(labels + 1) % 4]
    mixed = np.where((np.arange(40) % 3 == 0)[:, None], wrong, right)
    probabilities = {f"winner-{arch}-0": mixed for arch in ("linear", "cnn")}
    write_predictions(run / "predictions.npz", predictions(labels, probabilities=probabilities))
    page.emulate_media(color_scheme=scheme)
    opened(page, run)
    plot = page.get_by_role("img", name=re.compile("ROC of .*, official test")).first
    plot.scroll_into_view_if_needed()
    plot.locator(".main-svg").first.wait_for()
    look = """(all) => all.map((line) => {
      const { stroke, strokeDasharray } = getComputedStyle(line);
      return [stroke, strokeDasharray.replaceAll(" ", "")];
    })"""
    drawn = plot.locator("path.js-line").evaluate_all(look)
    assert page.locator("#winners .key svg path").evaluate_all(look) == drawn
    assert len({dash for _, dash in drawn}) == len({colour for colour, _ in drawn}) == 2
