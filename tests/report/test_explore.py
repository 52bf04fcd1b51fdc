"""The page of an audit as a file: self-contained, offline, escaped, small."""

import io
import json
import re
import shutil
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from pages import Page
from PIL import Image

from tune_brain.data import shapes
from tune_brain.data.audit import Audit, audit
from tune_brain.data.demo import draw
from tune_brain.data.findings import KINDS
from tune_brain.report.explore import TICKS, write_audit

EVIL = "<img src=x onerror=alert(1)>"
LARGEST = 5_000_000
"""Maximum size of a page in bytes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, one with a malicious name, twins of each kind, and files of each sort."""
    root = tmp_path_factory.mktemp("images") / "<b>images"
    for part, n in (("Training", 5), ("Testing", 3)):
        for place, name in enumerate(("a", "b", EVIL)):
            for i in range(n):
                file = root / part / name / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                draw("glioma", np.random.default_rng([place, n, i])).save(file)
    twin = Image.open(root / "Training" / EVIL / "0.png")
    twin.save(root / "Testing" / EVIL / "<script>alert(2)<script>.png")
    twin.resize((90, 90)).save(root / "Testing" / "a" / "x.png")
    (root / "Training/a/<i>empty.png").touch()
    (root / "Training/a/notes&.txt").touch()
    return root


@pytest.fixture(scope="module")
def found(folder: Path) -> Audit:
    return audit(folder)


@pytest.fixture(scope="module")
def page(found: Audit, tmp_path_factory: pytest.TempPathFactory) -> Page:
    facts, html = write_audit(found, tmp_path_factory.mktemp("out") / "new")
    assert json.loads(facts.read_text()) == found.facts
    assert html.stat().st_size <= LARGEST
    return Page(html.read_text(encoding="utf-8"))


def test_the_summary_is_at_the_top(page: Page, found: Audit) -> None:
    assert len(found.facts["summary"]) == 3
    places = [page.text.index(line) for line in found.facts["summary"]]
    assert places == sorted(places)
    assert places[-1] < page.text.index("Samples")


def test_headings_state_the_findings(page: Page) -> None:
    for title in (
        "2 test images are also in training",
        "A model must beat the nearest neighbour on thumbnails",
        "Too few unseen test images, or too few series, to tell whether they come from elsewhere",
        "1 file cannot be read",
    ):
        assert title in page.text


def test_every_kind_of_figure_and_picture_is_in_the_page(page: Page, found: Audit) -> None:
    kinds = [attrs["aria-label"] for _, attrs in page.tags if attrs.get("class") == "plot"]
    assert len(kinds) == len(page.figures) == 4 + 3
    shown = [attrs["src"] or "" for tag, attrs in page.tags if tag == "img"]
    assert len(shown) == 3 * 4 + 3 * 2 + len(found.facts["pairs"])
    for uri in shown:
        head, _, body = uri.partition(",")
        assert head == "data:image/jpeg;base64"
        Image.open(io.BytesIO(b64decode(body))).load()


def test_pictures_are_described_and_what_scrolls_is_reached_by_keyboard(page: Page, found: Audit) -> None:
    described = [attrs["alt"] for tag, attrs in page.tags if tag == "img"]
    assert len(set(described)) == len(described)
    first = found.facts["pairs"][0]
    for text in (
        f"twins: {first['first']} and {first['second']}",
        f"{EVIL}, original images",
        "a, the same as a model sees them",
        "a, the same rotated and mirrored",
        "b, original test images",
        f"mean image of {EVIL}, test",
    ):
        assert text in described
    scrolled = [attrs for _, attrs in page.tags if "scroll" in (attrs.get("class") or "").split()]
    assert len(scrolled) > 8
    assert all(attrs.get("tabindex") == "0" for attrs in scrolled)
    assert [attrs.get("aria-label") for tag, attrs in page.tags if tag == "nav"] == ["sections"]


