"""The page of a run that is compared with others."""

import json
import shutil

import pytest
from pages import Page
from starlette.testclient import TestClient

from tune_brain.report.live import application
from tune_brain.report.page import write_page


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
        ({"cut_digest": None, "test_digest": None}, "used different images", False),
    ],
)
def test_only_runs_on_the_same_images_are_ranked(new_run, other, warning, ranked):
    folders = [new_run("one"), new_run("two")]
    for folder in folders if other.get("cut_digest", "") is None else folders[1:]:
        record = json.loads((folder / "record.json").read_text())
        record["data"] |= other
        (folder / "record.json").write_text(json.dumps(record))
    text = Page(write_page(folders[0], folders[1:]).read_text(encoding="utf-8")).text
    assert ("has the highest score on the unseen test" in text) is ranked
    assert ("different images" in text) is bool(warning)
    assert warning in text
