"""Numbers and facts as text."""

import dataclasses

import pytest

from tune_brain.report import formatting
from tune_brain.report.run_reader import read_contents
from tune_brain.report.tables.scores import images

PAIR = {"a": "cnn", "b": "linear", "only_a": 9, "only_b": 1, "groups_a": 4, "groups_b": 1, "better": ""}
UNGROUPED = PAIR | {"groups_a": float("nan"), "groups_b": float("nan")}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            PAIR,
            "only cnn is correct on 9 images, only linear on 1; cnn leads in 4 groups, linear in 1: "
            "no significant difference.",
        ),
        (
            {**PAIR, "better": "cnn"},
            "only cnn is correct on 9 images, only linear on 1; cnn leads in 4 groups, linear in 1: "
            "cnn is better.",
        ),
        (
            {**UNGROUPED, "better": "cnn"},
            "only cnn is correct on 9 images, only linear on 1: cnn is better, assuming independent images.",
        ),
        (
            {**UNGROUPED, "only_a": 1},
            "only cnn is correct on 1 image, only linear on 1: no significant difference.",
        ),
        ({**PAIR, "only_a": 0, "only_b": 0}, "cnn and linear are correct on the same images."),
    ],
)
def test_a_pairwise_comparison_is_a_sentence(line, sentence):
    assert formatting.pair(line) == sentence


def test_undefined_values_are_not_shown_as_nan():
    nan = float("nan")
    assert [formatting.number(nan), formatting.number(None)] == ["-", "-"]
    assert [formatting.interval(nan, nan), formatting.spread(nan)] == ["", ""]
    assert (formatting.number(0.12345), formatting.interval(0.1, 0.25)) == ("0.123", "[0.100, 0.250]")


def test_a_p_value_keeps_two_digits():
    values = [formatting.p_value(p) for p in (0.0004, 0.00123, 0.456, 1.0)]
    assert values == ["< 0.001", "0.0012", "0.46", "1"]


def test_a_mean_count_has_a_decimal_only_if_it_is_not_whole():
    assert [formatting.mean_count(count) for count in (0, 41.0, 2.5, 14 / 3)] == ["0", "41", "2.5", "4.7"]


def test_a_verdict_loses_the_name_of_its_architecture():
    assert formatting.verdict("cnn", "cnn: the winner beat it.") == "The winner beat it."
    assert formatting.verdict("cnn", "Nothing was tested.") == "Nothing was tested."


def test_the_outcome_of_a_trial_names_its_rank_and_cut_off():
    plain = {"why": "finished", "attempt": 1, "detail": "", "winner": False, "rank": 2.0, "peers": 4.0}
    plain |= {"repeat": 0, "configuration": 3}
    nan = float("nan")
    assert formatting.reason({**plain, "fate": "running", "attempt": 2}) == "running, attempt 2"
    assert formatting.reason({**plain, "fate": "interrupted"}) == "interrupted"
    failed = {**plain, "fate": "failed", "why": "raised", "attempt": 2, "detail": "out of memory"}
    assert formatting.reason(failed) == "raised, attempt 2: out of memory"
    assert formatting.reason({**plain, "fate": "full", "cutoff": nan}) == "rank 2 of 4 at full length"
    again = {**plain, "fate": "full", "repeat": 2}
    assert formatting.reason(again) == "final round, seed 2 of configuration 3"
    left = {**plain, "fate": "left", "cutoff": 0.75}
    assert formatting.reason(left) == "left: rank 2 of 4, cut-off 0.7500"
    promoted = {**plain, "fate": "promoted", "cutoff": nan}
    assert formatting.reason(promoted) == (
        "promoted: rank 2 of 4 when it was promoted, too few peers for a cut-off"
    )


def test_notes_name_what_makes_a_score_optimistic(scored_run):
    contents = read_contents(scored_run)
    notes = "\n".join(formatting.notes(contents, images(contents.record["data"])))
    assert "30 of the 48 test images have a twin" in notes
    assert "no image of notumor" in notes
    assert "3 training images were dropped: twins of validation images, twins of images of a test" in notes
    assert "allow-leak" not in notes
    assert "7 left out (not an image)" in notes
    assert "resnet34" not in notes


def test_notes_name_the_shortcomings_of_a_split(scored_run):
    contents = read_contents(scored_run)
    uneven = {"part": "validation", "class": "glioma", "images": 1, "of": 50, "asked": 0.15}
    data = {**contents.record["data"], "uneven": [uneven], "parted": ["pituitary"]}
    split = dataclasses.replace(contents, record={**contents.record, "data": data})
    extra = {*formatting.notes(split, images(data))} - {*formatting.notes(contents, images(data))}
    assert {line.split(":")[0] for line in extra} == {
        "validation has 1 of 50 glioma images, not 15% of each class",
        "pituitary",
    }


def test_a_single_one_is_singular(scored_run):
    contents = read_contents(scored_run)
    config = contents.config.model_copy(update={"configs": 1, "ladder": (1,)})
    record = {**contents.record, "slots": 1, "machine": {"processor": "CPU", "cores": 1}}
    facts = dict(formatting.facts(dataclasses.replace(contents, config=config, record=record)))
    assert facts["Search"] == "1 configuration, plus the baseline; trials of 1 epoch"
    assert facts["Device"] == "cpu, CPU with 1 core, 1 trial at a time"
    assert dict(formatting.facts(contents))["Search"].endswith("; trials of 1 and 12 epochs")


def test_notes_name_the_weights_that_were_used(new_run):
    contents = read_contents(new_run(archs=("resnet34",), searched=(), evaluated=False))
    notes = list(formatting.notes(contents, images(contents.record["data"])))
    assert "resnet34 started from random weights." in notes


def test_facts_list_every_opening_of_the_test(scored_run):
    contents = read_contents(scored_run)
    again = [{"opened": "2026-01-03T04:05:00+0000", "by": "tune_brain"}] * 2
    sealed = {**contents.sealed, "earlier_openings": 1, "again": again}
    text = dict(formatting.facts(dataclasses.replace(contents, sealed=sealed)))["Sealed test"]
    assert "one other run on that machine had opened the same test before" in text
    assert text.endswith("opened 2 more times for the same configurations, most recently 2026-01-03 04:05")


def test_facts_name_the_data_folder_without_its_path(scored_run):
    facts = dict(formatting.facts(read_contents(scored_run)))
    assert facts["Data"] == "mri: 288 images at 64 px"
    assert facts["Seed"] == "0"
    assert facts["Sealed test"] == "opened 2026-01-02 03:04 by <tester>"
    assert "cpu" in facts["Device"]
