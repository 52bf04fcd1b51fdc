"""Numbers in words."""

import dataclasses

import pytest

from tune_brain.report import formatting
from tune_brain.report.run_reader import read_contents
from tune_brain.report.tables.scores import images

PAIR = {"a": "cnn", "b": "linear", "only_a": 9, "only_b": 1, "better": ""}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (PAIR, "cnn alone is right on 9, linear alone on 1: no clear difference."),
        (
            {**PAIR, "better": "cnn"},
            "cnn alone is right on 9, linear alone on 1: cnn is better, were the images independent.",
        ),
        ({**PAIR, "only_a": 0, "only_b": 0}, "cnn and linear are right on the same images."),
    ],
)
def test_a_pair_is_a_sentence(line, said):
    assert formatting.pair(line) == said


def test_what_is_undefined_is_not_called_nan():
    nan = float("nan")
    assert (
        formatting.number(nan),
        formatting.number(None),
        formatting.interval(nan, nan),
        formatting.spread(nan),
    ) == (
        "-",
        "-",
        "",
        "",
    )
    assert (formatting.number(0.12345), formatting.interval(0.1, 0.25)) == ("0.123", "[0.100, 0.250]")


def test_a_p_value_keeps_two_digits():
    assert [formatting.p_value(p) for p in (0.0004, 0.00123, 0.456, 1.0)] == [
        "< 0.001",
        "0.0012",
        "0.46",
        "1",
    ]


def test_a_verdict_stands_under_its_architecture():
    assert formatting.verdict("cnn", "cnn: the winner beat it.") == "The winner beat it."
    assert formatting.verdict("cnn", "Nothing was said.") == "Nothing was said."


def test_what_became_of_a_trial_is_told_with_its_contest():
    plain = {"why": "finished", "attempt": 1, "detail": "", "winner": False, "rank": 2.0, "peers": 4.0}
    plain |= {"repeat": 0, "configuration": 3}
    nan = float("nan")
    assert formatting.reason({**plain, "fate": "running", "attempt": 2}) == "running, attempt 2"
    failed = {**plain, "fate": "failed", "why": "raised", "attempt": 2, "detail": "out of memory"}
    assert formatting.reason(failed) == "raised, attempt 2: out of memory"
    assert formatting.reason({**plain, "fate": "full", "cutoff": nan}) == "rank 2 of 4 at full length"
    again = {**plain, "fate": "full", "repeat": 2}
    assert formatting.reason(again) == "final round, seed 2 of configuration 3"
    left = {**plain, "fate": "left", "cutoff": 0.75}
    assert formatting.reason(left) == "left: rank 2 of 4, cut-off 0.7500"
    promoted = {**plain, "fate": "promoted", "cutoff": nan}
    assert formatting.reason(promoted).startswith(
        "promoted: rank 2 of 4 when it was promoted, a third of them"
    )


def test_notes_name_what_flatters_a_score(scored_run):
    contents = read_contents(scored_run)
    notes = "\n".join(formatting.notes(contents, images(contents.record["data"])))
    assert "30 of the 48 test images have a twin" in notes
    assert "no image of notumor" in notes
    assert "3 training images were left out: they are twins of images of validation, or of a test" in notes
    assert "allow-leak" not in notes
    assert "7 left out (not an image)" in notes
    assert "resnet34" not in notes


def test_notes_name_the_weights_that_were_used(new_run):
    contents = read_contents(new_run(archs=("resnet34",), searched=(), evaluated=False))
    notes = list(formatting.notes(contents, images(contents.record["data"])))
    assert "resnet34 started from random weights." in notes


def test_facts_tell_every_look_at_the_test(scored_run):
    contents = read_contents(scored_run)
    again = [{"opened": "2026-01-03T04:05:00+0000", "by": "tune_brain"}] * 2
    sealed = {**contents.sealed, "earlier_openings": 1, "again": again}
    told = dict(formatting.facts(dataclasses.replace(contents, sealed=sealed)))["Sealed test"]
    assert "one other run on that machine had opened the same test before" in told
    assert told.endswith("and 2 times more by the same configurations, the last on 2026-01-03 04:05")


def test_facts_name_no_folder_but_the_last(scored_run):
    facts = dict(formatting.facts(read_contents(scored_run)))
    assert facts["Data"] == "mri: 288 images at 64 px"
    assert facts["Seed"] == "0"
    assert facts["Sealed test"] == "opened 2026-01-02 03:04 by <tester>"
    assert "cpu" in facts["Device"]