def test_the_threshold_for_twins_is_drawn_in_the_histogram(page: Page, found: Audit) -> None:
    (nearest,) = (one for one in page.figures if "shapes" in one["layout"])
    edges = found.facts["nearest"]["edges"]
    assert edges[nearest["layout"]["shapes"][0]["x0"]] == 0.995
    assert [edges[place] for place in nearest["layout"]["xaxis"]["tickvals"]] == list(TICKS)
    test = next(trace for trace in nearest["data"] if trace["name"] == "test images")
    assert sum(test["y"]) == pytest.approx(1)
    assert sum(found.facts["nearest"]["test"]) == 11


def test_sizes_statistics_and_verdicts_are_listed(page: Page, found: Audit) -> None:
    assert (
        "At 64 px, 0.0% of the images are enlarged, 0.0% keep their size and 100.0% are shrunk." in page.text
    )
    greys = found.facts["looks"]["test"]["a"]["brightness"]
    assert f"a test 4 {greys[1]:.0f} [{greys[0]:.0f}, {greys[2]:.0f}]" in page.text
    assert page.text.count("too few to say") == 3


def test_the_page_states_how_many_sizes_are_not_drawn_and_names_validation(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(folder, tmp_path / "images")
    for name in ("a", "b", EVIL):
        shutil.copytree(root / "Training" / name, root / "Validation" / name)
    monkeypatch.setattr(shapes, "SIZES", 1)
    facts = (found := audit(root)).facts
    _, html = write_audit(found, tmp_path)
    page = Page(html.read_text(encoding="utf-8"))
    assert f"Images come in {facts['resizing']['sizes']} sizes" in page.text
    assert f"those of {facts['dimensions'][0][-1]} of {facts['files']['readable']} images" in page.text
    assert "2 test images are also in training or validation" in page.text


def test_histograms_of_greys_have_a_key_of_parts(page: Page) -> None:
    key = page.html.partition("Image statistics by class and part")[2]
    key = key.partition('<p class="key">')[2].partition("</p>")[0]
    assert re.findall(r"</svg>(\w+)</span>", key) == ["train", "test"]
    (dash,) = re.findall(r'stroke-dasharray="([^"]+)"', key)
    drawn = [trace["line"]["dash"] for figure in page.figures for trace in figure["data"] if "line" in trace]
    assert set(drawn) == {dash, "solid"}


def test_kinds_of_pairs_are_in_the_order_of_the_table(page: Page) -> None:
    places = [page.text.index(f"1 pair is {KINDS[kind]}") for kind in ("identical", "alike")]
    assert places == sorted(places)


def test_names_are_text_and_never_markup(page: Page) -> None:
    for name in (EVIL, "<b>images", "<script>alert(2)<script>.png", "<i>empty.png", "notes&.txt"):
        assert name in page.text
    assert not any("onerror" in attrs or attrs.get("src") == "x" for _, attrs in page.tags)
    assert not [tag for tag, _ in page.tags if tag == "i"]
    # plotly reads its texts as markup again, so there they are escaped once more.
    for figure in page.figures:
        assert "<img" not in json.dumps(figure)
    assert [tag for tag, _ in page.tags].count("script") == len(page.figures) + 2


def test_the_page_makes_no_network_requests(page: Page) -> None:
    (policy,) = (attrs["content"] for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs)
    assert "default-src 'none'" in policy
    assert "http" not in policy
    for tag, attrs in page.tags:
        assert tag not in ("link", "iframe", "object", "base")
        assert (attrs.get("src") or "data:").startswith("data:")
        assert (attrs.get("href") or "#").startswith("#")
    assert not any(re.search(r"url\(|@import", style) for style in page.styles)


def test_no_value_is_missing(page: Page) -> None:
    for word in ("nan", "None", "undefined"):
        assert word not in page.text.split()


def test_a_folder_without_a_test_part_has_a_page(folder: Path, tmp_path: Path) -> None:
    _, html = write_audit(audit(folder / "Training"), tmp_path)
    page = Page(html.read_text(encoding="utf-8"))
    assert "There is no test part to compare with training" in page.text
    assert len(page.figures) == 3 + 3
