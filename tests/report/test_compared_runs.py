"""The page of a run that is compared with others."""

import json
import re
import shutil
from pathlib import Path

import pytest
from pages import Page
from starlette.testclient import TestClient

from tune_brain.config import RunConfig
from tune_brain.report import score_views
from tune_brain.report.live import application
from tune_brain.report.page import fragment, write_page
from tune_brain.report.run_reader import read_contents
from tune_brain.report.run_view import RunView
from tune_brain.report.tables import compare
from tune_brain.report.views import VIEWS
from tune_brain.space import default_folder, load

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def compared(*folders: Path) -> str:
    """The text of the comparison view of the first run."""
    (view,) = (view for view in VIEWS if view.name == "compare")
    shown, *others = (RunView(read_contents(folder)) for folder in folders)
    return Page(fragment(view, shown, others)).text


def test_compared_runs_of_the_same_name_are_told_apart_by_their_paths(new_run, tmp_path):
    folders = [tmp_path / checkout / "results" / "demo" for checkout in ("one", "two")]
    for folder in folders:
        shutil.copytree(new_run(), folder)
    text = Page(write_page(folders[0], folders[1:]).read_text(encoding="utf-8")).text
    assert "one/results/demo" in text
    assert "two/results/demo" in text
    client = TestClient(application(folders), base_url="http://127.0.0.1")
    for run in range(2):
        tags = Page(client.get(f"/run/{run}").text).tags
        links = {attrs["href"]: attrs.get("aria-current") for tag, attrs in tags if tag == "a"}
        current = {"/run/0": None, "/run/1": None, f"/run/{run}": "page"}
        assert {href: links[href] for href in current} == current
        text = Page(client.get(f"/run/{run}").text).text
        assert "one/results/demo two/results/demo" in text


@pytest.mark.parametrize(
    ("other", "warning", "ranked"),
    [
        ({}, "", True),
        ({"cut_digest": "another"}, "validated on different images", True),
        ({"cut_digest": "another", "test_digest": "another"}, "used different images", False),
        ({"cut_digest": "another", "unseen": {}}, "used different images", False),
        ({"cut_digest": None, "test_digest": None}, "not recorded whether these runs used the same", False),
        ({"cut_digest": None}, "not recorded whether they were validated on the same images", True),
        ({"cut_digest": "another", "test_digest": None}, "not recorded whether they share a test", False),
        ({"cut_digest": "another", "test_digest": None, "unseen": {}}, "used different images", False),
    ],
)
def test_only_runs_on_the_same_images_are_ranked(new_run, other, warning, ranked):
    folders = [new_run("one"), new_run("two")]
    for folder in folders if other.get("cut_digest", "") is None else folders[1:]:
        record = json.loads((folder / "record.json").read_text())
        record["data"] |= other
        (folder / "record.json").write_text(json.dumps(record))
    text = compared(*folders)
    assert ("has the highest score on the unseen test" in text) is ranked
    assert ("not comparable" in text) is ("different images" in warning)
    assert ("may not be comparable" in text) is ("not recorded" in warning)
    assert warning in text


def test_a_difference_is_stated_even_if_a_third_run_recorded_nothing(new_run):
    folders = [new_run(name, archs=("cnn",), configs=2) for name in ("one", "two", "three")]
    for folder, digest in zip(folders, ("a", "b", None), strict=True):
        record = json.loads((folder / "record.json").read_text())
        record["data"] |= {"cut_digest": digest, "test_digest": digest}
        (folder / "record.json").write_text(json.dumps(record))
    assert "These runs used different images" in compared(*folders)
    assert "Runs on different images, side by side" in compared(*folders)
    assert "not recorded" in compared(folders[0], folders[2])
    assert "Runs on images that may differ, side by side" in compared(folders[0], folders[2])
    assert "comparable" not in compared(folders[2]), "of a single readable run"


def test_the_key_of_many_runs_is_unambiguous(scored_run):
    text = compared(*[scored_run] * 8)
    assert "★ scored (6) ●7 scored (7) ◆8 scored (8)" in text


