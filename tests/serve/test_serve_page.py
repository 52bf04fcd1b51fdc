"""The page in a browser: upload, answer, heat map, doubt, errors, no network."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from bundles import change
from playwright.sync_api import Page, expect

from tune_brain.bundle.read import open_bundle
from tune_brain.serve.app import create_app

pytestmark = pytest.mark.slow

expect.set_options(timeout=30_000)


class Server(uvicorn.Server):
    """The service on a free port, in a thread."""

    def __init__(self, folder: Path) -> None:
        super().__init__(uvicorn.Config(create_app(open_bundle(folder)), port=0, log_level="warning"))
        self.socket = self.config.bind_socket()
        self.socket.listen()
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.should_exit = True
        self.thread.join()


@pytest.fixture(scope="module")
def url(bundle_folder: Path) -> Iterator[str]:
    server = Server(bundle_folder)
    yield server.url
    server.end()


def articles(page: Page) -> Any:
    return page.locator("article")


def test_an_image_is_answered_with_its_heat_map(page: Any, url: str, mri: Path) -> None:
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
    expect(page.locator("#place")).to_contain_text("own service")
    # What is printed is not folded away.
    members = answer.locator("details")
    for event, shown in (("beforeprint", True), ("afterprint", False)):
        page.evaluate("(event) => window.dispatchEvent(new Event(event))", event)
        assert all(
            members.nth(place).evaluate("(one) => one.open") == shown for place in range(members.count())
        )
    assert members.count()


def test_it_works_by_keyboard_alone(page: Any, url: str, mri: Path) -> None:
    # Asked for only when the key is pressed, the chooser may open before the browser hands it over.
    page.on("filechooser", lambda _: None)
    page.goto(url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(mri)
    expect(articles(page)).to_have_count(1)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "card-open"
    page.keyboard.press("Enter")
    expect(page.locator("#card")).to_contain_text("Not a medical device")
    page.keyboard.press("Escape")
    expect(page.locator("#card")).not_to_be_visible()


def test_doubt_is_said_first(page: Any, bundle_folder: Path, mri: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle_folder, tmp_path / "shy")
    change(folder, abstention={"min_confidence": 2.0})
    server = Server(folder)
    page.goto(server.url)
    page.locator("#files").set_input_files(mri)
    expect(page.get_by_text("Unsure: please refer.")).to_be_visible()
    expect(page.locator(".headline")).to_contain_text("If anything")
    expect(page.locator(".words")).to_have_text("It is less sure of this than it must be to be relied on.")
    server.end()


def test_a_file_that_is_no_image_spoils_nothing(page: Any, url: str, mri: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    wrong.write_bytes(b"hello")
    page.goto(url)
    page.locator("#files").set_input_files([wrong, mri])
    expect(articles(page)).to_have_count(2)
    expect(articles(page).first).to_contain_text("An image must be JPEG, PNG, TIFF, DICOM or NIfTI")
    expect(articles(page).first).to_contain_text("<img src=x")
    expect(articles(page).last.locator(".headline")).to_contain_text("%")
    page.troubles[:] = [trouble for trouble in page.troubles if "422" not in trouble]


def test_a_service_that_has_gone_is_said(page: Any, bundle_folder: Path, mri: Path) -> None:
    server = Server(bundle_folder)
    page.goto(server.url)
    expect(page.locator("#model")).to_contain_text("2 networks")
    server.end()
    page.locator("#files").set_input_files(mri)
    expect(articles(page)).to_contain_text("The service cannot be reached")
    page.troubles[:] = [trouble for trouble in page.troubles if "ERR_CONNECTION_REFUSED" not in trouble]


@pytest.mark.parametrize("width", [390, 1280, 2560])
def test_it_fits_the_screen_and_the_notice_stays(page: Any, url: str, mri: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.goto(url)
    page.locator("#files").set_input_files(mri)
    expect(articles(page).locator(".headline")).to_contain_text("%")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.mouse.wheel(0, 5000)
    expect(page.get_by_role("note")).to_be_in_viewport()
