"""Long words fit a narrow window: sections cut off what is wider than they are."""

import json

import pytest

from tune_brain.records import TrialRow, append, read
from tune_brain.report.page import write_page

LONG = "a_name_without_any_place_at_which_a_line_could_be_broken_" * 3


@pytest.mark.slow
def test_long_words_are_broken_in_a_narrow_window(page, new_run):
    runs = [new_run(LONG + end, archs=("cnn",), configs=3) for end in ("one", "two")]
    for run in runs:
        record = json.loads((run / "record.json").read_text())
        record["weights"] = LONG
        (run / "record.json").write_text(json.dumps(record))
        last = read(run / "trials.jsonl", TrialRow)[-1]
        append(
            run / "trials.jsonl",
            last.model_copy(update={"state": "failed", "why": "raised", "detail": LONG, "score": None}),
        )
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(write_page(runs[0], runs[1:]).as_uri())
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = true))")
    trials = page.locator("#chosen option").evaluate_all("(all) => all.map((one) => one.value)")
    page.locator("#chosen").select_option(trials[-1])
    cut = """(all) => all.filter((one) => one.scrollWidth > one.clientWidth + 1)
      .map((one) => one.id || one.outerHTML)"""
    assert page.locator("header, section, section > .panel:not(.scroll, .tall), .key").evaluate_all(cut) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
