"""The numbers, colours and labels that figures draw; names in them are escaped."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tune_brain.report import explore, style
from tune_brain.report.figures import compare, ladder, pace, parameters
from tune_brain.report.figures import scores as score_figures
from tune_brain.space import Range

SCRIPT = "<script>alert(1)</script>"


def score_lines() -> pd.DataFrame:
    columns = ("classifier", "role", "part", "metric", "mean", "low", "high")
    return pd.DataFrame(
        [
            ("cnn", "winner", "official", "f1", 0.8, 0.7, 0.85),
            ("cnn", "winner", "unseen", "f1", 0.6, 0.5, 0.9),
            ("cnn", "winner", "unseen", "accuracy", 0.1, 0.1, 0.1),
            ("majority", "reference", "official", "f1", 0.2, np.nan, np.nan),
        ],
        columns=columns,
    )


def test_dots_stand_at_their_means_with_their_intervals():
    names = {("cnn", "winner"): "cnn", ("majority", "reference"): SCRIPT}
    figure = score_figures.score_dots(score_lines(), "f1", names)
    dots = [(trace.name, trace.x[0], trace.y[0]) for trace in figure.data]
    assert dots == [("official", 0.8, 2.16), ("official", 0.2, 1.16), ("unseen", 0.6, 1.84)]
    assert figure.data[2].error_x.array[0] == pytest.approx(0.3)
    assert figure.data[2].error_x.arrayminus[0] == pytest.approx(0.1)
    assert [trace.marker.color for trace in figure.data] == [style.WHITE, style.WHITE, style.ARCHS["cnn"]]
    assert [trace.marker.symbol for trace in figure.data] == ["circle", "diamond", "circle"]
    assert "<script>" not in str(figure.to_dict())
    assert figure.layout.yaxis.ticktext == ("<b>cnn</b>", "&lt;script&gt;…&lt;/script&gt;")


def trial_lines() -> pd.DataFrame:
    lines = [
        # trial, configuration, epochs, lr, score, state
        (0, 0, 6, 1e-3, 0.80, "completed"),
        (1, 1, 3, 1e-4, 0.50, "completed"),
        (2, 2, 3, 2e-2, np.nan, "failed"),
        (3, 1, 6, 1e-4, 0.90, "completed"),
        (4, 3, 6, 2e-3, 0.70, "completed"),
    ]
    table = pd.DataFrame(lines, columns=["trial", "configuration", "epochs", "lr", "score", "state"])
    return table.assign(
        arch="cnn",
        values=[{"lr": lr, SCRIPT: 1.0} for lr in table["lr"]],
        why=np.where(table["state"] == "failed", SCRIPT, "finished"),
        full=table["epochs"] == 6,
        baseline=table["configuration"] == 0,
        winner=table["trial"] == 3,
    )


def by_name(figure) -> dict:
    return {trace.name: trace for trace in figure.data}


LIMITS = Range(low=1e-4, high=1e-1)


def test_a_slice_marks_each_kind_of_trial():
    figure = parameters.slices(trial_lines(), "lr", LIMITS)
    dots = by_name(figure)
    assert {name: (trace.x, trace.y) for name, trace in dots.items() if name != "failed"} == {
        "shorter": ((1e-4,), (0.5,)),
        "full length": ((2e-3,), (0.7,)),
        "baseline": ((1e-3,), (0.8,)),
        "winner": ((1e-4,), (0.9,)),
    }
    assert dots["failed"].x == (2e-2,)
    assert dots["failed"].y[0] < 0.5
    assert dots["failed"].customdata == (2,)
    assert figure.layout.xaxis.type == "log"
    low, high = figure.layout.xaxis.range
    assert (low, high) == pytest.approx((-4.12, -0.88))


def test_a_baseline_that_wins_is_drawn_as_the_winner():
    trials = trial_lines()
    trials["winner"] = trials["baseline"]
    dots = by_name(parameters.slices(trials, "lr", LIMITS))
    assert "baseline" not in dots
    assert dots["winner"].x == (1e-3,)


def test_slices_on_a_plain_axis_and_without_scores():
    alike = parameters.slices(trial_lines(), SCRIPT, Range(low=0, high=2, log=False))
    assert alike.layout.xaxis.type == "linear"
    assert "<script>" not in alike.layout.xaxis.title.text
    failed = trial_lines().assign(score=np.nan, state="failed")
    assert [trace.name for trace in parameters.slices(failed, "lr", LIMITS).data] == ["failed"]
    assert parameters.slices(trial_lines(), "unknown", LIMITS).data == ()


def curve_lines() -> pd.DataFrame:
    trials = trial_lines().drop(columns=["score"])
    lines = [
        (number, epoch, 0.1 * epoch + 0.01 * number)
        for number, epochs in ((0, 2), (1, 3), (2, 1), (3, 2))
        for epoch in range(1, epochs + 1)
    ]
    return pd.DataFrame(lines, columns=["trial", "epoch", "val_macro_f1"]).merge(trials, on="trial")


def test_learning_curves_have_one_line_per_trial():
    lines = by_name(ladder.learning_curves(curve_lines(), (3, 6)))
    assert set(lines) == {"3 epochs", "baseline", "winner"}
    assert lines["3 epochs"].x == (1, 2, 3, None, 1, None)
    assert lines["3 epochs"].y == (0.11, 0.21, 0.31, None, 0.12, None)
    assert lines["winner"].y == (0.13, 0.23, None)
    assert lines["baseline"].x == (1, 2, None)
    assert lines["winner"].line.width > 2 * lines["3 epochs"].line.width


def test_a_length_of_one_epoch_is_singular():
    assert "1 epoch" in by_name(ladder.learning_curves(curve_lines().replace({"epochs": {3: 1}}), (1, 6)))


def test_longer_trials_have_stronger_lines():
    assert list(style.opacities((3, 6, 12)).values()) == sorted(set(style.opacities((3, 6, 12)).values()))
    assert style.opacities((12,)) == {12: 1.0}


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours #rrggbb by WCAG 2.1, from 1 to 21."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


MARKS = {
    *style.ARCHS.values(),
    *style.WAYS,
    *explore.COLOURS.values(),
    *(fate.marker["color"] for fate in style.FATES.values()),
    style.WINNER,
    style.SHORTER,
    style.FULL,
}


def test_every_mark_stands_out_from_the_panel_in_light_and_dark_mode():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for colour in MARKS:
        assert contrast(colour, style.WHITE) >= 3, colour
        assert contrast(style.NIGHT.get(colour, colour), style.NIGHT[style.WHITE]) >= 3, colour


def test_texts_of_the_page_are_readable_in_light_and_dark_mode():
    css = Path(style.__file__).with_name("page.css").read_text()
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w+);", block)) for block in re.findall(r":root \{([^}]*#[^}]*)\}", css)
    )
    for scheme in (light, {**light, **dark}):
        for text in ("ink", "soft", "accent", "winner", "failed"):
            for ground in ("paper", "ground"):
                assert contrast(scheme[text], scheme[ground]) >= 4.5, (text, ground)
    # Any other colour of text would be the same in both schemes.
    assert re.findall(r"[ {;]color: #\w+", css) == []


def test_figures_and_page_agree_on_their_colours():
    css = Path(style.__file__).with_name("page.css").read_text()
    for name, colour in (("ink", style.INK), ("soft", style.SOFT), ("winner", style.WINNER)):
        assert re.findall(rf"--{name}: (#\w+);", css) == [colour, style.NIGHT[colour]]


def test_every_colour_has_a_counterpart_for_dark_mode():
    drawn = {*style.ARCHS.values(), style.INK, style.SOFT, style.GRID, style.WHITE, style.FULL}
    drawn |= {fate.marker["color"] for fate in style.FATES.values()} | {style.WINNER, style.SHORTER}
    assert drawn <= style.NIGHT.keys()


GRADES = [f"astrocytoma grade {grade}" for grade in ("II", "III", "IV")]


@pytest.mark.parametrize(
    "names", [GRADES, [f"astrocytoma, grade {grade}, resected" for grade in ("II", "III", "IV")]]
)
def test_distinct_classes_have_distinct_labels(names):
    figure = score_figures.confusion(np.eye(3).tolist(), names)
    assert len(set(figure.layout.xaxis.ticktext)) == len(set(figure.layout.yaxis.ticktext)) == 3


def test_a_long_label_keeps_both_of_its_ends():
    assert style.labels(GRADES) == ["astrocyt… grade II", "astrocyt…grade III", "astrocyt… grade IV"]
    # Plotly knows no entity of a quote.
    assert style.labels(["glioma", "a & b", 'grade "II" <']) == ["glioma", "a &amp; b", 'grade "II" &lt;']


def test_lines_of_architectures_differ_in_more_than_their_colour():
    assert len(set(style.DASHES.values())) == len(style.ARCHS) == len(style.DASHES)
    roc = pd.DataFrame({"false_positive": [0, 1], "true_positive": [0, 1]})
    reliability = pd.DataFrame({"confidence": [0.5], "accuracy": [0.5], "n": [1]})
    for figure in (
        score_figures.roc(dict.fromkeys(style.ARCHS, roc)),
        score_figures.reliability(dict.fromkeys(style.ARCHS, reliability)),
    ):
        assert {trace.name: trace.line.dash for trace in figure.data} == style.DASHES


def test_the_progress_of_all_architectures_differs_in_more_than_colour_and_shorter_trials_are_hollow():
    lines = [(arch, fate, arch == "cnn") for arch in style.ARCHS for fate in ("left", "promoted", "full")]
    ends = pd.DataFrame(lines, columns=["arch", "fate", "winner"]).assign(
        trial=range(len(lines)), spent=1.0, hours=1.0, score=0.5, best=0.5, baseline=False
    )
    ends["winner"] &= ends["fate"] == "full"
    traces = by_name(pace.best_over(ends, "spent"))
    for arch, colour in style.ARCHS.items():
        assert traces[f"best of {arch}"].line.dash == style.DASHES[arch]
        for fate, fill in (("left", style.WHITE), ("promoted", style.WHITE), ("full", colour)):
            name = f"{arch}, {style.FATES[fate].label}"
            if name in traces:
                marker = traces[name].marker
                assert (marker.color, marker.line.color, traces[name].opacity) == (fill, colour, None)
    assert "cnn, full length" not in traces, "the winner is a star"
    alone = by_name(pace.best_over(ends[ends["arch"] == "cnn"], "spent"))
    assert alone["best of cnn"].line.dash == "solid"


def test_markers_of_many_runs_are_told_apart_by_their_numbers():
    names = [f"run {number}" for number in range(1, 15)]
    table = pd.DataFrame({"arch": "cnn", "run": names, "best": 0.5})
    dots = compare.results(table, names, "best").data
    looks = [(dot.marker.symbol, dot.text) for dot in dots]
    assert len(set(looks)) == len(names)
    assert [dot.text[0] for dot in dots] == [*[""] * 6, *map(str, range(7, 15))]
    marks = [style.run(place) for place in range(len(names))]
    assert len({mark.sign + mark.number for mark in marks}) == len(names)


def test_a_run_keeps_its_marker_where_it_lacks_an_architecture():
    lines = [("linear", "one"), ("linear", "three"), ("cnn", "one"), ("cnn", "two"), ("cnn", "three")]
    table = pd.DataFrame(lines, columns=["arch", "run"]).assign(best=0.5)
    names = ["one", "two", "three"]
    dots = compare.results(table, names, "best").data
    assert {dot.name: dot.marker.symbol for dot in dots} == {
        name: style.run(place).symbol for place, name in enumerate(names)
    }


def test_a_confusion_matrix_shows_counts_and_shares():
    figure = score_figures.confusion([[3, 1, 0], [0, 0, 0], [0.5, 0, 1.5]], ["a", SCRIPT, "c"])
    cells = figure.data[0]
    assert list(cells.z[0]) == [0.75, 0.25, 0]
    assert cells.text[0][0] == "<b>3</b><br>75%"
    assert cells.text[2][2] == "<b>1.5</b><br>75%"
    assert set(cells.text[1]) == {""}
    assert [(note.y, note.text) for note in figure.layout.annotations] == [(1, "no image")]
    assert cells.customdata[0][2] == "true a<br>predicted c"
    assert "<script>" not in str(figure.to_dict())
