"""The page in a real browser: uploads, results, doubt, failures, keyboard, layout, no foreign requests."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from playwright.sync_api import expect
from served import Server, articles

from tune_brain.bundle.read import open_bundle
from tune_brain.portable.pictures import MOST_BYTES

pytestmark = pytest.mark.slow

expect.set_options(timeout=30_000)


def test_a_result_shows_probabilities_heat_map_and_similar_images(page: Any, url: str, mri: Path) -> None:
    page.goto(url)
    expect(page.locator("#model")).to_contain_text("2 networks")
    page.locator("#files").set_input_files(mri)
    answer = articles(page).first
    expect(answer.locator(".headline")).to_contain_text("%")
    expect(answer.locator(".probabilities tr")).to_have_count(4)
    expect(answer.locator(".agreement")).to_contain_text("network")
    expect(answer.locator(".similar")).to_contain_text("5 most similar training images")
    heat = answer.locator(".heat")
    assert heat.evaluate("image => image.naturalWidth") == 448
    answer.locator(".opacity").fill("80")
    assert heat.evaluate("image => image.style.opacity") == "0.8"
    expect(page.locator("#status")).to_have_text("1 image done.")
    expect(page.locator("#print")).to_be_enabled()
    # Not "this machine", which a tunnel would make wrong.
    expect(page.get_by_text("Images go to the service behind")).to_contain_text(
        f"behind {url.removeprefix('http://')}, wherever tune-brain serve runs, and are forgotten"
    )
    # Printing unfolds the details.
    members = answer.locator("details")
    for event, shown in (("beforeprint", True), ("afterprint", False)):
        page.evaluate("(event) => window.dispatchEvent(new Event(event))", event)
        assert all(
            members.nth(place).evaluate("(it) => it.open") == shown for place in range(members.count())
        )
    assert members.count()


def test_the_page_works_with_the_keyboard_alone(page: Any, url: str, mri: Path) -> None:
    # With a handler only from the key press on, the chooser may open before the browser reports it.
    page.on("filechooser", lambda _: None)
    page.goto(url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(mri)
    expect(articles(page)).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "opacity"
    for _ in ("clear", "print", "card-open"):
        page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.id") == "card-open"
    page.keyboard.press("Enter")
    expect(page.locator("#card")).to_contain_text("Not a medical device")
    page.keyboard.press("Escape")
    expect(page.locator("#card")).not_to_be_visible()


def test_an_unsure_result_says_so_first(page: Any, changed: Callable[..., Server], mri: Path) -> None:
    page.goto(changed(abstention={"min_confidence": 1.0}).url)
    page.locator("#files").set_input_files(mri)
    expect(page.get_by_text("Unsure: please refer.")).to_be_visible()
    expect(page.locator(".headline")).to_contain_text("If anything")
    expect(page.locator(".words")).to_have_text("Its confidence is too low to rely on this.")


NONE = {"n": 0, "share": 0.0, "accuracy": None}


@pytest.mark.parametrize(
    ("unseen", "official", "says"),
    [
        (
            {"n": 57, "share": 0.4, "accuracy": 20 / 57},
            {"n": 261, "share": 0.7, "accuracy": 1.0},
            "Very likely by its own estimate, but on 57 test images without a twin in training, of all that "
            "it was sure enough to answer, 35 % were right.",
        ),
        (
            {"n": 266, "share": 0.8, "accuracy": 0.996},
            NONE,
            "Very likely. Of 100 images like those of its training with so much confidence, more than 99 are "
            "CLASS. On 266 test images without a twin in training, of all that it was sure enough to answer, "
            "99 % were right.",
        ),
        (
            NONE,
            {"n": 1, "share": 0.1, "accuracy": 1.0},
            "Very likely. Of 100 images like those of its training with so much confidence, more than 99 are "
            "CLASS. On 1 test image related to its training or validation images, of all that it was sure "
            "enough to answer, 100 % were right.",
        ),
        (
            NONE,
            NONE,
            "Very likely by its own estimate. How often such answers are right is unknown: the bundle has no "
            "test result for them.",
        ),
    ],
)
def test_a_sure_result_names_its_accuracy_on_the_test_and_promises_no_more(
    page: Any,
    changed: Callable[..., Server],
    mri: Path,
    unseen: dict[str, Any],
    official: dict[str, Any],
    says: str,
) -> None:
    scores = {"unseen": {"answered": unseen}, "official": {"answered": official}}
    # So low a temperature makes untrained networks sure.
    page.goto(changed(scores=scores, temperature=0.01).url)
    page.locator("#files").set_input_files(mri)
    label = articles(page).locator(".headline").inner_text().partition(",")[0]
    expect(page.locator(".words")).to_have_text(says.replace("CLASS", label))


def test_an_unreadable_file_is_reported_and_counted_beside_the_others(
    page: Any, url: str, mri: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    wrong.write_bytes(b"hello")
    page.goto(url)
    page.locator("#files").set_input_files([wrong, mri])
    expect(articles(page)).to_have_count(2)
    expect(articles(page).first).to_contain_text("An image must be JPEG, PNG, TIFF, DICOM or NIfTI")
    expect(articles(page).first).to_contain_text("<img src=x")
    expect(articles(page).last.locator(".headline")).to_contain_text("%")
    expect(page.locator("#status")).to_have_text("1 image done, 1 failed.")
    page.troubles[:] = [trouble for trouble in page.troubles if "422" not in trouble]


def test_of_a_longer_series_the_page_and_its_print_say_how_many_slices_were_looked_at(
    page: Any, url: str, mri: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_brain.serve.uploads.SLICES", 2)
    series = tmp_path / "series.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 5), np.uint8), np.eye(4)), series)
    page.goto(url)
    page.locator("#files").set_input_files([series, mri])
    expect(articles(page)).to_have_count(3)
    for media in ("screen", "print"):
        page.emulate_media(media=media)
        assert page.locator(".skipped:visible").all_inner_texts() == [
            "2 of 5 slices, evenly spaced, were looked at; the others were not."
        ]


def test_a_file_that_cannot_be_sent_is_not_blamed_on_the_service(
    page: Any, url: str, mri: Path, tmp_path: Path
) -> None:
    page.goto(url)
    # An earlier listener than the page's own, which empties the input.
    keep = "(event) => (window.chosenBefore = [...event.target.files])"
    page.evaluate(f"document.querySelector('#files').addEventListener('change', {keep}, true)")
    gone = Path(shutil.copyfile(mri, tmp_path / "gone.jpg"))
    page.locator("#files").set_input_files(gone)
    expect(articles(page)).to_have_count(1)
    gone.unlink()
    page.evaluate("take(chosenBefore)")
    expect(articles(page).last).to_contain_text("This file could not be read.")
    drop = {"items": [], "files": [str(mri.parent)], "dragOperationsMask": 1}
    browser = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": kind, "x": 99, "y": 99, "data": drop})
    expect(articles(page).last).to_contain_text("This is a folder.")
    large = tmp_path / "large.nii"
    for size, words in ((MOST_BYTES, "found: something else"), (MOST_BYTES + 1, "must have at most 64 MB.")):
        with large.open("wb") as file:
            file.truncate(size)
        page.locator("#files").set_input_files(large)
        expect(articles(page).last).to_contain_text(words)
    expect(page.locator("#status")).to_have_text("1 image done, 4 failed.")
    expected = ("422", "ERR_FILE_NOT_FOUND", "ERR_UPLOAD_FILE_CHANGED")
    page.troubles[:] = [line for line in page.troubles if not any(word in line for word in expected)]


def test_a_second_upload_leads_to_its_own_first_result(page: Any, url: str, mri: Path) -> None:
    page.goto(url)
    for count in (2, 4):
        page.locator("#files").set_input_files([mri, mri])
        expect(page.locator("#status")).to_have_text(f"{count} images done.")
        expect(articles(page).nth(count - 2)).to_be_focused()
        expect(articles(page).nth(count - 2)).to_be_in_viewport()
    expect(articles(page).first).not_to_be_in_viewport()


def test_a_service_that_is_gone_is_reported(page: Any, changed: Callable[..., Server], mri: Path) -> None:
    server = changed()
    page.goto(server.url)
    expect(page.locator("#model")).to_contain_text("2 networks")
    server.end()
    page.locator("#files").set_input_files(mri)
    expect(articles(page)).to_contain_text("The service cannot be reached")
    page.troubles[:] = [trouble for trouble in page.troubles if "ERR_CONNECTION_REFUSED" not in trouble]


def test_another_bundle_behind_the_open_page_is_reported(
    page: Any, changed: Callable[..., Server], mri: Path
) -> None:
    first = changed()
    prints = [open_bundle(first.folder).fingerprint[:12]]
    page.goto(first.url)
    page.locator("#files").set_input_files(mri)
    expect(articles(page)).to_have_count(1)
    expect(page.locator("#changed")).to_be_empty()
    page.locator("#card-open").click()
    expect(page.locator("#card-text")).to_contain_text("Not a medical device")
    page.keyboard.press("Escape")
    first.end()
    second = changed(first.port, name="another", note="another")
    prints.append(open_bundle(second.folder).fingerprint[:12])
    page.locator("#files").set_input_files(mri)
    expect(articles(page)).to_have_count(2)
    expect(page.locator("#changed")).to_contain_text(f"another bundle: another, fingerprint {prints[1]}")
    expect(page.locator("#model")).to_contain_text("another: 2 networks")
    for article, name, fingerprint in zip(range(2), ("ensemble", "another"), prints, strict=True):
        expect(articles(page).nth(article).locator(".bundle")).to_have_text(
            f"Predicted by bundle {name}, fingerprint {fingerprint}."
        )
    page.locator("#card-open").click()
    expect(page.locator("#card-text")).to_contain_text("Card of another")


@pytest.mark.parametrize("width", [390, 1280, 2560])
def test_the_page_fits_the_screen_and_the_notice_stays_visible(
    page: Any, url: str, mri: Path, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.goto(url)
    page.locator("#files").set_input_files(mri)
    expect(articles(page).locator(".headline")).to_contain_text("%")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.mouse.wheel(0, 5000)
    expect(page.get_by_role("note")).to_be_in_viewport()