def test_an_ensemble_that_beats_all_winners_is_named(tmp_path):
    run = Path(shutil.copytree(REFERENCE / "sartaj", tmp_path / "better"))
    scores = json.loads((run / "scores.json").read_text())
    scores["ensemble"]["unseen"]["f1"]["mean"] = 0.9
    (run / "scores.json").write_text(json.dumps(scores))
    text = compared(REFERENCE / "sartaj", run)
    values = score_views.compare(RunView(read_contents(run)), [])
    drawn = {column: figure.layout.yaxis.ticktext for column, figure in values["figures"].items()}
    assert [column for column, names in drawn.items() if "ensemble" in names] == ["official", "unseen"]
    assert "better has the highest score on the unseen test: the ensemble, 0.900" in text
    assert re.search(r"ensemble better - - - - 0\.\d{3} \[", text)


def test_versions_and_local_changes_are_among_the_settings_that_differ(new_run):
    folders = [new_run("one"), new_run("two")]
    records = [json.loads((folder / "record.json").read_text()) for folder in folders]
    for record, commit in zip(records, ("c" * 40, "c" * 40 + "-dirty"), strict=True):
        record["commit"] = commit
    records[0] |= {"tune_brain": "0.1", "python": "3.9"}
    records[0]["packages"]["torch"] = "1.0"
    for folder, record in zip(folders, records, strict=True):
        (folder / "record.json").write_text(json.dumps(record))
    settings = compared(*folders).partition("Settings that differ")[2]
    new = records[1]
    assert settings.strip() == (
        "setting one two commit cccccccccccc cccccccccccc with local changes "
        f"version 0.1 {new['tune_brain']} Python 3.9 {new['python']} "
        f"version of torch 1.0 {new['packages']['torch']}"
    )


def test_a_vanished_run_leaves_the_pages_of_the_others_alone(new_run):
    folders = [new_run(name, archs=("cnn",), configs=2) for name in ("one", "two", "three")]
    client = TestClient(application(folders), base_url="http://127.0.0.1")
    shutil.rmtree(folders[1])
    page = client.get("/run/0")
    assert page.status_code == 200
    assert 'href="#compare"' in page.text
    compare = client.get("/run/0/views/compare")
    assert compare.status_code == 200
    text = Page(compare.text).text
    assert re.search(r"two cannot be compared: .*run\.toml", text)
    assert "three" in text
    assert client.get("/run/1").status_code == 409
    shutil.rmtree(folders[2])
    text = Page(client.get("/run/0/views/compare").text).text
    assert text.startswith("No other run can be read")
    assert "has the highest score" not in text


def test_only_settings_that_differ_are_listed():
    one, two = (RunConfig(out=name, configs=count) for name, count in (("a", 4), ("b", 9)))
    space = {"cnn": load(default_folder(), ("cnn",))["cnn"]}
    table = compare.settings(
        {"a": one, "b": two}, {"a": {}, "b": {"commit": "c" * 40}}, {"a": space, "b": space}
    )
    assert table.loc["configs"].tolist() == ["4", "9"]
    assert table.loc["commit"].tolist() == ["unknown", "c" * 12]
    assert set(table.index) == {"configs", "commit"}


def test_different_ranges_and_precisions_are_listed():
    one = load(default_folder(), ("cnn",))["cnn"]
    limits = one.tuned["max_lr"].model_copy(update={"high": 2 * one.tuned["max_lr"].high})
    two = one.model_copy(update={"tuned": {**one.tuned, "max_lr": limits}})
    configs = {name: RunConfig(out=name) for name in "ab"}
    records = {"a": {"precision": {"cnn": "fp32"}}, "b": {"precision": {"cnn": "bf16"}}}
    table = compare.settings(configs, records, {"a": {"cnn": one}, "b": {"cnn": two}})
    assert set(table.index) == {"max_lr of cnn", "precision of cnn"}
